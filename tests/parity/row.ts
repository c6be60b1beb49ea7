/**
 * One row of the packet table: a packet in words, with what has to have happened before it comes.
 *
 * A row names no source port: that is the row's number, by which the observer knows its packets again
 * (observer.ts). Of ICMP it is the checksum, which is where the others have a port.
 *
 * @module
 */
import type { IpFamily } from "../../net/mod.ts";

/** A packet to send through the rules. */
export interface Row {
  readonly family: IpFamily;
  readonly segment: Segment;
  readonly way: RowWay;
  readonly source: string;
  readonly destination: string;
  /** Of UDP and TCP. */
  readonly port: number;
  readonly history: History;
  /** IPv4 with the don't-fragment bit. */
  readonly dontFragment?: boolean;
  /** More destinations to which the same endpoint sends: one worker must get them all. */
  readonly alsoTo?: readonly string[];
  /** A socket of this host that the packet belongs to by its own addresses. */
  readonly socket?: RowSocket;
}

/**
 * What the packet is; of TCP the flags. `unreachable` is the ICMP error about a datagram that went the other way, from
 * the row's destination and port to its source.
 */
export type Segment = "syn" | "ack" | "syn+ack" | "rst" | "fin+ack" | "udp" | "echo" | "unreachable";

/** Whether it is ICMP or ICMPv6. */
export function isIcmp(segment: Segment): segment is "echo" | "unreachable" {
  return segment === "echo" || segment === "unreachable";
}

/** How it gets to the rules. */
export type RowWay =
  /** `mark`: what a rule before ours has given it; one of {@linkcode FOREIGN_MARKS}. */
  | { readonly kind: "arriving"; readonly interface: string; readonly mac: string; readonly mark: number }
  | { readonly kind: "sent"; readonly mark: number };

/**
 * - `first`: nothing.
 * - `seen`: its flow was opened, and answered, before the rules came.
 * - `answer`: the flow was opened by the other side before the rules came; this goes back.
 * - `taken`: its flow's first packet met the rules with the proxy up; the connection is established.
 * - `handshake`: the same, but its socket does not exist before this packet.
 */
export type History = "first" | "seen" | "answer" | "taken" | "handshake";

/** As the kernel finds it: bound to the packet's destination and connected to its source. */
export interface RowSocket {
  readonly transparent: boolean;
  /** SO_MARK. */
  readonly mark: number;
}

/** Packet marks that a rule before ours can give what arrives, in the order of the DSCP values that ask for them. */
export const FOREIGN_MARKS: readonly number[] = [0, 0x80000, 0x01000000, 0x02000000, 0x03000000, 0x11000000];

/** The row in words. */
export function describeRow(row: Row): string {
  const { way } = row;
  const words = [
    `IPv${row.family}`,
    row.segment,
    `${row.source} > ${row.destination}${row.segment === "echo" ? "" : ` port ${row.port}`}`,
    way.kind === "sent" ? "sent" : `in ${way.interface} from ${way.mac}`,
    row.history,
  ];
  if (way.mark !== 0) words.push(`mark 0x${way.mark.toString(16)}`);
  if (row.dontFragment === true) words.push("don't fragment");
  if (row.alsoTo !== undefined) words.push(`and to ${row.alsoTo.join(", ")}`);
  if (row.socket !== undefined) {
    const { transparent, mark } = row.socket;
    words.push(`of a${transparent ? " transparent" : ""} socket with mark 0x${mark.toString(16)}`);
  }
  return words.join(", ");
}
