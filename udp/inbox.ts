/**
 * Received datagrams: a batch of them, and what the kernel said about each.
 *
 * One inbox serves all sockets of a worker: what was received is passed on before anything else is received.
 *
 * @module
 */
import {
  type Arena,
  CMSGHDR_BYTES,
  cmsgSpace,
  IP_PKTINFO,
  IP_RECVORIGDSTADDR,
  IP_TOS,
  IPV6_PKTINFO,
  IPV6_RECVFRAGSIZE,
  IPV6_RECVORIGDSTADDR,
  IPV6_TCLASS,
  MSG_CTRUNC,
  MSG_TRUNC,
  ReceiveBatch,
  SO_MARK,
  SOCKADDR_IN6_BYTES,
  SOCKADDR_IN_BYTES,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
  SOL_UDP,
  UDP_GRO,
} from "../ffi/mod.ts";

/** Datagrams of one system call. */
export const BATCH = 64;
/** A datagram holds 65,507 bytes at most, or 65,527 over IPv6; merged ones (UDP_GRO) a little more. */
const PAYLOAD_BYTES = 65_536;
/** struct in_pktinfo { ifindex, spec_dst, addr }, and struct in6_pktinfo { addr, ifindex }. */
const PKTINFO_V4_BYTES = 12, PKTINFO_V6_BYTES = 20, IPI6_IFINDEX_WORD = 4;
/** Mark, segment size, traffic class, fragment size, interface, destination: all that the sockets ask for. */
const CONTROL_BYTES = 4 * cmsgSpace(4) + cmsgSpace(PKTINFO_V6_BYTES) + cmsgSpace(SOCKADDR_IN6_BYTES);

/** Arena bytes that an inbox takes. */
export const INBOX_BYTES = ReceiveBatch.bytes(BATCH, PAYLOAD_BYTES, CONTROL_BYTES);

/** Datagrams that have been received, one of which is looked at. */
export class Inbox extends ReceiveBatch {
  /** Where the sockaddr of the datagram's original destination lies; -1 when the kernel did not tell. */
  destinationAt = -1;
  /** The whole byte: DSCP and ECN. */
  trafficClass = 0;
  /** Bytes of each of the datagrams that the kernel has merged into this one; 0: it is a single one. */
  segmentBytes = 0;
  /** Whether no router would fragment it: its sender forbids that (IPv4), or sent it in one piece (IPv6). */
  dontFragment = false;
  /** Index of the interface that it came in by; 0: the kernel did not tell, since it was not asked. */
  interfaceIndex = 0;
  /** Whether there was more than could be taken, of the payload or of what the kernel had to say. */
  truncated = false;
  controlTruncated = false;
  /** Whether it came in fragments over IPv6. */
  #isFragmented = false;
  readonly #dontFragmentMark: number;

  /** @param dontFragmentMark bit of SO_RCVMARK by which the rules say that no router would fragment a packet. */
  constructor(arena: Arena, dontFragmentMark: number) {
    super(arena, BATCH, PAYLOAD_BYTES, CONTROL_BYTES);
    this.#dontFragmentMark = dontFragmentMark;
  }

  /** Reads what the kernel said about datagram `i` into the fields. */
  look(i: number): void {
    const { words } = this;
    this.destinationAt = -1;
    this.trafficClass = 0;
    this.segmentBytes = 0;
    this.dontFragment = false;
    this.interfaceIndex = 0;
    this.#isFragmented = false;
    const flags = this.flags(i);
    this.truncated = (flags & MSG_TRUNC) !== 0;
    this.controlTruncated = (flags & MSG_CTRUNC) !== 0;
    // A message that was cut off is the last, and its header has the shorter length (net/core/scm.c, put_cmsg).
    const end = this.controlAt(i) + this.controlLength(i);
    for (let at = this.controlAt(i); at + CMSGHDR_BYTES <= end;) {
      const word = at >> 2;
      const length = words[word]!;
      if (length < CMSGHDR_BYTES || at + length > end) break;
      this.#take(words[word + 2]!, words[word + 3]!, at + CMSGHDR_BYTES, length - CMSGHDR_BYTES);
      at += (length + 7) & -8;
    }
    if (this.#isFragmented) this.dontFragment = false;
  }

  /** @param length of the data: what was cut off is shorter than it should be. */
  #take(level: number, type: number, at: number, length: number): void {
    const { words } = this;
    switch (level) {
      case SOL_IP:
        // One byte (net/ipv4/ip_sockglue.c, ip_cmsg_recv_tos).
        if (type === IP_TOS) this.trafficClass = words[at >> 2]! & 0xff;
        else if (type === IP_RECVORIGDSTADDR && length >= SOCKADDR_IN_BYTES) this.destinationAt = at;
        else if (type === IP_PKTINFO && length >= PKTINFO_V4_BYTES) this.interfaceIndex = words[at >> 2]!;
        break;
      case SOL_IPV6:
        if (type === IPV6_TCLASS) this.trafficClass = words[at >> 2]! & 0xff;
        else if (type === IPV6_RECVORIGDSTADDR && length >= SOCKADDR_IN6_BYTES) this.destinationAt = at;
        else if (type === IPV6_RECVFRAGSIZE) this.#isFragmented = true;
        else if (type === IPV6_PKTINFO && length >= PKTINFO_V6_BYTES) {
          this.interfaceIndex = words[(at >> 2) + IPI6_IFINDEX_WORD]!;
        }
        break;
      case SOL_UDP:
        if (type === UDP_GRO) this.segmentBytes = words[at >> 2]! & 0xffff;
        break;
      case SOL_SOCKET:
        // SO_RCVMARK asks for it, but it comes under this name (net/core/sock.c, sock_recv_mark).
        if (type === SO_MARK) this.dontFragment = (words[at >> 2]! & this.#dontFragmentMark) !== 0;
        break;
    }
  }
}

/** How many datagrams of `segmentBytes` (the last may be shorter) make up `length` bytes; 0: it is a single one. */
export function countSegments(length: number, segmentBytes: number): number {
  return segmentBytes === 0 ? 1 : (length + segmentBytes - 1) / segmentBytes | 0;
}
