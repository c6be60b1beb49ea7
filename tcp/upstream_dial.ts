/**
 * A connection whose way out is an upstream: runs the upstream's dialogue until it has opened a stream to the
 * destination, then hands that over. Of the client's socket nothing is read meanwhile; that it has been reset is
 * heard, and ends the dialogue.
 *
 * It stands before a Connection and not in it, so that connections without an upstream know nothing of it.
 *
 * @module
 */
import { type EventHandler, runTask } from "../ffi/mod.ts";
import type { ConnectionEnd, StreamFailure, StreamOpen, StreamOpened, UpstreamRoute } from "../flow/mod.ts";
import type { ConnectionAddresses } from "./connection.ts";
import type { TcpContext } from "./worker_context.ts";

/** Told how it went. It owns the client's socket, which is not watched any more by then. */
export interface UpstreamDialOwner {
  /** Nothing of the destination has been read from the stream. */
  onUpstreamDialled(dial: UpstreamDial, opened: StreamOpen): void;
  onUpstreamFailed(dial: UpstreamDial, failure: StreamFailure): void;
  /** It was given up: the client has gone, or the worker ends. */
  onUpstreamDialAborted(dial: UpstreamDial, end: ConnectionEnd): void;
}

const CLIENT_RESET: ConnectionEnd = { reason: "reset", side: "client" };
const SHUT_DOWN: ConnectionEnd = { reason: "shutdown", side: "proxy" };

/** A client that waits for an upstream. */
export class UpstreamDial implements EventHandler {
  readonly startMs: number;
  readonly #context: TcpContext;
  readonly #owner: UpstreamDialOwner;
  #task: { abort(): void } | undefined;
  #isDone = false;

  /**
   * @param client the accepted socket, not watched yet.
   * @param hasData whether the client has already sent something.
   */
  constructor(
    context: TcpContext,
    owner: UpstreamDialOwner,
    readonly route: UpstreamRoute,
    readonly client: number,
    readonly clientSlot: number,
    readonly addresses: ConnectionAddresses,
    readonly hasData: boolean,
  ) {
    this.#context = context;
    this.#owner = owner;
    this.startMs = context.reactor.now;
  }

  /** Begins the dialogue. The owner may hear the outcome before this returns. */
  start(): void {
    const { reactor, settings } = this.#context;
    const { client, destination } = this.addresses;
    const timeoutMs = Math.min(settings.connectTimeoutMs, this.route.connectTimeoutMs);
    const dialogue = this.route.streams.open({
      client,
      destination,
      target: destination,
      deadlineMs: this.startMs + timeoutMs,
    });
    const task = runTask(reactor, dialogue, (outcome) => {
      this.#finish();
      if (outcome.ok) this.#onOpened(outcome.value);
      else this.#owner.onUpstreamFailed(this, mistakeOf(this.route, outcome.error));
    });
    if (this.#isDone) return;
    this.#task = task;
    // EPOLLERR and EPOLLHUP need not be asked for. An end of stream alone is no reason to stop: the client may want an
    // answer. What cannot be watched here cannot be watched later, and is reported then.
    reactor.add(this.client, 0, this);
  }

  /** The client's socket: an error of it, or its end in both directions. */
  onEvents(): void {
    this.#abort(CLIENT_RESET);
  }

  /** Ends it at once because the worker does. */
  shutDown(): void {
    this.#abort(SHUT_DOWN);
  }

  #onOpened(opened: StreamOpened): void {
    if ("detail" in opened) this.#owner.onUpstreamFailed(this, opened);
    else this.#owner.onUpstreamDialled(this, opened);
  }

  #abort(end: ConnectionEnd): void {
    this.#task?.abort();
    this.#finish();
    this.#owner.onUpstreamDialAborted(this, end);
  }

  #finish(): void {
    this.#isDone = true;
    if (this.#task !== undefined) this.#context.reactor.remove(this.client);
  }
}

/** A fault of ours in a dialogue costs the connection that met it, not the worker and with it all others. */
function mistakeOf(route: UpstreamRoute, error: unknown): StreamFailure {
  const what = error instanceof Error ? error.stack ?? error.message : String(error);
  return {
    fd: -1,
    end: { reason: "error", side: "proxy" },
    atUpstream: true,
    detail: `${route.name}: ${what}`,
  };
}
