/**
 * One intercepted connection from the moment its destination is dialled until both its sockets are closed.
 *
 * It owns two descriptors and two half pipes, gives each event to the half that it concerns, and decides how
 * the connection ends: an end of stream is passed on as one (SHUT_WR), a reset as a reset (SO_LINGER 0).
 *
 * Called by the listener (made), by the reactor (events, timer, deferred work) and by the listener again when
 * the worker stops.
 *
 * @module
 */
import {
  type Deferred,
  EPOLLERR,
  EPOLLHUP,
  EPOLLIN,
  EPOLLOUT,
  EPOLLPRI,
  EPOLLRDHUP,
  type EventHandler,
  SHUT_WR,
  SIOCOUTQ,
  SO_ERROR,
  SO_LINGER,
  SO_OOBINLINE,
  SOCKADDR_IN6_BYTES,
  SOL_SOCKET,
  TICK_MS,
  Timer,
} from "../ffi/mod.ts";
import { type ConnectionEnd, dialFailure, relayFailure } from "../flow/connection_end.ts";
import type { LiveFlow, LiveFlows, Route } from "../flow/mod.ts";
import { acknowledgeAtOnce } from "./dial.ts";
import { ENDED, HalfPipe, MORE } from "./half_pipe.ts";
import { livenessDueMs, setLiveness } from "./liveness.ts";
import type { TcpContext } from "./worker_context.ts";

/** What every socket of a connection is watched for. */
const WATCHED = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP;

/** Told when a connection has ended, to give back what it counted for. */
export interface ConnectionOwner {
  onConnectionEnd(connection: Connection): void;
}

/** The two addresses of a connection, kept only when its end will be reported. */
export interface ConnectionAddresses {
  /** sockaddr bytes */
  readonly client: Uint8Array;
  /** sockaddr bytes */
  readonly destination: Uint8Array;
}

/** A connection being dialled, relayed, or over. */
export class Connection extends Timer implements EventHandler, Deferred, LiveFlow {
  /** Client to destination, and back. */
  readonly #up: HalfPipe;
  readonly #down: HalfPipe;
  readonly #context: TcpContext;
  readonly #owner: ConnectionOwner;
  readonly #client: number;
  readonly #upstream: number;
  readonly #addresses: ConnectionAddresses | undefined;
  readonly #startMs: number;
  readonly #route: Route | undefined;
  #liveFlows: LiveFlows | undefined = undefined;
  #activeTick: number;
  #deferred = false;
  #livenessSet = false;
  /** Bytes that both sockets had queued when last looked at. */
  #lastQueued = 0;
  #state: "dialling" | "relaying" | "over" = "dialling";
  /** The slot this connection is counted in, see flow/client_limit.ts. */
  readonly clientSlot: number;

  /**
   * @param client the accepted socket, not watched yet.
   * @param upstream the connecting socket, not watched yet.
   * @param hasData whether the client has already sent something.
   * @param startMs when it was accepted, on the reactor's clock.
   * @param route by which it leaves; undefined: none was chosen.
   */
  constructor(
    context: TcpContext,
    owner: ConnectionOwner,
    client: number,
    upstream: number,
    clientSlot: number,
    addresses: ConnectionAddresses | undefined,
    hasData: boolean,
    startMs: number,
    route: Route | undefined,
  ) {
    super();
    this.#context = context;
    this.#owner = owner;
    this.#client = client;
    this.#upstream = upstream;
    this.clientSlot = clientSlot;
    this.#addresses = addresses;
    this.#up = new HalfPipe(context.carrier, client, upstream);
    this.#down = new HalfPipe(context.carrier, upstream, client);
    this.#up.readable = hasData;
    this.#startMs = startMs;
    this.#route = route;
    this.#activeTick = context.reactor.timers.tick;
  }

  /** Watches the connecting socket. The client's joins when there is somebody to send its bytes to. */
  start(): void {
    const { reactor, settings } = this.#context;
    const result = reactor.add(this.#upstream, WATCHED, this);
    if (result < 0) this.#end({ reason: "limit", side: "proxy" });
    else reactor.timers.schedule(this, settings.connectTimeoutMs);
  }

  onEvents(fd: number, events: number): void {
    this.#activeTick = this.#context.reactor.timers.tick;
    if (this.#state === "dialling") this.#onDialled(events);
    else if (fd === this.#client) this.#onReady(this.#up, this.#down, events, fd);
    else this.#onReady(this.#down, this.#up, events, fd);
  }

  /** A half that stopped for fairness goes on. */
  onDeferred(): void {
    this.#deferred = false;
    if (this.#isOpen() && !this.#up.blocked && !this.#up.ended) this.#pump(this.#up, this.#down);
    if (this.#isOpen() && !this.#down.blocked && !this.#down.ended) this.#pump(this.#down, this.#up);
  }

  override onTimer(): void {
    if (this.#state === "dialling") {
      this.#end({ reason: "connect-timeout", side: "upstream" });
      return;
    }
    if (!this.#livenessSet && this.#ageMs() >= livenessDueMs(this.#context.settings)) {
      this.#livenessSet = true;
      setLiveness(this.#context, this.#upstream);
    }
    const idle = (this.#context.reactor.timers.tick - this.#activeTick) * TICK_MS;
    const left = this.#idleTimeoutMs() - idle;
    if (left <= 0 && this.#isDelivering()) {
      this.#scheduleCheck(this.#idleTimeoutMs());
      return;
    }
    if (left <= 0) {
      const halfClosed = this.#up.ended || this.#down.ended;
      this.#end({ reason: halfClosed ? "half-closed-timeout" : "idle-timeout", side: "proxy" });
      return;
    }
    this.#scheduleCheck(left);
  }

  /** Ends the connection at once because the worker does. */
  shutDown(): void {
    this.#end({ reason: "shutdown", side: "proxy" });
  }

  /** From now on it may be ended with others that leave by the same upstream. */
  joins(liveFlows: LiveFlows): void {
    this.#liveFlows = liveFlows;
    liveFlows.add(this);
  }

  endByUpstream(): void {
    this.#end({ reason: "upstream-failed", side: "upstream" });
  }

  #onDialled(events: number): void {
    const isBroken = (events & (EPOLLERR | EPOLLHUP)) !== 0;
    // What an upstream has opened was connected: it has been reset since, maybe behind what the destination has said.
    if (isBroken && this.#route?.kind !== "upstream") {
      this.#end(dialFailure(this.#takeError(this.#upstream)));
      return;
    }
    if ((events & EPOLLOUT) === 0) return;
    this.#state = "relaying";
    this.#scheduleCheck(this.#idleTimeoutMs());
    if (this.#up.readable && !isBroken) {
      this.#pump(this.#up, this.#down);
      if (!this.#isOpen()) return;
      acknowledgeAtOnce(this.#context, this.#upstream);
    }
    if (this.#context.reactor.add(this.#client, WATCHED, this) < 0) {
      this.#end({ reason: "limit", side: "proxy" });
      return;
    }
    // A server that speaks first may have done so in the same event.
    if ((events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP)) !== 0) {
      this.#onReady(this.#down, this.#up, events, this.#upstream);
    }
  }

  /**
   * @param from the half that reads this socket.
   * @param to the half that writes it.
   */
  #onReady(from: HalfPipe, to: HalfPipe, events: number, fd: number): void {
    if ((events & EPOLLOUT) !== 0 && to.blocked) {
      to.blocked = false;
      this.#pump(to, from);
      if (!this.#isOpen()) return;
    }
    if ((events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) === 0 || from.ended) {
      if ((events & EPOLLERR) !== 0) this.#onError(fd);
      return;
    }
    from.readable = true;
    if ((events & EPOLLRDHUP) !== 0) from.hungUp = true;
    if ((events & EPOLLPRI) !== 0 && !from.urgent) this.#onUrgent(from, fd);
    if (!from.blocked) this.#pump(from, to);
    // What was readable has been carried as far as the other side takes it; a reset does not wait for the rest.
    if ((events & EPOLLERR) !== 0 && this.#isOpen()) this.#onError(fd);
  }

  /**
   * Urgent data is carried as what it is, a byte of the stream (RFC 6093, section 6). Left out of line it would be
   * lost. That it was urgent is not passed on.
   */
  #onUrgent(from: HalfPipe, fd: number): void {
    from.urgent = true;
    this.#context.sys.setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, this.#context.one.pointer, 4);
  }

  #isOpen(): boolean {
    return this.#state !== "over";
  }

  #pump(half: HalfPipe, opposite: HalfPipe): void {
    const result = half.pump();
    if (result === MORE) this.#defer();
    else if (result === ENDED) this.#onHalfEnded(half, opposite);
    else if (result < 0) this.#onFailure(half, -result);
  }

  #defer(): void {
    if (this.#deferred) return;
    this.#deferred = true;
    this.#context.reactor.defer(this);
  }

  #onHalfEnded(half: HalfPipe, opposite: HalfPipe): void {
    if (opposite.ended) {
      this.#end({ reason: "closed", side: half === this.#up ? "upstream" : "client" });
      return;
    }
    // An error here (ENOTCONN) means that the sink was reset: its own event says so.
    this.#context.sys.shutdown(half === this.#up ? this.#upstream : this.#client, SHUT_WR);
    this.#scheduleCheck(this.#idleTimeoutMs());
  }

  /** An error that the socket reports by itself, not through a read or a write. */
  #onError(fd: number): void {
    const errno = this.#takeError(fd);
    if (errno !== 0) this.#end(relayFailure(errno, fd === this.#client ? "client" : "upstream"));
  }

  #onFailure(half: HalfPipe, errno: number): void {
    const atClient = (half === this.#up) !== half.failedAtSink;
    this.#end(relayFailure(errno, atClient ? "client" : "upstream"));
  }

  #takeError(fd: number): number {
    const { sys, value, length } = this.#context;
    length.words[0] = 4;
    const result = sys.getsockopt(fd, SOL_SOCKET, SO_ERROR, value.pointer, length.pointer);
    return result < 0 ? -result : value.words[0]!;
  }

  #idleTimeoutMs(): number {
    const { idleTimeoutMs, halfClosedTimeoutMs } = this.#context.settings;
    const timeout = this.#up.ended || this.#down.ended ? halfClosedTimeoutMs : idleTimeoutMs;
    return timeout === 0 ? Infinity : timeout;
  }

  /**
   * Whether a peer has taken something since the last look that was waiting in its socket's queue. There is no
   * event for that before a third of the queue is free, and a slow reader may need longer than the timeout. A peer
   * that takes nothing at all is so found out at the second look.
   */
  #isDelivering(): boolean {
    const queued = this.#queuedTo(this.#client) + this.#queuedTo(this.#upstream);
    const changed = queued !== this.#lastQueued;
    this.#lastQueued = queued;
    return changed;
  }

  #queuedTo(fd: number): number {
    const { sys, value } = this.#context;
    return sys.ioctl(fd, SIOCOUTQ, value.pointer) < 0 ? 0 : value.words[0]!;
  }

  #ageMs(): number {
    return this.#context.reactor.now - this.#startMs;
  }

  /** @param idleLeftMs until the connection will have been idle for too long; it may be active again by then. */
  #scheduleCheck(idleLeftMs: number): void {
    const { reactor, settings } = this.#context;
    const livenessLeftMs = this.#livenessSet ? Infinity : livenessDueMs(settings) - this.#ageMs();
    const delayMs = Math.min(idleLeftMs, livenessLeftMs);
    if (delayMs === Infinity) reactor.timers.cancel(this);
    else reactor.timers.schedule(this, Math.max(0, delayMs));
  }

  #end(end: ConnectionEnd): void {
    const wasDialling = this.#state === "dialling";
    this.#state = "over";
    this.#context.reactor.timers.cancel(this);
    this.#liveFlows?.delete(this);
    this.#report(end);
    this.#up.close();
    this.#down.close();
    // Closed means that both have said their last byte. Whatever else happened, happened to the whole
    // connection, and the side that does not know yet learns it by a reset.
    const orderly = end.reason === "closed";
    this.#close(this.#client, orderly);
    this.#close(this.#upstream, orderly);
    this.#count(end, wasDialling);
    this.#owner.onConnectionEnd(this);
  }

  #close(fd: number, orderly: boolean): void {
    const { sys, reactor, lingerZero } = this.#context;
    if (!orderly) sys.setsockopt(fd, SOL_SOCKET, SO_LINGER, lingerZero.pointer, 8);
    reactor.forget(fd);
    sys.close(fd);
  }

  #count(end: ConnectionEnd, wasDialling: boolean): void {
    const context = this.#context;
    context.count(wasDialling ? "tcpDialFailed" : "tcpFinished");
    context.count("tcpBytesUp", this.#up.bytes);
    context.count("tcpBytesDown", this.#down.bytes);
    if (end.reason === "reset") {
      context.count(end.side === "client" ? "tcpClientResets" : "tcpUpstreamResets");
    } else if (end.reason.endsWith("timeout")) context.count("tcpTimeouts");
  }

  #report(end: ConnectionEnd): void {
    const { onFlow, sys, peer, length } = this.#context;
    if (onFlow === undefined || this.#addresses === undefined) return;
    length.words[0] = SOCKADDR_IN6_BYTES;
    const named = sys.getsockname(this.#upstream, peer.pointer, length.pointer) === 0;
    const { client, destination } = this.#addresses;
    onFlow(
      client,
      destination,
      named ? peer.bytes : undefined,
      this.#up.bytes,
      this.#down.bytes,
      Math.round(this.#ageMs()),
      end,
      this.#route,
    );
  }
}
