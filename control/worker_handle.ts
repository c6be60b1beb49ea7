/**
 * One life of one data-plane worker: from its start to its end, whichever way that comes.
 *
 * Knows how to talk to a worker that blocks in the kernel; knows nothing of what the worker is for. The
 * supervisor decides what follows from an end.
 *
 * @module
 */
import type {
  FromWorker,
  Listeners,
  MemberChange,
  ToWorker,
  WorkerConfig,
  WorkerFailure,
} from "../dataplane/protocol.ts";

/** What a worker's life brings, in order: `ready` at most once, `ended` exactly once. */
export interface WorkerObserver {
  ready(listeners: Listeners): void;
  warning(warning: Extract<FromWorker, { kind: "warning" }>): void;
  member(change: MemberChange): void;
  records(): void;
  /** One of the routings that were sent is in force. */
  routed(): void;
  drained(): void;
  /** `failure` is undefined when the worker was told to stop and did. */
  ended(failure: WorkerFailure | undefined): void;
}

/** Until a doorbell that could not be opened is tried again. */
const DOORBELL_RETRY_MS = 250;

/** A running worker. */
export class WorkerHandle {
  readonly #worker: Worker;
  readonly #observer: WorkerObserver;
  /** Our end of the port that carries everything after `start`. */
  readonly #port: MessagePort;
  #doorbell: Deno.FsFile | undefined;
  #ended = false;

  /** Starts the worker at `url`. */
  constructor(url: URL, config: WorkerConfig, observer: WorkerObserver) {
    this.#observer = observer;
    this.#worker = new Worker(url, { type: "module", name: `pellucid-worker-${config.index}` });
    this.#worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.#receive(data);
    this.#worker.onerror = (event) => {
      // Unhandled, it would be an error of the main thread, and end all the other workers too.
      event.preventDefault();
      this.#end({ message: event.message });
    };
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    const start: ToWorker = { kind: "start", config, port: port2 };
    this.#worker.postMessage(start, [port2]);
  }

  /** Sends a message and wakes the worker for it; an ended worker hears nothing. */
  send(message: Exclude<ToWorker, { kind: "start" }>): void {
    if (this.#ended) return;
    this.#port.postMessage(message);
    this.#ring();
  }

  /** Gives the worker up: it is told nothing more, and nothing is heard of it. */
  abandon(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#release();
  }

  #receive(message: FromWorker): void {
    if (this.#ended) return;
    switch (message.kind) {
      case "ready":
        return this.#becomeReady(message.doorbell, message.listeners);
      case "warning":
        return this.#observer.warning(message);
      case "member":
        return this.#observer.member(message.change);
      case "records":
        return this.#observer.records();
      case "routed":
        return this.#observer.routed();
      case "drained":
        return this.#observer.drained();
      case "failed":
        return this.#end(message.failure);
      case "stopped":
        return this.#end(undefined);
    }
  }

  #becomeReady(descriptor: number, listeners: Listeners): void {
    if (this.#ended) return;
    try {
      // The descriptor is this same process's: /proc opens the pipe behind it a second time.
      this.#doorbell = Deno.openSync(`/proc/self/fd/${descriptor}`, { write: true });
    } catch {
      // No descriptor is free. The worker lives, accepts, and could not be told to stop: there is nothing to do but
      // to try again. If it takes too long, the supervisor's time for a start runs out.
      setTimeout(() => this.#becomeReady(descriptor, listeners), DOORBELL_RETRY_MS);
      return;
    }
    // For what was sent before there was a doorbell.
    this.#ring();
    this.#observer.ready(listeners);
  }

  #ring(): void {
    try {
      this.#doorbell?.writeSync(new Uint8Array(1));
    } catch {
      // The pipe is full: the worker has not yet heard earlier rings and will hear them. Or its read end is
      // closed: the worker is ending, and says so itself.
    }
  }

  #end(failure: WorkerFailure | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#release();
    this.#observer.ended(failure);
  }

  #release(): void {
    this.#doorbell?.close();
    this.#doorbell = undefined;
    this.#port.close();
    this.#worker.terminate();
  }
}
