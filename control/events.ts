/**
 * Everything the control plane reports, as plain data. The log shows events; a program that embeds the proxy
 * receives the same ones.
 *
 * @module
 */
import type { LogLevel, SourceMode, TcpMode, UdpMode } from "../config/mod.ts";
import type { FlowEnd } from "../dataplane/flow_ring.ts";
import type { CounterName } from "../dataplane/stats.ts";
import type { Protocol } from "../net/mod.ts";

/** What one of a pod's listeners takes. */
export interface ReadyLeg {
  /** Connections to the pod, or from it. */
  readonly direction: "inbound" | "outbound";
  /** How they are intercepted. */
  readonly mode: "tproxy" | "redirect";
  /** On every address. */
  readonly port: number;
  /** Whether it answers name queries; UDP ones reach the same port. */
  readonly dns: boolean;
}

/** The fields of each event, by its name. */
export interface AppEvents {
  /** The first steps begin. */
  starting: { pid: number; workers: number };
  /** Everything is in place: from now on traffic is intercepted. */
  ready: {
    pid: number;
    /** Of TCP. */
    mode: TcpMode;
    udp: UdpMode;
    /** A pod's, one for each TCP listener; absent where it is no pod's. */
    legs?: readonly ReadyLeg[];
    source: SourceMode;
    /** Of TCP: every worker has the same ones. */
    listeners: readonly string[];
    /** Of all workers: each has its own. */
    udpListeners: readonly string[];
    workers: number;
    /** The rules in one line; what they intercept, or that they are not ours. */
    rules: string;
    maxConnections: number;
    maxSessions: number;
    /** From the start of the process. */
    startMs: number;
  };
  /** A flow has ended. Endpoints are `ip:port` or `[ip]:port`. */
  flow: {
    proto: Protocol;
    /** Of a pod: a connection to it, or from it; absent where it is no pod's. */
    direction?: "inbound" | "outbound";
    client: string;
    destination: string;
    /** Our socket towards the destination; absent when none was bound. */
    local?: string;
    /** Name of the upstream or the group that it left by; absent for DNS that we answer, and for connections to a pod. */
    upstream?: string;
    bytesUp: number;
    bytesDown: number;
    /** Of UDP alone. */
    datagramsUp?: number;
    datagramsDown?: number;
    durationMs: number;
    end: FlowEnd;
  };
  /** What is new passes us by; open connections and sessions are carried on. */
  draining: { openConnections: number; openSessions: number; timeoutMs: number };
  /** All is undone. */
  stopped: { upMs: number; forced: boolean; totals: Record<CounterName, number> };
  /** Something failed. After `ready` the proxy carries on as far as it can. */
  error: { code: string; message: string; hint?: string };
  /** Something the user should know. */
  warning: {
    code: string;
    message: string;
    hint?: string;
    worker?: number;
    /** Of what is tried again by itself. */
    retryMs?: number;
  };
  /** A worker ended by itself, and its connections with it. The others carry on. */
  "worker-died": {
    worker: number;
    message: string;
    code?: string;
    hint: string;
    /** When it is started again; absent while stopping. */
    restartMs?: number;
    /** The worker's, for whoever mends it. */
    stack?: string;
  };
  /**
   * A worker was given up because its policy module did not return, and its connections are reset. Its successor
   * decides by the rules alone. The thread itself cannot be ended, and keeps a processor busy as long as it loops.
   */
  "policy-stuck": { worker: number; message: string; hint: string; restartMs?: number };
  /** A worker that died, or was given up, is ready again. */
  "worker-restarted": { worker: number; downMs: number };
  /** A member of a group of upstreams does not work: new flows leave by the others. */
  "upstream-down": { group: string; member: string; reason: string; membersUp: number; members: number };
  /** It works again. */
  "upstream-up": { group: string; member: string; downMs: number; membersUp: number; members: number };
  /** Which tool manages the rules, and why that one. */
  "rules-chosen": { backend: string; reason: string };
  /** Somebody had changed our rules or routes, and they are put back. */
  "rules-healed": {
    /** What was not as it should be. */
    found: readonly string[];
    /** Whose changes have been seen, where the kernel tells; in a process namespace ours may be among them. */
    by?: string;
    /** Until then nothing is put back again. */
    quietMs: number;
  };
  /** What was resolved when the rules were made has changed, and other ones are in place. */
  "rules-replaced": { message: string };
  /** Another configuration is in force: for new flows, since live ones carry on as they began. */
  reloaded: {
    /** What has changed, for people; empty: nothing has. */
    changes: readonly string[];
    /** From the request on. */
    tookMs: number;
  };
  /** Another configuration is not taken, and everything is as it was. */
  "reload-failed": {
    /** Everything that is wrong with it, or what was in the way. */
    issues: readonly string[];
  };
  /** What was resolved when the policy was made has changed, and new flows leave by another one. */
  "routing-replaced": { message: string };
  /** Our rules are gone although we did not remove them, and could not be put back yet; or they cannot be read. */
  "rules-lost": { message: string; retryMs: number };
  /** Our rules are in place again, or seen to be. */
  "rules-restored": { downMs: number };
  /** The rules outlive us, as was asked. */
  "rules-left": { message: string; hint: string };
}

/** Name of an event. */
export type AppEventName = keyof AppEvents;
/** One event: its name and its fields in one object. */
export type AppEvent = {
  [Name in AppEventName]: { readonly event: Name } & Readonly<AppEvents[Name]>;
}[AppEventName];
/** Where events go. */
export type EventSink = (event: AppEvent) => void;

/** How severe an event of each name is. */
export const EVENT_LEVELS: Readonly<Record<AppEventName, LogLevel>> = {
  starting: "debug",
  ready: "info",
  flow: "info",
  draining: "info",
  stopped: "info",
  error: "error",
  warning: "warn",
  "worker-died": "error",
  "policy-stuck": "error",
  "worker-restarted": "info",
  "upstream-down": "warn",
  "upstream-up": "info",
  "rules-chosen": "info",
  "rules-healed": "warn",
  "rules-replaced": "info",
  reloaded: "info",
  "reload-failed": "error",
  "routing-replaced": "info",
  "rules-lost": "error",
  "rules-restored": "info",
  "rules-left": "warn",
};
