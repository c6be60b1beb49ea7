/**
 * Receives queries that rules have redirected (NAT) to a port of ours, and sends their answers from the address at
 * which each arrived: then NAT makes them answers of whom the client had asked. Who answers is the service's matter.
 *
 * Only what came by lo is a query of this host's own programs. Everything else is dropped: nobody outside can use this
 * host as a resolver. (Sockets bound to lo would say so to the kernel, but could not answer: the way to an IPv6 address
 * of this host's is by the interface that has it.) A worker has a socket a family; workers share the port.
 *
 * @module
 */
import {
  AF_INET,
  type Arena,
  type Block,
  type Deferred,
  EAGAIN,
  EPOLLIN,
  errnoName,
  type EventHandler,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  MSG_TRUNC,
  type Reactor,
  ReceiveBatch,
  SendBatch,
  SOCKADDR_IN6_BYTES,
  SOCKADDR_IN_BYTES,
  sockaddrFamily,
  SocketFactory,
  SyscallError,
  type Syscalls,
  TICK_MS,
  Timer,
} from "../ffi/mod.ts";
import type { DatagramService, ReplySender } from "../flow/mod.ts";
import { openListenerSocket } from "./listener_socket.ts";
import { LOCAL_ADDRESS_BYTES, LocalAddress } from "./local_address.ts";
import type { DnsCounters, DnsListenerSettings, DnsWarning } from "./settings.ts";

const BATCH = 32;
/** As long as a datagram can be. */
const PAYLOAD_BYTES = 65_536;
/** Batches of one turn: answers have their turn in between. */
const ROUNDS = 8;
/** While draining. */
const DRAIN_CHECK_MS = 2 * TICK_MS;

/** Arena bytes that a listener takes. */
export const DNS_LISTENER_BYTES: number = ReceiveBatch.bytes(BATCH, PAYLOAD_BYTES, LOCAL_ADDRESS_BYTES) +
  SendBatch.bytes(1, LOCAL_ADDRESS_BYTES) + 1024;

/** What the worker brings. */
export interface DnsListenerEnvironment {
  readonly sys: Syscalls;
  readonly arena: Arena;
  readonly reactor: Reactor;
  readonly settings: DnsListenerSettings;
  readonly counters: DnsCounters;
  readonly onWarning: (warning: DnsWarning, detail: string) => void;
}

/** One listening socket. */
interface Listening {
  readonly fd: number;
  readonly family: 4 | 6;
  /** Whether it had more than one turn could take. */
  unfinished: boolean;
}

/** Redirected queries of one worker. */
export class DnsListener extends Timer implements EventHandler, Deferred, ReplySender {
  /** Whether it takes IPv6 as well as IPv4. */
  readonly dualStack: boolean;
  readonly #environment: DnsListenerEnvironment;
  readonly #received: ReceiveBatch;
  readonly #toSend: SendBatch;
  readonly #local: LocalAddress;
  /** sockaddr of the address at which a query arrived, or from which an answer goes; and of the client. */
  readonly #address: Block;
  readonly #client: Block;
  readonly #listening: Listening[] = [];
  #service: DatagramService | undefined;
  #deferred = false;
  #onIdle: (() => void) | undefined;

  /** Opens the sockets and watches them. @throws {SyscallError} EADDRINUSE, and EPERM for a mark that it may not have. */
  constructor(environment: DnsListenerEnvironment) {
    super();
    const { sys, arena, settings } = environment;
    this.#environment = environment;
    this.#received = new ReceiveBatch(arena, BATCH, PAYLOAD_BYTES, LOCAL_ADDRESS_BYTES);
    this.#toSend = new SendBatch(arena, 1, LOCAL_ADDRESS_BYTES);
    this.#local = new LocalAddress(arena);
    this.#address = arena.allocate(SOCKADDR_IN6_BYTES);
    this.#client = arena.allocate(SOCKADDR_IN6_BYTES);
    const sockets = new SocketFactory(sys, arena);
    try {
      for (const family of [4, 6] as const) {
        const socket = openListenerSocket(sockets, settings, family);
        if (socket !== undefined) this.#watch(socket.release(), family);
      }
    } catch (error) {
      this.close();
      throw error;
    }
    this.dualStack = this.#listening.length === 2;
  }

  /** From now on queries are `service`'s. */
  serve(service: DatagramService): void {
    this.#service = service;
  }

  onEvents(fd: number): void {
    for (const listening of this.#listening) if (listening.fd === fd) this.#receive(listening);
  }

  onDeferred(): void {
    this.#deferred = false;
    for (const listening of this.#listening) if (listening.unfinished) this.#receive(listening);
  }

  reply(client: Uint8Array, source: Uint8Array, payloadOffset: number, length: number): void {
    const family = sockaddrFamily(client) === AF_INET ? 4 : 6;
    const listening = this.#listening.find((one) => one.family === family);
    // Closed while the answer was on its way.
    if (listening === undefined) return;
    this.#client.bytes.set(client);
    this.#toSend.clear();
    this.#toSend.begin(this.#client.offset, family === 4 ? SOCKADDR_IN_BYTES : SOCKADDR_IN6_BYTES);
    this.#toSend.append(payloadOffset, length);
    this.#address.bytes.set(source);
    this.#toSend.setControlLength(this.#local.write(this.#toSend.controlAt(0), this.#address.words));
    const sent = this.#toSend.send(this.#environment.sys, listening.fd, 0, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) {
      this.#environment.onWarning("dns-error", `answer to a client: sendmsg: ${errnoName(-sent)}`);
    }
  }

  /** Draining: whether there is nobody left who waits. */
  override onTimer(): void {
    const { timers } = this.#environment.reactor;
    if ((this.#service?.pending ?? 0) > 0) timers.schedule(this, DRAIN_CHECK_MS);
    else this.#onIdle?.();
  }

  /**
   * Queries are still taken: the rules bring those that belong to an open flow alone.
   *
   * @param onIdle called once nobody waits for an answer; possibly at once.
   */
  drain(onIdle: () => void): void {
    this.#onIdle = onIdle;
    this.onTimer();
  }

  /** Listens no more; answers that are still to come go nowhere. */
  close(): void {
    const { reactor, sys } = this.#environment;
    this.#onIdle = undefined;
    reactor.timers.cancel(this);
    for (const { fd } of this.#listening) {
      reactor.forget(fd);
      sys.close(fd);
    }
    this.#listening.length = 0;
  }

  #watch(fd: number, family: 4 | 6): void {
    this.#listening.push({ fd, family, unfinished: false });
    const result = this.#environment.reactor.add(fd, EPOLLIN, this);
    if (result < 0) throw new SyscallError("epoll_ctl", -result);
  }

  #receive(listening: Listening): void {
    const { sys, reactor } = this.#environment;
    listening.unfinished = false;
    for (let round = 0; round < ROUNDS; round++) {
      const count = this.#received.receive(sys, listening.fd, MSG_DONTWAIT);
      if (count === -EAGAIN) return;
      if (count < 0) {
        // To try again at once would be a loop without end: what waits is looked at when more arrives.
        this.#environment.onWarning("dns-error", `queries: recvmmsg: ${errnoName(-count)}`);
        return;
      }
      for (let i = 0; i < count; i++) this.#take(i);
      if (count < BATCH) return;
    }
    listening.unfinished = true;
    if (this.#deferred) return;
    this.#deferred = true;
    reactor.defer(this);
  }

  #take(i: number): void {
    const { arena } = this.#environment;
    const received = this.#received, address = this.#address;
    const isWhole = (received.flags(i) & MSG_TRUNC) === 0 &&
      this.#local.read(received.controlAt(i), received.controlLength(i), address.words);
    if (!isWhole) {
      const { values, slots: { dnsMalformed } } = this.#environment.counters;
      values[dnsMalformed] = values[dnsMalformed]! + 1;
      return;
    }
    const nameAt = received.nameAt(i);
    const client = arena.bytes.subarray(nameAt, nameAt + SOCKADDR_IN6_BYTES);
    this.#service?.onDatagram(client, address.bytes, received.payloadAt(i), received.payloadLength(i));
  }
}
