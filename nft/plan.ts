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
import type { IdRange } from "../net/id_range.ts";
import type { MarkMatch } from "../net/mark_match.ts";
import type { PortRange } from "../net/port_range.ts";
import type { InterceptIntent } from "./intent.ts";

/** Everything the kernel is to be told. */
export interface Plan {
  /** What the plan was made for. */
  readonly intent: InterceptIntent;
  /** Rules on packets. A chain sends packets only to chains that come after it. */
  readonly chains: readonly Chain[];
  /** Addresses that rules ask for by name. */
  readonly sets: readonly AddressSet[];
  /** Rules that choose a routing table. */
  readonly ipRules: readonly IpRule[];
  /** What that table holds. */
  readonly routes: readonly LocalRoute[];
  /** Settings of the kernel without which the rules would not work. */
  readonly sysctls: readonly Sysctl[];
}

/** A setting of this network namespace; what it was before is put back with the rules. */
export interface Sysctl {
  /** Below /proc/sys, with slashes: `net/ipv4/tcp_fwmark_accept`. */
  readonly key: string;
  /** As it is written there. */
  readonly value: string;
  /** Why the rules need it. */
  readonly why: string;
}

/** Prefixes under a name that changes with them, so that a set is never changed, only replaced. */
export interface AddressSet {
  /** `WHAT_FAMILY_HASH`, at most 22 bytes: `dst_out_4_1f0c77a25e9b`. */
  readonly name: string;
  /** IP version of all of them. */
  readonly family: IpFamily;
  /** Canonical, disjoint, none adjacent that could be one, ascending; at least one. */
  readonly prefixes: readonly string[];
  /** Why the set exists. */
  readonly why: string;
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
  readonly hook: "prerouting" | "input" | "output";
  /** When, among the chains of one hook: raw before conntrack, mangle, dstnat, then filter. */
  readonly priority: "raw" | "mangle" | "dstnat" | "filter";
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

/** One condition on a packet. There is no negation: what is left over is decided by the rules that follow. */
export type Match =
  | { readonly kind: "family"; readonly family: IpFamily }
  /** `icmp` stands for ICMP and ICMPv6. */
  | { readonly kind: "protocol"; readonly protocol: "tcp" | "udp" | "tcpOrUdp" | "icmp" }
  /** TCP with SYN and none of FIN, RST, ACK: the first packet of a connection. */
  | { readonly kind: "tcpFirst" }
  /** Of that protocol, to (or from) one of these ports; `ports` is not empty. */
  | {
    readonly kind: "ports";
    readonly protocol: "tcp" | "udp";
    readonly side: "destination" | "source";
    readonly ports: readonly PortRange[];
  }
  /** In an IPv4 packet with the don't-fragment bit. */
  | { readonly kind: "dontFragment" }
  /** Destination is this host, broadcast, multicast or anycast. */
  | { readonly kind: "destinationHere" }
  | {
    readonly kind: "address";
    readonly side: "destination" | "source";
    readonly family: IpFamily;
    readonly prefix: string;
  }
  /** In the plan's set of that name. */
  | { readonly kind: "addressSet"; readonly side: "destination" | "source"; readonly set: string }
  | { readonly kind: "incoming"; readonly interface: string }
  | { readonly kind: "outgoing"; readonly interface: string }
  /** Ethernet source address; only where a packet came in. */
  | { readonly kind: "mac"; readonly address: string }
  /** User or group of the sending socket; only where a packet is sent. */
  | { readonly kind: "owner"; readonly of: "uid" | "gid"; readonly ids: IdRange }
  /** The sending socket's cgroup (v2) is this one or inside it; no leading slash. */
  | { readonly kind: "cgroup"; readonly path: string }
  /** Under the mask of our marks. */
  | {
    readonly kind: "mark";
    readonly of: "packet" | "flow" | "socket";
    readonly value: number;
    readonly negate: boolean;
  }
  /** The packet's mark is `match.value` under `match.mask`. */
  | { readonly kind: "packetMark"; readonly match: MarkMatch }
  /** The packet's mark has bits that are not ours. */
  | { readonly kind: "foreignMark" }
  /**
   * The local socket the packet, or the packet an ICMP error is about, belongs to; no socket, no match.
   * `transparent`: has IP_TRANSPARENT and is no listener on every address; `any`: such a listener too. Both hold for
   * sockets that the kernel keeps in brief (a handshake's last ACK, TIME_WAIT), of which nft's `socket wildcard` and
   * `socket mark` know nothing and end the rule (nft_socket_eval).
   */
  | { readonly kind: "socket"; readonly property: "transparent" | "any" }
  /** The packet goes in the direction of its connection's first packet; untracked packets do not match. */
  | { readonly kind: "flowOriginal" }
  /** It goes in the other direction. */
  | { readonly kind: "flowReply" }
  /** An earlier packet of its flow has got through; untracked packets do not match. */
  | { readonly kind: "flowSeen" }
  /** Of a flow that nobody has answered and no tracked flow led to; untracked packets do not match. */
  | { readonly kind: "flowNew" }
  /** Of a flow whose destination was rewritten on this host. */
  | { readonly kind: "flowRedirected" }
  /** Conntrack cannot place it in any flow. */
  | { readonly kind: "flowInvalid" };

/** What happens to a packet that matched. */
export type Verdict =
  /** Leave it alone. */
  | { readonly kind: "pass" }
  /** Lose it. */
  | { readonly kind: "drop" }
  /**
   * Hand it to the listener without rewriting it, and mark it; `remember`: its flow too. With no listener the
   * packet is not marked, and goes on or is lost: rules that must not depend on it say what then.
   */
  | { readonly kind: "tproxy"; readonly port: number; readonly remember: boolean }
  /** The same for a datagram, whose flow is remembered; for one of `whole`'s family the mark says `dontFragment`. */
  | { readonly kind: "tproxyDatagram"; readonly port: number; readonly whole: IpFamily | null }
  /** Rewrite its destination to this host's `port`. */
  | { readonly kind: "redirect"; readonly port: number }
  /** Mark the packet for local delivery; `remember`: the whole flow; `fromHere`: say so in the mark. */
  | { readonly kind: "intercept"; readonly remember: boolean; readonly fromHere: boolean }
  /** Track its connection apart from others with the same five-tuple. */
  | { readonly kind: "zone"; readonly zone: number }
  /** Keep it, and what it would begin or answer, from connection tracking and NAT. */
  | { readonly kind: "untrack" }
  /** The rules of another chain decide. */
  | { readonly kind: "goto"; readonly chain: string }
  /** The rules of one of these chains decide: always the same one for a source address and UDP source port. */
  | { readonly kind: "spread"; readonly family: IpFamily; readonly chains: readonly string[] };

/** Packets that carry `mark` and came in by `incoming` are routed by `table`. */
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
