/**
 * What a sidecar can be told: the two directions of one pod's traffic, and its DNS.
 *
 * @module
 */
import type { Filter, PortRange } from "../net/mod.ts";
import type { Account } from "./selector_config.ts";

/** How connections to the pod are intercepted; `off`: not at all. */
export type InboundMode = "redirect" | "tproxy" | "off";

/** One pod: connections to it reach the inbound listener, those that its programs open the configuration's `port`. */
export interface SidecarConfig {
  /** How connections to the pod are intercepted. */
  readonly inbound: InboundMode;
  /** Port of the listener for them. */
  readonly inboundPort: number;
  /** Destination ports of the connections to the pod that are taken. */
  readonly inboundPorts: Filter<PortRange>;
  /** Destination ports that are taken outbound also where `select.destinations` does not include the address. */
  readonly outboundPorts: readonly PortRange[];
  /** Users as which the proxy runs: what they send is never taken outbound. */
  readonly proxyUids: readonly Account[];
  /** Groups as which the proxy runs. */
  readonly proxyGids: readonly Account[];
  /** Interfaces, by name or pattern, whose traffic is left alone in both directions. */
  readonly excludeInterfaces: readonly string[];
  /** Interfaces, by name or pattern, of virtual machines in the pod: what comes in by them is outbound traffic. */
  readonly virtualInterfaces: readonly string[];
  /** Queries to port 53, over UDP and TCP, that are answered from the configuration's `dns`; null: none. */
  readonly dns: SidecarDnsConfig | null;
  /** Whether packets that conntrack cannot place are dropped on their way in. */
  readonly dropInvalid: boolean;
}

/** Whose queries are taken. */
export interface SidecarDnsConfig {
  /** Port of the listeners for them. */
  readonly port: number;
  /** `all`: those to any address; `system`: to the name servers in {@linkcode RESOLV_CONF}; or to these addresses. */
  readonly servers: "all" | "system" | readonly string[];
}

/** Where the system's name servers are listed, resolv.conf(5). */
export const RESOLV_CONF = "/etc/resolv.conf";

/** The outbound listener's port of a sidecar when nothing else is said; these three as the field has them. */
export const SIDECAR_PORT = 15_001;
/** The inbound listener's. */
export const SIDECAR_INBOUND_PORT = 15_006;
/** The listeners' for DNS. */
export const SIDECAR_DNS_PORT = 15_053;

/**
 * What holds for a sidecar when nothing is said. No user or group is exempt as the proxy's: our sockets are known by
 * their marks, and a user that is exempt without being asked for would be a way past the proxy for every program of
 * the pod that can become that user.
 */
export const DEFAULT_SIDECAR: SidecarConfig = {
  inbound: "redirect",
  inboundPort: SIDECAR_INBOUND_PORT,
  inboundPorts: { include: [], exclude: [] },
  outboundPorts: [],
  proxyUids: [],
  proxyGids: [],
  excludeInterfaces: [],
  virtualInterfaces: [],
  dns: null,
  dropInvalid: false,
};
