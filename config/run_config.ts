/**
 * Everything `run` can be told, and what holds when it is told nothing.
 *
 * @module
 */

import type { Endpoint } from "../net/mod.ts";
import { DIRECT_POLICY, type PolicyConfig } from "./policy_config.ts";
import { SELECT_ALL, type SelectorConfig } from "./selector_config.ts";
import { DEFAULT_SIDECAR, SIDECAR_PORT, type SidecarConfig } from "./sidecar_config.ts";
import { BUILT_IN_UPSTREAMS, type GroupConfig, type UpstreamConfig } from "./upstream_config.ts";

/** How TCP connections are intercepted; `off`: not at all. */
export type TcpMode = "tproxy" | "redirect" | "off";
/** How UDP datagrams are intercepted; `off`: not at all. */
export type UdpMode = "tproxy" | "off";
/**
 * Whose datagrams reach a UDP client (RFC 4787, section 5): anyone's, those of addresses that it has written to, or
 * those of endpoints that it has written to.
 */
export type UdpFilter = "endpoint" | "address" | "address-port";
/** Source address towards the destination: this host's, or the client's own. */
export type SourceMode = "own" | "keep";
/** Who puts the rules in place: we do, with the tool that suits the host or the one that is named, or somebody else. */
export type RulesMode = "auto" | "nft" | "iptables" | "iptables-legacy" | "none";
/** While no proxy listens: traffic flows as if we had never been there, or is dropped. */
export type DownPolicy = "open" | "closed";
/** How log lines look. */
export type LogFormat = "text" | "json";
/** The least severe log line that is shown. */
export type LogLevel = "debug" | "info" | "warn" | "error";

/** What to intercept, how to carry it, and what to say about it. */
export interface RunConfig {
  /** How TCP connections are intercepted. */
  readonly tcp: TcpMode;
  /** How UDP datagrams are intercepted. */
  readonly udp: UdpMode;
  /** Interfaces whose forwarded traffic is intercepted, by name or by pattern (`br-*`). `*` never means `lo`. */
  readonly from: readonly string[];
  /** Interfaces, by name or pattern, that a pattern of `from` does not mean. */
  readonly excludeFrom: readonly string[];
  /** Whether this host's own traffic is intercepted. */
  readonly local: boolean;
  /** One pod's traffic, both ways, instead of `from` and `local`; null: none. See {@linkcode sidecarRunConfig}. */
  readonly sidecar: SidecarConfig | null;
  /** Which of that traffic; of a sidecar which outbound. */
  readonly select: SelectorConfig;
  /** Port of the listeners, on every address; of a sidecar the outbound one. UDP worker `i` has `port + i`. */
  readonly port: number;
  /** Data-plane threads. */
  readonly workers: number;
  /** Source address towards the destination. */
  readonly source: SourceMode;
  /** Who puts the rules in place. */
  readonly rules: RulesMode;
  /** What becomes of the traffic while no proxy listens. */
  readonly onProxyDown: DownPolicy;
  /** Most connections at once; undefined: {@linkcode MAX_CONNECTIONS_UNASKED}, or fewer where descriptors are short. */
  readonly maxConnections: number | undefined;
  /** Most connections at once from one client address (IPv6: one /64); 0: no limit. */
  readonly maxConnectionsPerClient: number;
  /** Most UDP sessions at once; undefined: {@linkcode MAX_SESSIONS_UNASKED}, or fewer where descriptors are short. */
  readonly maxSessions: number | undefined;
  /** Most UDP sessions at once of such a client; 0: no limit; undefined: a quarter of all, at least 256. */
  readonly maxSessionsPerClient: number | undefined;
  /** A connection that the destination has not answered by then is given up. */
  readonly connectTimeoutMs: number;
  /** Ends a connection that has carried nothing for so long; 0: never. */
  readonly idleTimeoutMs: number;
  /** The same for a connection of which one direction is closed; 0: never. */
  readonly halfClosedTimeoutMs: number;
  /** First keepalive probe after so much silence; 0: no probes. */
  readonly keepaliveMs: number;
  /** How long data may stay unacknowledged (TCP_USER_TIMEOUT); 0: as the kernel has it. */
  readonly userTimeoutMs: number;
  /** Whose datagrams reach a UDP client. */
  readonly udpFilter: UdpFilter;
  /** Ends a UDP session whose client has sent nothing for so long. */
  readonly udpTimeoutMs: number;
  /** Whether datagrams to the client keep its session alive too. */
  readonly udpRefreshInbound: boolean;
  /** Resolvers that intercepted DNS is answered from, in the order of preference; none: DNS goes where it was going. */
  readonly dns: readonly Endpoint[];
  /** Ways for flows to leave; `direct` and `block` are always among them. */
  readonly upstreams: readonly UpstreamConfig[];
  /** Several of those by one name. */
  readonly groups: readonly GroupConfig[];
  /** Which flow leaves by which. */
  readonly policy: PolicyConfig;
  /** How long open connections are carried on after a signal to stop. */
  readonly drainTimeoutMs: number;
  /** How log lines look. */
  readonly log: LogFormat;
  /** The least severe line shown. */
  readonly logLevel: LogLevel;
  /** Whether each finished flow is reported. */
  readonly flows: boolean;
}

/** Where flows go. */
export type RoutingConfig = Pick<RunConfig, "upstreams" | "groups" | "policy">;

/** The limit on connections when none was asked for. */
export const MAX_CONNECTIONS_UNASKED = 65_536;
/** The limit on UDP sessions when none was asked for. */
export const MAX_SESSIONS_UNASKED = 65_536;

/** More workers than this have to be asked for: a few threads carry what a network card can bring. */
const WORKERS_UNASKED = 4;

/** What holds when nothing is said. A call, because the number of workers depends on the machine. */
export function defaultRunConfig(): RunConfig {
  return {
    tcp: "tproxy",
    udp: "tproxy",
    from: [],
    excludeFrom: [],
    local: false,
    sidecar: null,
    select: SELECT_ALL,
    port: 7870,
    workers: Math.min(WORKERS_UNASKED, navigator.hardwareConcurrency),
    source: "own",
    rules: "auto",
    onProxyDown: "open",
    maxConnections: undefined,
    maxConnectionsPerClient: 0,
    maxSessions: undefined,
    maxSessionsPerClient: undefined,
    // Shorter than the two minutes after which Linux gives up a SYN, longer than four of its retransmissions.
    connectTimeoutMs: 30_000,
    // RFC 5382, REQ-5: an established connection may be silent for 2 hours and 4 minutes.
    idleTimeoutMs: 7_440_000,
    // RFC 5382, REQ-5: a partially open or closing one for 4 minutes.
    halfClosedTimeoutMs: 240_000,
    keepaliveMs: 120_000,
    // TCP_USER_TIMEOUT also ends a connection whose reader has merely stopped reading for so long (the kernel
    // counts a window of zero), which a relay must allow; so it is off unless asked for.
    userTimeoutMs: 0,
    udpFilter: "endpoint",
    // RFC 4787, REQ-5: five minutes, and never less than two.
    udpTimeoutMs: 300_000,
    udpRefreshInbound: false,
    dns: [],
    upstreams: BUILT_IN_UPSTREAMS,
    groups: [],
    policy: DIRECT_POLICY,
    drainTimeoutMs: 30_000,
    log: "text",
    logLevel: "info",
    flows: false,
  };
}

/**
 * The same for a sidecar: outbound by NAT, whose listener needs no routes in the pod; of UDP only DNS, if asked for;
 * and the ports that the field's sidecars have.
 */
export function sidecarRunConfig(): RunConfig {
  return { ...defaultRunConfig(), tcp: "redirect", udp: "off", sidecar: DEFAULT_SIDECAR, port: SIDECAR_PORT };
}

/** Whether anything to intercept is named; with `rules: "none"` nothing need be. */
export function namesTraffic({ from, local, sidecar }: RunConfig): boolean {
  return from.length > 0 || local || sidecar !== null;
}
