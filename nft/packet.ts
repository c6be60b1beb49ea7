/**
 * A packet and the host it meets, as plain data: everything that a plan's rules can ask about.
 *
 * What the kernel would look up (conntrack, the socket that the packet belongs to, the route it leaves by) is part
 * of the packet here, as it was before any rule of the plan touched it. evaluate.ts changes it on the packet's way
 * as the kernel does.
 *
 * @module
 */
import type { IpFamily } from "../net/address.ts";

/** One packet, before the first hook. */
export interface Packet {
  readonly family: IpFamily;
  /** `icmp` stands for ICMP and ICMPv6. */
  readonly protocol: "tcp" | "udp" | "icmp" | "other";
  /** Canonical address text. */
  readonly source: string;
  /** 0 where the protocol has no ports. */
  readonly sourcePort: number;
  /** Canonical address text: where the sender was going, also when its flow is redirected. */
  readonly destination: string;
  /** 0 where the protocol has no ports. */
  readonly destinationPort: number;
  /** TCP with SYN and none of FIN, RST, ACK. */
  readonly tcpFirst: boolean;
  /** IPv4 with the don't-fragment bit. */
  readonly dontFragment: boolean;
  readonly way: Arriving | Sent;
  /** The packet's mark: of a sent one its socket's SO_MARK, of another what rules before ours have set. */
  readonly mark: number;
  readonly flow: Flow;
  /**
   * The local socket it belongs to by its own addresses, or that the packet an ICMP error is about belongs to; of a
   * redirected flow by the addresses it was rewritten to. A listener only where it listens there without our help.
   */
  readonly socket: FoundSocket | null;
}

/** It comes in by an interface. */
export interface Arriving {
  readonly kind: "arriving";
  /** `lo` for what this host sent itself. */
  readonly interface: string;
  /** Ethernet source address in lower case; empty where the link has none. */
  readonly mac: string;
}

/** This host sends it. */
export interface Sent {
  readonly kind: "sent";
  /** By which it would leave if no rule marked it. */
  readonly interface: string;
  /** Of the sending socket; null where the kernel itself sends it. */
  readonly owner: SocketOwner | null;
}

/** Whose a sending socket is. */
export interface SocketOwner {
  readonly uid: number;
  readonly gid: number;
  /** Its cgroup (v2), without a leading slash; empty: the root. */
  readonly cgroup: string;
}

/** What conntrack knows about the packet. */
export type Flow = TrackedFlow | { readonly tracking: "untracked" } | { readonly tracking: "invalid" };

/** The packet belongs to a flow, if only as its first. */
export interface TrackedFlow {
  readonly tracking: "tracked";
  /** `original`: as the flow's first packet went. */
  readonly direction: "original" | "reply";
  /** An earlier packet of the flow has got through. */
  readonly seen: boolean;
  /** Nobody has answered yet, and no tracked flow led to it. */
  readonly isNew: boolean;
  /** The connection mark. */
  readonly mark: number;
  /** Port of the listener on this host to which its destination was rewritten; null: it was not. */
  readonly redirectedTo: number | null;
}

/** A local socket. */
export interface FoundSocket {
  /** IP_TRANSPARENT. */
  readonly transparent: boolean;
  /** Bound to no address. */
  readonly wildcard: boolean;
  /** SO_MARK. */
  readonly mark: number;
}

/** The host on which the rules are. */
export interface PacketHost {
  /** Its addresses with their prefix lengths, `192.0.2.1/24`; those of loopback need not be named. */
  readonly addresses: readonly string[];
  /** Whether it forwards IPv6: then the first address of each of its IPv6 networks is anycast. */
  readonly forwards: boolean;
  /** Whether our listeners are there. */
  readonly proxy: "up" | "down";
}

/** A flow's first packet. */
export const FIRST_OF_FLOW: TrackedFlow = {
  tracking: "tracked",
  direction: "original",
  seen: false,
  isNew: true,
  mark: 0,
  redirectedTo: null,
};

/** A later packet of an answered flow that no rule has touched. */
export const OPEN_FLOW: TrackedFlow = { ...FIRST_OF_FLOW, seen: true, isNew: false };
