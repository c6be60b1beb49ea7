/**
 * What is to be intercepted, as plain data: the user's wish after names have been resolved, lists read and
 * defaults filled in. build_plan.ts turns it into a plan, check_intent.ts judges it.
 *
 * @module
 */
import type { IpFamily } from "../net/address.ts";
import { type Filter, NO_FILTER } from "../net/filter.ts";
import type { IdRange } from "../net/id_range.ts";
import type { MarkMatch } from "../net/mark_match.ts";
import type { PortRange } from "../net/port_range.ts";

/** What the user asked for, and the numbers the kernel state is to carry. */
export interface InterceptIntent {
  /** How forwarded and own TCP is intercepted; `off`: not at all. A sidecar has its own word for inbound. */
  readonly tcp: "tproxy" | "redirect" | "off";
  /** How UDP is intercepted; `off`: not at all. */
  readonly udp: "tproxy" | "off";
  /** How many workers share the client endpoints: worker i receives datagrams on `port` + i. */
  readonly udpWorkers: number;
  /** Gateway: interfaces by which the traffic to be intercepted comes in. */
  readonly from: readonly string[];
  /** Host: whether this host's own traffic is intercepted too. */
  readonly local: boolean;
  /** One pod's traffic, in both directions; then `from` is empty and `local` is false. */
  readonly sidecar: SidecarIntent | null;
  /** Which of that traffic; everything where a filter is empty. */
  readonly select: Selectors;
  /** What of that traffic is left alone after all, in order; what none of them is about is taken. */
  readonly policy: readonly PolicyVerdict[];
  /** Our listener's port, on every address of both families; for UDP the first worker's; of a sidecar the outbound one. */
  readonly port: number;
  /** Source address towards the destination: this host's, or the client's own. */
  readonly source: "own" | "keep";
  /** While no proxy listens: `open` lets traffic flow as if we had never been there, `closed` drops it. */
  readonly onProxyDown: "open" | "closed";
  /** Packet and connection marks; only bits inside `mask`, and the two beside it, are read or written. */
  readonly marks: Marks;
  /** Routing table that delivers marked packets to this host, 1 to 2^32 - 1. */
  readonly routeTable: number;
  /** Labels our `ip` rules and routes as ours (`ip rule … protocol N`). */
  readonly routeProtocol: number;
  /** Place of our `ip` rules among the others; lower is earlier. */
  readonly rulePreference: number;
  /** Name of the nft table, and beginning of the names of iptables chains and of ipsets. */
  readonly tableName: string;
  /** With source keep: the other interfaces by which a destination's answers may come in. */
  readonly otherInterfaces: readonly string[];
}

/**
 * Which traffic is intercepted. Asked of a flow's first packet only. A flow is taken when no `exclude` names it and
 * every filter that has an `include` names it there.
 */
export interface Selectors {
  /** Destination prefixes, canonical text (`192.0.2.0/24`, `2001:db8::/32`), families mixed. */
  readonly destinations: Filter<string>;
  /** Source prefixes. */
  readonly sources: Filter<string>;
  /** Destination ports of TCP connections, merged. */
  readonly tcpPorts: Filter<PortRange>;
  /** Destination ports of datagrams, merged. */
  readonly udpPorts: Filter<PortRange>;
  /** Interfaces by which this host's own traffic leaves; a forwarded packet's is not known yet. */
  readonly outgoing: Filter<string>;
  /** Ethernet source addresses of forwarded traffic, `02:00:5e:10:00:01`. */
  readonly macs: Filter<string>;
  /** Users that own the sending socket; own traffic only. */
  readonly uids: Filter<IdRange>;
  /** Groups that own the sending socket; own traffic only. */
  readonly gids: Filter<IdRange>;
  /** Paths of cgroups (v2) below the mount point, without a leading slash: that cgroup and those in it. */
  readonly cgroups: Filter<string>;
  /** Packet marks that other programs have set. */
  readonly marks: Filter<MarkMatch>;
}

/**
 * One rule of a policy, as far as the kernel can ask it. It is about first packets that every filter names; null names
 * all. Filters that ask what cannot be known of a packet (the interface by which this host's own came in, the user of
 * a forwarded one) do not name it.
 */
export interface PolicyVerdict {
  /** Unique among them: beginning of the names of its rules. */
  readonly id: string;
  /** Whether these packets pass by us, or are taken whatever comes later. */
  readonly verdict: "pass" | "take";
  /** Null: both. */
  readonly network: "tcp" | "udp" | null;
  /** Prefixes, canonical text, families mixed, merged. */
  readonly destinations: readonly string[] | null;
  /** The same. */
  readonly sources: readonly string[] | null;
  /** Merged. */
  readonly destinationPorts: readonly PortRange[] | null;
  /** The same. */
  readonly sourcePorts: readonly PortRange[] | null;
  /** Interfaces by which they come in. */
  readonly incoming: readonly string[] | null;
  /** Users that own the sending socket. */
  readonly uids: readonly IdRange[] | null;
  /** Printed by the kernel's listing, so short. */
  readonly why: string;
}

/** Selectors that leave nothing out. */
export const EVERYTHING: Selectors = {
  destinations: NO_FILTER,
  sources: NO_FILTER,
  tcpPorts: NO_FILTER,
  udpPorts: NO_FILTER,
  outgoing: NO_FILTER,
  macs: NO_FILTER,
  uids: NO_FILTER,
  gids: NO_FILTER,
  cgroups: NO_FILTER,
  marks: NO_FILTER,
};

/**
 * One pod: connections to it reach the inbound listener, those that its programs open the outbound one (the
 * intent's `port`, by NAT). The intent's `select` is about outbound traffic.
 */
export interface SidecarIntent {
  /** How connections to the pod are intercepted; `off`: not at all. */
  readonly inbound: "redirect" | "tproxy" | "off";
  /** Port of the listener for them. */
  readonly inboundPort: number;
  /** Destination ports of the connections to the pod that are taken; all where `include` is empty. */
  readonly inboundPorts: Filter<PortRange>;
  /** Destination ports that are taken outbound, whatever `select.destinations` includes. */
  readonly outboundPorts: readonly PortRange[];
  /** Users as which the proxy runs: what they send is never taken outbound. */
  readonly proxyUids: readonly IdRange[];
  /** Groups as which the proxy runs. */
  readonly proxyGids: readonly IdRange[];
  /** Interfaces, both ways, whose traffic is left alone. */
  readonly excludeInterfaces: readonly string[];
  /** Interfaces of virtual machines in the pod: what comes in by them is outbound traffic. */
  readonly virtualInterfaces: readonly string[];
  /** Queries to port 53, over UDP and TCP, go to this port of ours instead; null: they are left alone. */
  readonly dns: SidecarDns | null;
  /** Whether packets that conntrack cannot place are dropped on their way in. */
  readonly dropInvalid: boolean;
}

/** DNS of a pod. */
export interface SidecarDns {
  /** Of our listener, for UDP and TCP. */
  readonly port: number;
  /** Resolvers whose queries are taken; empty: those to every address. */
  readonly servers: readonly string[];
}

/**
 * From these addresses the inbound listener's connections to the pod's own programs come, where the proxy may not
 * mark its sockets. As the field's sidecars do it: 127.0.0.6, and ::6 on lo.
 */
export const PASSTHROUGH_SOURCE: Readonly<Record<IpFamily, string>> = { 4: "127.0.0.6", 6: "::6" };

/** Three values under one mask, and two bits beside it. */
export interface Marks {
  /** To be routed to our listener. */
  readonly intercept: number;
  /** Sent by our own sockets (SO_MARK): to be left alone. */
  readonly bypass: number;
  /**
   * Sent by our sockets in a remote's name, or for a pod's own program: left alone where `bypass` is. Datagrams are
   * not tracked; a sidecar's connections that lead back to the pod are taken inbound.
   */
  readonly reply: number;
  /** The bits of those three. */
  readonly mask: number;
  /** One bit more, set beside `intercept` on a datagram that no router would fragment on its way. */
  readonly dontFragment: number;
  /**
   * One bit more, set beside `intercept` on what this host itself sends. So the routing rule for lo matches no
   * forwarded packet: under src_valid_mark=1 the kernel asks the rules for lo when it checks a packet's source.
   */
  readonly fromHere: number;
}

/**
 * Numbers clear of Tailscale (0xff0000), kube-proxy (0xc000) and the tables and protocols distributions name.
 *
 * Preference 90: any rule before ours that matches takes our marked packets out by an interface, where they are
 * lost. So ours comes after `local` (0) alone, before VRF (1000), multi-WAN and VPNs (Tailscale: 5210 and on); it
 * asks for our mark, so that no packet of theirs is kept from them.
 */
export const DEFAULT_KERNEL_NUMBERS: Pick<
  InterceptIntent,
  "marks" | "routeTable" | "routeProtocol" | "rulePreference" | "tableName"
> = {
  marks: {
    intercept: 0x01000000,
    bypass: 0x02000000,
    reply: 0x03000000,
    mask: 0x03000000,
    dontFragment: 0x04000000,
    fromHere: 0x10000000,
  },
  routeTable: 7873,
  routeProtocol: 173,
  rulePreference: 90,
  tableName: "pellucid",
};
