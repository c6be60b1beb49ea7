/**
 * What the control plane and a data-plane worker say to each other. Types only.
 *
 * A worker blocks in epoll_wait and never returns to its event loop. So the first message, `start`, is posted
 * to the worker itself and carries a `MessagePort`; every later one is posted to the other end of that port,
 * which the worker can read synchronously, and then the worker's doorbell is rung: one byte written to the pipe
 * whose write end the worker announced. Messages from a worker arrive as usual.
 *
 * The worker's life: `start` → `ready` | `failed`; `drain` → `drained`; `stop` → `stopped`, after which its
 * thread has returned and every descriptor it had is closed.
 *
 * @module
 */

/** How intercepted TCP connections reach the listener and leave again. */
export interface TcpConfig {
  readonly mode: "tproxy" | "redirect";
  /** Listening port on every address, both families. */
  readonly port: number;
  /** Source address towards the destination: this host's, or the client's own address and port. */
  readonly source: "own" | "keep";
  /** Most connections at once, over all workers. */
  readonly maxConnections: number;
  /** Most connections at once from one client address, over all workers; 0: no limit. */
  readonly maxConnectionsPerClient: number;
  readonly connectTimeoutMs: number;
  /** Ends a connection that has carried nothing for so long; 0: never. */
  readonly idleTimeoutMs: number;
  /** The same for a connection of which one direction is closed; 0: never. */
  readonly halfClosedTimeoutMs: number;
  /** First keepalive probe after so many idle seconds (TCP_KEEPIDLE); 0: no probes. */
  readonly keepaliveSeconds: number;
  /** Unacknowledged data may wait so long (TCP_USER_TIMEOUT); 0: the kernel's default. */
  readonly userTimeoutMs: number;
  /** Most pipes this worker may hold at once for spliced and stalled data. */
  readonly maxPipes: number;
}

/** Everything a worker needs to know. */
export interface WorkerConfig {
  /** 0 up to workers - 1; names the worker in messages. */
  readonly index: number;
  readonly workers: number;
  /** Mark (SO_MARK) on every socket towards a destination, so that the rules let it pass; 0: none. */
  readonly bypassMark: number;
  readonly tcp: TcpConfig;
  /** This worker's counters, see stats.ts. */
  readonly stats: SharedArrayBuffer;
  /** Connections open over all workers: one Int32 that all of them add to and subtract from. */
  readonly openConnections: SharedArrayBuffer;
  /** Connections by client, over all workers, see tcp/client_limit.ts; absent without a limit. */
  readonly clientTable: SharedArrayBuffer | undefined;
  /** Where finished flows are recorded, see flow_ring.ts; absent when nobody wants them. */
  readonly flowRing: SharedArrayBuffer | undefined;
}

/** To a worker. */
export type ToWorker =
  /** Posted to the worker, with `port` in the transfer list; the others go to the far end of `port`. */
  | { readonly kind: "start"; readonly config: WorkerConfig; readonly port: MessagePort }
  /** Accept no more; say `drained` when the last connection has ended. */
  | { readonly kind: "drain" }
  /** End at once: what is still open is reset. */
  | { readonly kind: "stop" };

/** Why a worker could not start, or died. */
export interface WorkerFailure {
  readonly message: string;
  /** The system call that failed and its error name, where one did: `bind`, `EADDRINUSE`. */
  readonly syscall?: string;
  readonly code?: string;
  readonly stack?: string;
}

/** From a worker. */
export type FromWorker =
  /** `doorbell` is the descriptor number of the pipe's write end, to be opened as /proc/self/fd/N. */
  | { readonly kind: "ready"; readonly doorbell: number; readonly listeners: readonly string[] }
  | { readonly kind: "failed"; readonly failure: WorkerFailure }
  /** A condition worth a line in the log; the worker sends one of a kind a second at most. */
  | { readonly kind: "warning"; readonly event: string; readonly message: string; readonly hint?: string }
  /** The flow ring's reader was asleep and there is a record now. */
  | { readonly kind: "records" }
  | { readonly kind: "drained" }
  | { readonly kind: "stopped" };
