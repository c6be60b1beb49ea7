/**
 * What the control plane and a data-plane worker say to each other. Types only.
 *
 * A worker blocks in epoll_wait and never returns to its event loop. So the first message, `start`, is posted
 * to the worker itself and carries a `MessagePort`; every later one is posted to the other end of that port,
 * which the worker can read synchronously, and then the worker's doorbell is rung: one byte written to the pipe
 * whose write end the worker announced. Messages from a worker arrive as usual.
 *
 * A worker that was posted `try-policy` instead of `start` only tries whether a module can be used.
 *
 * The worker's life: `start` → `ready` | `failed`; `routing` → `routed`, any number of times; `drain` → `drained`; `stop` → `stopped`. After `stopped` and
 * after `failed` every descriptor it had is closed, but for the doorbell's write end.
 *
 * @module
 */
import type { DnsListenerSettings } from "../dns/settings.ts";
import type { Endpoint } from "../net/mod.ts";
import type { TcpSettings } from "../tcp/settings.ts";
import type { UdpSettings } from "../udp/settings.ts";
import type { MemberChange } from "../upstream/health_state.ts";
import type { PolicyModuleSettings, RoutingSettings } from "../upstream/settings.ts";
import type { LifeMemory } from "./life_memory.ts";
export type { PolicyModuleSettings };
export type { DnsListenerSettings, MemberChange, RoutingSettings, TcpSettings, UdpSettings };

/** Everything a worker needs to know. */
export interface WorkerConfig {
  /** Which of the workers it is, from 0, and how many there are. */
  readonly index: number;
  readonly workers: number;
  /** One for each TCP listener, which share all limits; none: no connection is to be accepted. */
  readonly tcp: readonly TcpSettings[];
  /** Most pipes it may hold at once for spliced and stalled data. */
  readonly maxPipes: number;
  /** Absent: no datagram is to be received. */
  readonly udp: UdpSettings | undefined;
  /** Absent: no query comes redirected to a port of ours. */
  readonly dns: DnsListenerSettings | undefined;
  /** Resolvers that port-53 traffic is answered from, in the order of preference; none: it goes where it was going. */
  readonly resolvers: readonly Endpoint[];
  /** Which way new flows leave. */
  readonly routing: RoutingSettings;
  /** This worker's counters, see stats.ts. */
  readonly stats: SharedArrayBuffer;
  /** Connections open over all workers: one Int32 that all of them add to and subtract from. */
  readonly openConnections: SharedArrayBuffer;
  /** Connections by client, over all workers, see flow/client_limit.ts; absent without a limit. */
  readonly clientTable: SharedArrayBuffer | undefined;
  /** The same for UDP sessions. */
  readonly udpClientTable: SharedArrayBuffer | undefined;
  /** 32 random bits, the same for all workers, by which clients are told apart: see flow/client_key.ts. */
  readonly clientSeed: number;
  /** Where finished flows are recorded, see flow_ring.ts; absent when nobody wants them. */
  readonly flowRing: SharedArrayBuffer | undefined;
  /** What this life has, noted for whoever comes after it; absent without a policy module. */
  readonly life?: LifeMemory;
  /** What a life before it had that was given up, to be given back first of all. */
  readonly leftBehind?: LifeMemory;
}

/** The addresses that a worker listens on, as text; those of UDP are also the ones of redirected queries. */
export interface Listeners {
  readonly tcp: readonly string[];
  readonly udp: readonly string[];
}

/** To a worker. */
export type ToWorker =
  /** Posted to the worker, with `port` in the transfer list; the others go to the far end of `port`. */
  | { readonly kind: "start"; readonly config: WorkerConfig; readonly port: MessagePort }
  /** Posted to the worker: imports a policy module and says whether it can be used. */
  | { readonly kind: "try-policy"; readonly url: string }
  /** Take on nothing new; say `drained` when the last connection and the last session have ended. */
  | { readonly kind: "drain" }
  /** From now on new flows leave in other ways; those that there are keep theirs. */
  | { readonly kind: "routing"; readonly routing: RoutingSettings }
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
  | { readonly kind: "ready"; readonly doorbell: number; readonly listeners: Listeners }
  | { readonly kind: "failed"; readonly failure: WorkerFailure }
  /** A condition worth a line in the log; the worker sends one of a kind a second at most. */
  | { readonly kind: "warning"; readonly event: string; readonly message: string; readonly hint?: string }
  /** A member of a group of upstreams went down or is back; of all workers one says so. */
  | { readonly kind: "member"; readonly change: MemberChange }
  /** New flows leave as the last `routing` says; one for each of those. */
  | { readonly kind: "routed" }
  /** The flow ring's reader was asleep and there is a record now. */
  | { readonly kind: "records" }
  /** The policy module that was to be tried cannot be used, which `fault` says why; undefined: it can. */
  | { readonly kind: "tried"; readonly fault: string | undefined }
  | { readonly kind: "drained" }
  | { readonly kind: "stopped" };
