/**
 * Accepts intercepted connections: learns where each was going, refuses what must not be carried, and gives the rest to
 * its departures. Owns the listening socket.
 *
 * @module
 */
import {
  type Deferred,
  EAGAIN,
  ECONNABORTED,
  EMFILE,
  ENFILE,
  EPOLLIN,
  errnoName,
  type EventHandler,
  isLoopbackDestination,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCKADDR_IN6_BYTES,
  sockaddrPort,
  SyscallError,
  Timer,
  unmapSockaddr,
} from "../ffi/mod.ts";
import { REFUSED, UNCOUNTED } from "../flow/mod.ts";
import { Departures, type DeparturesOwner } from "./departures.ts";
import { isPlain } from "./dial.ts";
import { BACKLOG, openListenerSocket } from "./listener_socket.ts";
import { isOwnListener, readOriginalDestination } from "./original_destination.ts";
import { ReserveDescriptor } from "./reserve_descriptor.ts";
import { DNS_PORT } from "./resolver_dial.ts";
import type { TcpCounterName } from "./settings.ts";
import { TcpContext, type TcpEnvironment, type TcpWarning } from "./worker_context.ts";

/** Accepted in one turn at most: open connections have their turn in between. */
const ACCEPT_BUDGET = 64;
/** How long accepting rests when descriptors have run out; connections that end meanwhile free some. */
const PAUSE_MS = 250;

/** The TCP side of one worker. */
export class TcpListener extends Timer implements EventHandler, Deferred, DeparturesOwner {
  readonly #context: TcpContext;
  readonly #reserve: ReserveDescriptor;
  readonly #fd: number;
  readonly #departures: Departures;
  /** Whether the peer's address is needed when a connection is accepted, whichever way it leaves. */
  readonly #needsPeer: boolean;
  readonly dualStack: boolean;
  #paused = false;
  #deferred = false;
  #open = true;

  /** Opens the listener and watches it. @throws {SyscallError} when the port is taken or a right is missing. */
  constructor(environment: TcpEnvironment) {
    super();
    const { arena, settings, sys, reactor } = environment;
    this.#context = new TcpContext(environment);
    this.#departures = new Departures(this.#context, this);
    this.#needsPeer = settings.mode === "redirect" || settings.source === "keep" ||
      settings.source === "keepAddress" ||
      environment.onFlow !== undefined || environment.clientLimit !== undefined;
    const { socket, dualStack } = openListenerSocket(this.#context.sockets, settings);
    this.dualStack = dualStack;
    const result = reactor.add(socket.fd, EPOLLIN, this);
    if (result < 0) {
      socket[Symbol.dispose]();
      throw new SyscallError("epoll_ctl", -result);
    }
    this.#fd = socket.release();
    this.#reserve = new ReserveDescriptor(sys, arena);
  }

  /** Connections being dialled or carried. */
  get open(): number {
    return this.#departures.size;
  }

  onEvents(): void {
    if (!this.#paused) this.#acceptSome();
  }

  onDeferred(): void {
    this.#deferred = false;
    if (this.#open && !this.#paused) this.#acceptSome();
  }

  /** The pause is over. */
  override onTimer(): void {
    this.#paused = false;
    this.#reserve.take();
    this.#acceptSome();
  }

  /**
   * Takes what is already in the queue, then listens no more.
   *
   * @param onIdle called once no connection is open any more; possibly at once.
   */
  drain(onIdle: () => void): void {
    if (this.#open) {
      // The handshakes of the connections in the queue are complete: to their clients they are open.
      this.#paused = false;
      for (let i = 0; i < BACKLOG && this.#acceptOne(); i++);
      this.#closeListener();
    }
    this.#departures.drain(onIdle);
  }

  /** Listens no more and resets what is open. */
  close(): void {
    if (this.#open) this.#closeListener();
    this.#departures.shutDown();
    this.#reserve.letGo();
  }

  #closeListener(): void {
    this.#open = false;
    this.#context.reactor.timers.cancel(this);
    this.#context.reactor.forget(this.#fd);
    this.#context.sys.close(this.#fd);
  }

  #acceptSome(): void {
    for (let i = 0; i < ACCEPT_BUDGET; i++) {
      if (!this.#acceptOne()) return;
    }
    if (this.#deferred) return;
    this.#deferred = true;
    this.#context.reactor.defer(this);
  }

  /** @returns whether there may be another one. */
  #acceptOne(): boolean {
    const { sys, peer, length, router: { only } } = this.#context;
    const needsPeer = this.#needsPeer || only === undefined || !isPlain(only);
    length.words[0] = SOCKADDR_IN6_BYTES;
    const client = needsPeer
      ? sys.accept4(this.#fd, peer.pointer, length.pointer, SOCK_NONBLOCK | SOCK_CLOEXEC)
      : sys.accept4(this.#fd, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (client >= 0) {
      if (needsPeer) unmapSockaddr(peer.bytes);
      this.#context.count("tcpAccepted");
      this.#carry(client);
      return !this.#paused;
    }
    switch (-client) {
      case EAGAIN:
        return false;
      case ECONNABORTED:
        // The one it was about is gone from the queue.
        this.#context.count("tcpAcceptErrors");
        return true;
      case EMFILE:
      case ENFILE:
        this.#refuseWithReserve();
        this.#pause("fds-exhausted", `accept4: ${errnoName(-client)}`);
        return false;
      default:
        // A lack of memory, or an error that will still be there for the next one (a security module's refusal).
        this.#context.count("tcpAcceptErrors");
        this.#pause("accept-error", `accept4: ${errnoName(-client)}`);
        return false;
    }
  }

  #carry(client: number): void {
    const context = this.#context;
    const known = readOriginalDestination(context, client);
    if (known < 0 || isOwnListener(context)) {
      this.#refuse(client, "tcpRefusedLoop", "loop", "a connection was made straight to the listening port");
      return;
    }
    const isAnswered = context.resolvers.length > 0 && sockaddrPort(context.destination.bytes) === DNS_PORT;
    if (!isAnswered && isLoopbackDestination(context.destination.words, 0)) {
      this.#refuse(
        client,
        "tcpRefusedLoop",
        "loop",
        "a connection was made to this host's own loopback address",
      );
      return;
    }
    const slot = this.#admit(client);
    if (slot !== REFUSED) this.#departures.depart(client, slot, isAnswered);
  }

  /** Counts the connection against the limits. @returns its slot, or REFUSED after refusing it. */
  #admit(client: number): number {
    const { openConnections, clientLimit, settings, peer } = this.#context;
    if (Atomics.add(openConnections, 0, 1) >= settings.maxConnections) {
      Atomics.sub(openConnections, 0, 1);
      this.#refuse(
        client,
        "tcpRefusedLimit",
        "connection-limit",
        `${settings.maxConnections} connections are open`,
      );
      return REFUSED;
    }
    this.#context.count("tcpOpenNow");
    if (clientLimit === undefined) return UNCOUNTED;
    const slot = clientLimit.acquire(peer.bytes);
    if (slot === REFUSED) {
      this.onOver(UNCOUNTED);
      const limit = settings.maxConnectionsPerClient;
      this.#refuse(
        client,
        "tcpRefusedClientLimit",
        "client-limit",
        `one client has ${limit} connections open`,
      );
    }
    return slot;
  }

  onOver(slot: number): void {
    Atomics.sub(this.#context.openConnections, 0, 1);
    this.#context.count("tcpOpenNow", -1);
    this.#context.clientLimit?.release(slot);
  }

  #refuse(client: number, counter: TcpCounterName, warning: TcpWarning, detail: string): void {
    // First of all: whatever goes wrong in telling of it, the client has its answer.
    this.#context.reset(client);
    this.#context.count(counter);
    this.#context.warn(warning, detail);
  }

  /**
   * The oldest connection in the queue gets an answer, the others wait. As far as it goes: another thread of the
   * process may be quicker to take the number that is let go.
   */
  #refuseWithReserve(): void {
    this.#reserve.letGo();
    const client = this.#context.sys.accept4(this.#fd, null, null, SOCK_CLOEXEC);
    if (client >= 0) {
      this.#context.count("tcpRefusedFds");
      this.#context.reset(client);
    }
    this.#reserve.take();
  }

  onFdsExhausted(detail: string): void {
    this.#pause("fds-exhausted", detail);
  }

  #pause(warning: TcpWarning, detail: string): void {
    if (this.#paused || !this.#open) return;
    this.#paused = true;
    this.#context.count("tcpAcceptPauses");
    this.#context.warn(warning, `${detail}: accepting pauses`);
    this.#context.reactor.timers.schedule(this, PAUSE_MS);
  }
}
