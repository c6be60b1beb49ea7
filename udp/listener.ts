/**
 * Receives intercepted datagrams, learns where each was going, and gives it to the session of its client. Owns the
 * listening sockets, and through the session store all of UDP in one worker.
 *
 * @module
 */
import {
  type Deferred,
  EAGAIN,
  EPOLLIN,
  type EventHandler,
  MSG_DONTWAIT,
  SOCKADDR_IN6_BYTES,
  SocketFactory,
  SyscallError,
  TICK_MS,
  Timer,
} from "../ffi/mod.ts";
import type { DatagramService, ReplySender, Router } from "../flow/mod.ts";
import { Carriage } from "./carriage.ts";
import { BATCH, countSegments } from "./inbox.ts";
import { openListenerSocket, tellInterfaces } from "./listener_socket.ts";
import { OwnListener } from "./own_listener.ts";
import type { Session } from "./session.ts";
import { portOf } from "./session_table.ts";
import { SessionStore } from "./session_store.ts";
import { Steering } from "./steering.ts";
import type { UdpEnvironment } from "./worker_context.ts";

/** Batches of one turn: answers have their turn in between. */
const ROUNDS = 8;
/** How often it is looked whether the kernel has dropped datagrams, while any arrive. */
const DROPS_INTERVAL_MS = 1000;
/** While draining, a session that has been quiet for so long has nothing left to say. */
const QUIET_MS = 1000;
const DRAIN_CHECK_MS = 200;
const DNS_PORT = 53;

/** One listening socket. */
interface Listening {
  readonly fd: number;
  readonly family: 4 | 6;
  /** Datagrams that the kernel has dropped at it. */
  drops: number;
  /** Whether it had more than one turn could take. */
  unfinished: boolean;
}

/** The UDP side of one worker. */
export class UdpListener extends Timer implements EventHandler, Deferred {
  /** Whether it takes IPv6 as well as IPv4. */
  readonly dualStack: boolean;
  readonly #context: Carriage;
  readonly #sessions: SessionStore;
  readonly #ownListener: OwnListener;
  readonly #steering: Steering;
  /** The one that has been seen last; and the one before, where only this one asks by which interface datagrams came. */
  #router: Router | undefined;
  #before: Router | undefined;
  readonly #listening: Listening[] = [];
  /** The sessions of the batch that is looked at. */
  readonly #found: (Session | undefined)[] = new Array(BATCH).fill(undefined);
  #deferred = false;
  #dns: DatagramService | undefined;
  #dropsReadMs = 0;
  #onIdle: (() => void) | undefined;

  /** Opens the sockets and watches them. @throws {SyscallError} when the port is taken or a right is missing. */
  constructor(environment: UdpEnvironment) {
    super();
    const { sys, arena, settings } = environment;
    this.#context = new Carriage(environment);
    this.#sessions = new SessionStore(this.#context);
    this.#ownListener = new OwnListener(this.#context);
    this.#steering = new Steering(this.#context, this.#sessions);
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
    this.seeRouter();
  }

  /** Sessions there are. */
  get open(): number {
    return this.#sessions.size;
  }

  /** Sends datagrams to clients from any source. */
  get replies(): ReplySender {
    return this.#context.answers;
  }

  /** From now on datagrams to port 53 are `service`'s. */
  serveDns(service: DatagramService): void {
    this.#dns = service;
  }

  /** The router has been exchanged. Only where it asks is it worth having the kernel tell interfaces. */
  seeRouter(): void {
    const router = this.#context.routing.current, asks = router.only === undefined;
    this.#before = asks && this.#router?.only !== undefined ? this.#router : undefined;
    this.#router = router;
    for (const { fd, family } of this.#listening) tellInterfaces(this.#context, fd, family, asks);
  }

  onEvents(fd: number): void {
    for (const listening of this.#listening) if (listening.fd === fd) this.#receive(listening);
    if (this.#context.reactor.now - this.#dropsReadMs >= DROPS_INTERVAL_MS) this.#readDrops();
  }

  onDeferred(): void {
    this.#deferred = false;
    for (const listening of this.#listening) if (listening.unfinished) this.#receive(listening);
  }

  /** Draining: whether there is nobody left. */
  override onTimer(): void {
    this.#sessions.endIdle(QUIET_MS / TICK_MS);
    const isBusy = this.#sessions.size > 0 || (this.#dns?.pending ?? 0) > 0;
    if (isBusy) this.#context.reactor.timers.schedule(this, DRAIN_CHECK_MS);
    else this.#onIdle?.();
  }

  /**
   * Ends sessions as they fall quiet. Datagrams are still taken: the rules bring those of open flows alone.
   *
   * @param onIdle called once no session is left and nobody waits for DNS; possibly at once.
   */
  drain(onIdle: () => void): void {
    this.#onIdle = onIdle;
    this.onTimer();
  }

  /** Listens no more and ends every session. */
  close(): void {
    const { reactor, sys } = this.#context;
    this.#onIdle = undefined;
    reactor.timers.cancel(this);
    this.#readDrops();
    for (const { fd } of this.#listening) {
      reactor.forget(fd);
      sys.close(fd);
    }
    this.#listening.length = 0;
    this.#sessions.close();
    this.#context.answers.close();
    this.#context.undelivered.close();
    this.#steering.close();
  }

  #watch(fd: number, family: 4 | 6): void {
    this.#listening.push({ fd, family, drops: 0, unfinished: false });
    const result = this.#context.reactor.add(fd, EPOLLIN, this);
    if (result < 0) throw new SyscallError("epoll_ctl", -result);
  }

  #receive(listening: Listening): void {
    const { inbox, sys, reactor } = this.#context;
    listening.unfinished = false;
    for (let round = 0; round < ROUNDS; round++) {
      const count = inbox.receive(sys, listening.fd, MSG_DONTWAIT);
      if (count === -EAGAIN) return;
      // To try again at once would be a loop without end: what waits is looked at when more arrives.
      if (count < 0) return this.#context.onReceiveError(-count);
      this.#dispatch(count);
      if (count < BATCH) return;
    }
    listening.unfinished = true;
    if (this.#deferred) return;
    this.#deferred = true;
    reactor.defer(this);
  }

  /** Gives each datagram to its session, and sends what they have made of it. */
  #dispatch(count: number): void {
    const { inbox, arena, reactor } = this.#context;
    const { words } = arena, { tick } = reactor.timers;
    const router = this.#context.routing.current;
    const sessions = this.#found;
    // All look-ups first, and a touch of each session: what they fetch from memory is fetched at the same time.
    for (let i = 0; i < count; i++) {
      const known = sessions[i] = this.#sessions.find(inbox.nameAt(i));
      if (known !== undefined) known.activeTick = tick;
    }
    for (let i = 0; i < count; i++) {
      inbox.look(i);
      if (!this.#isWhole(i)) continue;
      if (this.#dns !== undefined && portOf(words[inbox.destinationAt >> 2]!) === DNS_PORT) {
        this.#serve(this.#dns, i);
      } else this.#sessionOf(i, router)?.take(i);
    }
    this.#context.flushOutboxes();
  }

  /** The session of datagram `i`: the one that was looked up, where there is only one way to leave and it leaves by it. */
  #sessionOf(i: number, router: Router): Session | undefined {
    const known = this.#found[i];
    // Evicted since, it is nobody's any more.
    if (known !== undefined && known.route === router.only && !known.isOver) return known;
    // What had come before the kernel was asked to tell is for the router of then: rules would not know it.
    const isEarlier = this.#before !== undefined && this.#context.inbox.interfaceIndex === 0;
    return this.#steering.sessionOf(i, isEarlier ? this.#before! : router, known);
  }

  /** Whether the datagram that is looked at can be carried. */
  #isWhole(i: number): boolean {
    const { inbox } = this.#context;
    if (inbox.truncated) {
      this.#context.count("udpTruncated");
      this.#context.warn("udp-truncated", "a datagram was longer than any can be");
      return false;
    }
    if (inbox.controlTruncated) this.#context.count("udpControlTruncated");
    if (inbox.destinationAt < 0) {
      this.#context.count("udpNoDestination");
      this.#context.warn("udp-error", "a datagram came without its original destination");
      return false;
    }
    if (!this.#ownListener.is(inbox.destinationAt)) return true;
    this.#context.count("udpRefusedLoop", countSegments(inbox.payloadLength(i), inbox.segmentBytes));
    this.#context.warn("udp-loop", "a datagram was sent straight to the listening port, or to loopback");
    return false;
  }

  #serve(service: DatagramService, i: number): void {
    const { inbox, arena } = this.#context;
    const nameAt = inbox.nameAt(i), length = inbox.payloadLength(i);
    const client = arena.bytes.subarray(nameAt, nameAt + SOCKADDR_IN6_BYTES);
    const dialled = arena.bytes.subarray(inbox.destinationAt, inbox.destinationAt + SOCKADDR_IN6_BYTES);
    const step = inbox.segmentBytes === 0 ? length : inbox.segmentBytes;
    let at = 0;
    do {
      service.onDatagram(client, dialled, inbox.payloadAt(i) + at, Math.min(step, length - at));
      at += step;
    } while (at < length);
  }

  #readDrops(): void {
    this.#dropsReadMs = this.#context.reactor.now;
    for (const listening of this.#listening) {
      if (!this.#context.readMemory(listening.fd)) continue;
      this.#context.count("udpReceiveDrops", this.#context.drops - listening.drops);
      listening.drops = this.#context.drops;
    }
  }
}
