/**
 * Accepts intercepted connections: learns where each was going, refuses what must not be carried, asks which way it is
 * to leave, dials the destination and hands both sockets to a Connection. Owns the listening socket and the set of open connections.
 *
 * @module
 */
import {
  type Deferred,
  EADDRNOTAVAIL,
  EAGAIN,
  ECONNABORTED,
  EMFILE,
  ENFILE,
  EPOLLIN,
  errnoName,
  type EventHandler,
  isLoopbackDestination,
  MSG_PEEK,
  SO_LINGER,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCKADDR_IN6_BYTES,
  sockaddrPort,
  SOL_SOCKET,
  SyscallError,
  Timer,
  unmapSockaddr,
} from "../ffi/mod.ts";
import {
  type BlockRoute,
  type DirectRoute,
  REFUSED,
  type Route,
  type StreamFailure,
  UNCOUNTED,
  type UpstreamRoute,
} from "../flow/mod.ts";
import { Connection, type ConnectionAddresses, type ConnectionOwner } from "./connection.ts";
import { type ConnectionEnd, dialFailure } from "../flow/connection_end.ts";
import { dial, dialByRoute, isPlain } from "./dial.ts";
import { BACKLOG, openListenerSocket } from "./listener_socket.ts";
import { isOwnListener, readOriginalDestination } from "./original_destination.ts";
import { ReserveDescriptor } from "./reserve_descriptor.ts";
import { DNS_PORT, ResolverDial, type ResolverDialOwner } from "./resolver_dial.ts";
import type { TcpCounterName } from "./settings.ts";
import { UpstreamDial, type UpstreamDialOwner } from "./upstream_dial.ts";
import { TcpContext, type TcpEnvironment, type TcpWarning } from "./worker_context.ts";

/** In the order of how often they are met. */
type Carried = Connection | UpstreamDial | ResolverDial;

/** Accepted in one turn at most: open connections have their turn in between. */
const ACCEPT_BUDGET = 64;
const IPPROTO_TCP = 6;
/** How long accepting rests when descriptors have run out; connections that end meanwhile free some. */
const PAUSE_MS = 250;

/** The TCP side of one worker. */
export class TcpListener extends Timer
  implements EventHandler, Deferred, ConnectionOwner, ResolverDialOwner, UpstreamDialOwner {
  readonly #context: TcpContext;
  readonly #reserve: ReserveDescriptor;
  readonly #fd: number;
  readonly #connections = new Set<Carried>();
  /** Whether the peer's address is needed when a connection is accepted, whichever way it leaves. */
  readonly #needsPeer: boolean;
  readonly dualStack: boolean;
  #paused = false;
  #deferred = false;
  #open = true;
  #onIdle: (() => void) | undefined;

  /** Opens the listener and watches it. @throws {SyscallError} when the port is taken or a right is missing. */
  constructor(environment: TcpEnvironment) {
    super();
    const { arena, settings, sys, reactor } = environment;
    this.#context = new TcpContext(environment);
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
    return this.#connections.size;
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

  onConnectionEnd(connection: Connection): void {
    this.#uncount(connection.clientSlot);
    this.#forget(connection);
  }

  onResolverDialled(dial: ResolverDial, upstream: number): void {
    const { client, clientSlot, addresses, hasData, startMs } = dial;
    this.#relay(client, upstream, clientSlot, addresses, hasData, startMs, undefined);
    this.#forget(dial);
  }

  onResolversFailed(dial: ResolverDial, errno: number): void {
    this.#onDialFailed(dial.client, dial.clientSlot, errno, dial.addresses, undefined);
    this.#forget(dial);
  }

  onUpstreamDialled(dial: UpstreamDial, upstream: number): void {
    const { client, clientSlot, hasData, startMs, route } = dial;
    this.#relay(client, upstream, clientSlot, dial.addresses, hasData, startMs, route);
    this.#forget(dial);
  }

  onUpstreamFailed(dial: UpstreamDial, failure: StreamFailure): void {
    const { end, atUpstream, detail } = failure;
    this.#giveUp(dial.client, dial.clientSlot, dial.addresses, end, dial.route);
    if (end.reason === "limit") {
      this.#context.count("tcpRefusedFds");
      this.#pause("fds-exhausted", detail);
    } else {
      this.#context.count("tcpDialFailed");
      if (atUpstream) this.#context.count("tcpUpstreamFailed");
      // A destination that refuses is its own affair, as it is without an upstream.
      if (atUpstream || end.reason === "denied") this.#context.warn("upstream-failed", detail);
    }
    this.#forget(dial);
  }

  onUpstreamDialAborted(dial: UpstreamDial, end: ConnectionEnd): void {
    this.#giveUp(dial.client, dial.clientSlot, dial.addresses, end, dial.route);
    this.#context.count("tcpDialFailed");
    if (end.side === "client") this.#context.count("tcpClientResets");
    this.#forget(dial);
  }

  onResolverDialShutDown(dial: ResolverDial): void {
    const end: ConnectionEnd = { reason: "shutdown", side: "proxy" };
    this.#giveUp(dial.client, dial.clientSlot, dial.addresses, end, undefined);
    this.#context.count("tcpDialFailed");
    this.#forget(dial);
  }

  #forget(connection: Carried): void {
    this.#connections.delete(connection);
    if (this.#onIdle !== undefined && this.#connections.size === 0) this.#onIdle();
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
    this.#onIdle = onIdle;
    if (this.#connections.size === 0) onIdle();
  }

  /** Listens no more and resets what is open. */
  close(): void {
    if (this.#open) this.#closeListener();
    this.#onIdle = undefined;
    for (const connection of [...this.#connections]) connection.shutDown();
    this.#context.facts.close();
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
    if (slot === REFUSED) return;
    const addresses = context.onFlow === undefined ? undefined : this.#copyAddresses();
    const hasData = context.sys.recv(client, context.value.pointer, 1, MSG_PEEK) === 1;
    if (isAnswered) {
      const dial = new ResolverDial(context, this, client, slot, addresses, hasData);
      this.#connections.add(dial);
      dial.start();
      return;
    }
    const route = context.router.only ?? this.#choose(client);
    if (route.kind === "upstream") this.#dialUpstream(route, client, slot, addresses, hasData);
    else if (route.kind === "block") this.#block(route, client, slot, addresses);
    else this.#dial(route, client, slot, addresses, hasData);
  }

  #choose(client: number): Route {
    const { router, facts, words, peer, destination } = this.#context;
    const clientAt = peer.offset >> 2, destinationAt = destination.offset >> 2;
    facts.begin(client, clientAt, destinationAt);
    return router.choose(IPPROTO_TCP, words, clientAt, destinationAt, facts);
  }

  #dial(
    route: DirectRoute,
    client: number,
    slot: number,
    addresses: ConnectionAddresses | undefined,
    hasData: boolean,
  ): void {
    const context = this.#context;
    const upstream = isPlain(route) ? dial(context, hasData) : dialByRoute(context, route, hasData);
    if (upstream < 0) this.#onDialFailed(client, slot, -upstream, addresses, route);
    else this.#relay(client, upstream, slot, addresses, hasData, context.reactor.now, route);
  }

  #dialUpstream(
    route: UpstreamRoute,
    client: number,
    slot: number,
    addresses: ConnectionAddresses | undefined,
    hasData: boolean,
  ): void {
    const dial = new UpstreamDial(
      this.#context,
      this,
      route,
      client,
      slot,
      addresses ?? this.#copyAddresses(),
      hasData,
    );
    this.#connections.add(dial);
    dial.start();
  }

  #block(
    route: BlockRoute,
    client: number,
    slot: number,
    addresses: ConnectionAddresses | undefined,
  ): void {
    this.#context.count("tcpBlocked");
    this.#giveUp(client, slot, addresses, { reason: "blocked", side: "proxy" }, route);
  }

  #relay(
    client: number,
    upstream: number,
    slot: number,
    addresses: ConnectionAddresses | undefined,
    hasData: boolean,
    startMs: number,
    route: Route | undefined,
  ): void {
    const connection = new Connection(
      this.#context,
      this,
      client,
      upstream,
      slot,
      addresses,
      hasData,
      startMs,
      route,
    );
    this.#connections.add(connection);
    connection.start();
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
      this.#uncount(UNCOUNTED);
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

  #uncount(slot: number): void {
    Atomics.sub(this.#context.openConnections, 0, 1);
    this.#context.count("tcpOpenNow", -1);
    this.#context.clientLimit?.release(slot);
  }

  #copyAddresses(): ConnectionAddresses {
    return { client: this.#context.peer.bytes.slice(), destination: this.#context.destination.bytes.slice() };
  }

  #onDialFailed(
    client: number,
    slot: number,
    errno: number,
    addresses: ConnectionAddresses | undefined,
    route: Route | undefined,
  ): void {
    this.#giveUp(client, slot, addresses, dialFailure(errno), route);
    if (errno === EMFILE || errno === ENFILE) {
      this.#context.count("tcpRefusedFds");
      this.#pause("fds-exhausted", `socket: ${errnoName(errno)}`);
      return;
    }
    this.#context.count("tcpDialFailed");
    if (errno === EADDRNOTAVAIL && this.#context.fixedSource !== undefined) {
      this.#context.warn("source-address", "a connection's source address, such as ::6, is not this host's");
    }
  }

  #giveUp(
    client: number,
    slot: number,
    addresses: ConnectionAddresses | undefined,
    end: ConnectionEnd,
    route: Route | undefined,
  ): void {
    this.#reset(client);
    this.#uncount(slot);
    if (addresses === undefined) return;
    this.#context.onFlow?.(addresses.client, addresses.destination, undefined, 0, 0, 0, end, route);
  }

  #refuse(client: number, counter: TcpCounterName, warning: TcpWarning, detail: string): void {
    // First of all: whatever goes wrong in telling of it, the client has its answer.
    this.#reset(client);
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
      this.#reset(client);
    }
    this.#reserve.take();
  }

  #pause(warning: TcpWarning, detail: string): void {
    if (this.#paused || !this.#open) return;
    this.#paused = true;
    this.#context.count("tcpAcceptPauses");
    this.#context.warn(warning, `${detail}: accepting pauses`);
    this.#context.reactor.timers.schedule(this, PAUSE_MS);
  }

  #reset(client: number): void {
    const { sys, lingerZero } = this.#context;
    sys.setsockopt(client, SOL_SOCKET, SO_LINGER, lingerZero.pointer, 8);
    sys.close(client);
  }
}
