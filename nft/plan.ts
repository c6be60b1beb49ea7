/**
 * The plan: what has to be in the kernel so that traffic reaches our listener, as plain data.
 *
 * A plan survives JSON unchanged and holds no tool's syntax. Verdicts are terminal, so a renderer may expand a
 * rule into several of its tool's rules but never has to reorder them. A rule says why it is there, because the
 * reason travels with it into the kernel's own listing. New selectors, verdicts and backends are new members of
 * the unions here; nothing in this file knows nft, iptables or `ip`.
 *
 * build_plan.ts makes plans, check_plan.ts judges them, render_*.ts turn them into text.
 *
 * @module
 */
import type { IpFamily } from "../net/address.ts";
import type { PortRange } from "../net/port_range.ts";

/** What the user asked for, and the numbers the kernel state is to carry. */
export interface InterceptIntent {
  /** How TCP is intercepted; `off`: not at all. */
  readonly tcp: "tproxy" | "redirect" | "off";
  /** How UDP is intercepted; `off`: not at all. */
  readonly udp: "tproxy" | "off";
  /** Destination ports of the datagrams to be intercepted; none: all. */
  readonly udpPorts: readonly PortRange[];
  /** How many workers share the client endpoints: worker i receives datagrams on `port` + i. */
  readonly udpWorkers: number;
  /** Interfaces by which the traffic to be intercepted comes in. */
  readonly from: readonly string[];
  /** Whether this host's own traffic is intercepted too. */
  readonly local: boolean;
  /** Our listener's port, on every address of both families; for UDP the first worker's. */
  readonly port: number;
  /** Source address towards the destination: this host's, or the client's own. */
  readonly source: "own" | "keep";
  /** Packet and connection marks; only bits inside `mask` are read or written. */
  readonly marks: Marks;
  /** Routing table that delivers marked packets to this host, 1 to 2^32 - 1. */
  readonly routeTable: number;
  /** Labels our `ip` rules and routes as ours (`ip rule … protocol N`). */
  readonly routeProtocol: number;
  /** Place of our `ip` rules among the others; lower is earlier. */
  readonly rulePreference: number;
  /** Name of the nft table. */
  readonly tableName: string;
  /** With source keep: the other interfaces by which a destination's answers may come in. */
  readonly otherInterfaces: readonly string[];
}

/** Three values under one mask, and one bit beside it. */
export interface Marks {
  /** To be routed to our listener. */
  readonly intercept: number;
  /** Sent by our own sockets (SO_MARK): to be left alone. */
  readonly bypass: number;
  /** Sent by our sockets that answer UDP clients in a remote's name: to be left alone and not to be tracked. */
  readonly reply: number;
  /** The bits of those three. */
  readonly mask: number;
  /** One bit more, set beside `intercept` on a datagram that no router would fragment on its way. */
  readonly dontFragment: number;
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
  },
  routeTable: 7873,
  routeProtocol: 173,
  rulePreference: 90,
  tableName: "pellucid",
};

/** Everything the kernel is to be told. */
export interface Plan {
  /** What the plan was made for. */
  readonly intent: InterceptIntent;
  /** Rules on packets. */
  readonly chains: readonly Chain[];
  /** Rules that choose a routing table. */
  readonly ipRules: readonly IpRule[];
  /** What that table holds. */
  readonly routes: readonly LocalRoute[];
}

/** `intercept` takes new flows; `drain` only carries what was taken before. */
export type Phase = "intercept" | "drain";

/** A list of rules. */
export type Chain = BaseChain | InnerChain;

/** Rules at one place of the packet's way; a packet that no rule decides goes on untouched. */
export interface BaseChain extends ChainRules {
  /** nft's chain type: what the chain may do to a packet. */
  readonly type: "filter" | "route" | "nat";
  /** Where on the packet's way. */
  readonly hook: "prerouting" | "output";
  /** When, among the chains of one hook. */
  readonly priority: "raw" | "mangle" | "dstnat";
  /** Only packets coming in by one of these are looked at; `any` at hooks without an incoming interface. */
  readonly interfaces: "any" | readonly string[];
}

/** Rules that only packets sent here by `goto` and `spread` meet; undecided, a packet goes on untouched. */
export interface InnerChain extends ChainRules {
  /** At none. */
  readonly hook: "none";
}

/** What every chain has. */
export interface ChainRules {
  /** Unique in its table. */
  readonly name: string;
  /** Why the chain exists. */
  readonly why: string;
  /** In order; the first whose matches all hold decides. */
  readonly rules: readonly Rule[];
}

/** All `matches` must hold; then `verdict` is final for the chain. */
export interface Rule {
  /** Unique in its chain. */
  readonly id: string;
  /** `always` rules stay while draining. */
  readonly during: "intercept" | "always";
  /** All must hold; none: every packet. */
  readonly matches: readonly Match[];
  /** What then happens. */
  readonly verdict: Verdict;
  /** Why the rule exists: printed by the kernel's listing, so short. */
  readonly why: string;
}

/** One condition on a packet. */
export type Match =
  | { readonly kind: "family"; readonly family: IpFamily }
  /** `icmp` stands for ICMP and ICMPv6. */
  | { readonly kind: "protocol"; readonly protocol: "tcp" | "udp" | "tcpOrUdp" | "icmp" }
  /** TCP with SYN and none of FIN, RST, ACK: the first packet of a connection. */
  | { readonly kind: "tcpFirst" }
  | { readonly kind: "udpPorts"; readonly ports: readonly PortRange[] }
  /** In an IPv4 packet with the don't-fragment bit. */
  | { readonly kind: "dontFragment" }
  /** Destination is this host, broadcast, multicast or anycast. */
  | { readonly kind: "destinationHere" }
  | { readonly kind: "destinationIn"; readonly family: IpFamily; readonly prefix: string }
  | { readonly kind: "incoming"; readonly interface: string }
  | { readonly kind: "outgoing"; readonly interface: string }
  | {
    readonly kind: "mark";
    readonly of: "packet" | "flow" | "socket";
    readonly value: number;
    readonly negate: boolean;
  }
  /** The packet's mark has bits that are not ours. */
  | { readonly kind: "foreignMark" }
  /** The local socket the packet, or the packet an ICMP error is about, belongs to; no socket, no match. */
  | { readonly kind: "socket"; readonly property: "transparent" | "wildcard" }
  /** The packet goes in the direction of its connection's first packet; untracked packets do not match. */
  | { readonly kind: "flowOriginal" }
  /** An earlier packet of its flow has got through; untracked packets do not match. */
  | { readonly kind: "flowSeen" }
  /** Of a flow that nobody has answered and no tracked flow led to; untracked packets do not match. */
  | { readonly kind: "flowNew" };

/** What happens to a packet that matched. */
export type Verdict =
  /** Leave it alone. */
  | { readonly kind: "pass" }
  /** Hand it to the listener without rewriting it, and mark it; with no listener the packet goes on unmarked. */
  | { readonly kind: "tproxy"; readonly port: number }
  /** The same for a datagram, whose flow is remembered; for one of `whole`'s family the mark says `dontFragment`. */
  | { readonly kind: "tproxyDatagram"; readonly port: number; readonly whole: IpFamily | null }
  /** Rewrite its destination to this host's `port`. */
  | { readonly kind: "redirect"; readonly port: number }
  /** Mark the packet for local delivery; `remember`: the whole flow. */
  | { readonly kind: "intercept"; readonly remember: boolean }
  /** Track its connection apart from others with the same five-tuple. */
  | { readonly kind: "zone"; readonly zone: number }
  /** Keep it, and what it would begin or answer, from connection tracking and NAT. */
  | { readonly kind: "untrack" }
  /** The rules of another chain decide. */
  | { readonly kind: "goto"; readonly chain: string }
  /** The rules of one of these chains decide: always the same one for a source address and UDP source port. */
  | { readonly kind: "spread"; readonly family: IpFamily; readonly chains: readonly string[] };

/** Packets that carry the intercept mark and came in by `incoming` are routed by `table`. */
export interface IpRule {
  /** IP version. */
  readonly family: IpFamily;
  /** Interface; `lo` also stands for what this host sends itself. */
  readonly incoming: string;
  /** Packet mark under `mask`. */
  readonly mark: number;
  /** The bits of the mark that count. */
  readonly mask: number;
  /** Routing table to look up. */
  readonly table: number;
  /** Place among all rules. */
  readonly preference: number;
  /** Label by which it is ours. */
  readonly protocol: number;
}

/** `local default dev lo`: every destination is this host. */
export interface LocalRoute {
  /** IP version. */
  readonly family: IpFamily;
  /** Routing table it stands in. */
  readonly table: number;
  /** Label by which it is ours. */
  readonly protocol: number;
}
