/**
 * A connection to port 53 that is to be answered by one of our own resolvers: dials them one after the other until
 * one answers, then hands the socket over. One that has just failed for another client comes last. Meanwhile the
 * client's socket is not watched, as with any dial.
 *
 * It stands before a Connection and not in it, so that all other connections know nothing of it. The last resolver's
 * socket is handed over while it still connects: that it fails is then an ordinary failure to connect.
 *
 * @module
 */
import { EMFILE, ENFILE, EPOLLERR, EPOLLHUP, EPOLLOUT, type EventHandler, Timer } from "../ffi/mod.ts";
import type { ConnectionAddresses } from "./connection.ts";
import { dialFromHere } from "./dial.ts";
import type { DialledResolver, TcpContext } from "./worker_context.ts";

/** RFC 1035, section 4.2. */
export const DNS_PORT = 53;

/** Two seconds when the wheel has added its tick; asked for two seconds, it would round them up to three. */
const ANSWER_TIMEOUT_MS = 1900;

/** A resolver that has failed is tried after the others for so long. */
const FAILED_MS = 10_000;

/** Told how it went. It owns the client's socket. */
export interface ResolverDialOwner {
  /** `upstream` has connected, or is the last that can be tried and still connects; it is not watched. */
  onResolverDialled(dial: ResolverDial, upstream: number): void;
  /** No resolver could be dialled, for this reason. */
  onResolversFailed(dial: ResolverDial, errno: number): void;
  /** The worker ends. */
  onResolverDialShutDown(dial: ResolverDial): void;
}

/** A client that waits for a resolver. */
export class ResolverDial extends Timer implements EventHandler {
  readonly startMs: number;
  readonly #context: TcpContext;
  readonly #owner: ResolverDialOwner;
  /** Not tried yet, in the order in which they are going to be. */
  readonly #left: DialledResolver[];
  #dialled: DialledResolver | undefined;
  #upstream = -1;

  /**
   * @param client the accepted socket, not watched yet.
   * @param hasData whether the client has already sent something.
   */
  constructor(
    context: TcpContext,
    owner: ResolverDialOwner,
    readonly client: number,
    readonly clientSlot: number,
    readonly addresses: ConnectionAddresses | undefined,
    readonly hasData: boolean,
  ) {
    super();
    this.#context = context;
    this.#owner = owner;
    this.startMs = context.reactor.now;
    const { resolvers } = context;
    const hasFailed = ({ failedMs }: DialledResolver) => this.startMs - failedMs < FAILED_MS;
    this.#left = [...resolvers.filter((resolver) => !hasFailed(resolver)), ...resolvers.filter(hasFailed)];
  }

  /** Dials the first resolver. The owner may hear the outcome before this returns. */
  start(): void {
    this.#dialNext();
  }

  onEvents(_fd: number, events: number): void {
    if ((events & (EPOLLERR | EPOLLHUP)) !== 0) this.#giveUp();
    else if ((events & EPOLLOUT) !== 0) {
      const { reactor } = this.#context;
      reactor.timers.cancel(this);
      reactor.remove(this.#upstream);
      this.#dialled!.failedMs = -Infinity;
      this.#owner.onResolverDialled(this, this.#upstream);
    }
  }

  override onTimer(): void {
    this.#giveUp();
  }

  /** Ends it at once because the worker does. */
  shutDown(): void {
    this.#close();
    this.#owner.onResolverDialShutDown(this);
  }

  #giveUp(): void {
    this.#dialled!.failedMs = this.#context.reactor.now;
    this.#close();
    this.#dialNext();
  }

  #dialNext(): void {
    const { destination, reactor } = this.#context;
    for (;;) {
      const resolver = this.#dialled = this.#left.shift()!;
      destination.bytes.set(resolver.sockaddr);
      const isLast = this.#left.length === 0;
      const upstream = dialFromHere(this.#context, this.hasData);
      if (upstream < 0) {
        if (upstream !== -EMFILE && upstream !== -ENFILE) {
          resolver.failedMs = reactor.now;
          if (!isLast) continue;
        }
        return this.#owner.onResolversFailed(this, -upstream);
      }
      // What cannot be watched here cannot be watched there either, and is reported there.
      if (isLast || reactor.add(upstream, EPOLLOUT, this) < 0) {
        return this.#owner.onResolverDialled(this, upstream);
      }
      this.#upstream = upstream;
      return reactor.timers.schedule(this, ANSWER_TIMEOUT_MS);
    }
  }

  #close(): void {
    const { reactor, sys } = this.#context;
    reactor.timers.cancel(this);
    reactor.forget(this.#upstream);
    sys.close(this.#upstream);
  }
}
