/**
 * What workers are told about upstreams: names are resolved, secrets read. Plain data, posted to each worker.
 *
 * @module
 */
import type { Endpoint } from "../net/mod.ts";
import type { NamedHost } from "../flow/mod.ts";

/** Who we say we are to a server. */
export interface Credentials {
  readonly username: string;
  readonly password: string;
}

/** A server; by name only as a later hop of a chain, where the hop before resolves it. */
export type Server = Endpoint | NamedHost;

/** Options of sockets that leave from here. */
export interface DirectSettings {
  readonly kind: "direct";
  readonly name: string;
  /** undefined: as the listener has it. */
  readonly source: "own" | "keep" | undefined;
  readonly interface: string | undefined;
  readonly mark: number;
  readonly dscp: number | undefined;
}

/** A SOCKS5 server. */
export interface Socks5Settings {
  readonly kind: "socks5";
  readonly name: string;
  readonly server: Server;
  readonly credentials: Credentials | undefined;
  readonly pipeline: boolean;
  readonly udp: boolean;
  readonly timeoutMs: number;
}

/** An HTTP proxy. */
export interface HttpSettings {
  readonly kind: "http";
  readonly name: string;
  readonly server: Server;
  readonly credentials: Credentials | undefined;
  readonly timeoutMs: number;
}

/** A header in front. */
export interface ProxyProtocolSettings {
  readonly kind: "proxy-protocol";
  readonly name: string;
  readonly version: 1 | 2;
  /** undefined: the destination. */
  readonly server: Server | undefined;
  readonly timeoutMs: number;
}

/** Nowhere. */
export interface BlockSettings {
  readonly kind: "block";
  readonly name: string;
  readonly how: "reset" | "icmp" | "drop";
}

/** One through the other, by their indexes among all upstreams. */
export interface ChainSettings {
  readonly kind: "chain";
  readonly name: string;
  readonly hops: readonly number[];
}

/** How members of a group are looked after. */
export interface HealthCheckSettings {
  /** undefined: only the member's server is connected to. */
  readonly target: Server | undefined;
  readonly intervalMs: number;
  readonly timeoutMs: number;
}

/** Several, by their indexes among all upstreams. */
export interface GroupSettings {
  readonly kind: "failover" | "round-robin" | "least-latency";
  readonly name: string;
  readonly members: readonly number[];
  readonly check: HealthCheckSettings | undefined;
  /** Successes in a row that make a member usable again, failures in a row that make it unusable. */
  readonly rise: number;
  readonly fall: number;
  readonly liveFlows: "keep" | "reset";
  /** What all workers know of the members, see health.ts. */
  readonly health: SharedArrayBuffer;
}

/** One upstream or group. A route's number is its index in this list; groups come after all upstreams. */
export type UpstreamSettings =
  | DirectSettings
  | Socks5Settings
  | HttpSettings
  | ProxyProtocolSettings
  | BlockSettings
  | ChainSettings
  | GroupSettings;

/** A module that decides before the rules. */
export interface PolicyModuleSettings {
  /** To be imported; another one for another text in the same place. */
  readonly url: string;
  /** An answer that took longer is not used. */
  readonly budgetMs: number;
}

/** How flows leave, whole: what is exchanged when the configuration is read again. */
export interface RoutingSettings {
  /** Which list of names `upstreams` has, for the records of flows, see control/route_names.ts; 0 to 65535. */
  readonly generation: number;
  /** At most 255. */
  readonly upstreams: readonly UpstreamSettings[];
  /**
   * The compiled policy, see policy/; undefined: every flow leaves by `otherwise`. Each worker has its own copy, and
   * lets go of it when it gets another one.
   */
  readonly policy: ArrayBuffer | undefined;
  /** Index in `upstreams` for flows that no rule is about. */
  readonly otherwise: number;
  /** Absent: none. */
  readonly module?: PolicyModuleSettings;
}
