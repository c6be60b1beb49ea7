/**
 * Encodes the ICMP and ICMPv6 errors that a client is told: a whole packet, from the IP header on.
 *
 * An error quotes the datagram that it is about. The client's kernel finds the socket to tell by the quoted
 * addresses and ports, so the quoted headers are made to be the ones that the client sent.
 *
 * Addresses come as `sockaddr_in` or `sockaddr_in6`; sending is the business of icmp_sender.ts.
 *
 * @module
 */
import { AF_INET, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_UDP, sockaddrPort } from "../ffi/mod.ts";
import { addToSum, checksumOf } from "../net/mod.ts";

// RFC 792 and RFC 4443.
export const ICMP_DEST_UNREACH = 3;
export const ICMP_NET_UNREACH = 0;
export const ICMP_HOST_UNREACH = 1;
export const ICMP_PORT_UNREACH = 3;
export const ICMP_FRAG_NEEDED = 4;
export const ICMP_PKT_FILTERED = 13;
export const ICMPV6_DEST_UNREACH = 1;
export const ICMPV6_NOROUTE = 0;
export const ICMPV6_ADM_PROHIBITED = 1;
export const ICMPV6_ADDR_UNREACH = 3;
export const ICMPV6_PORT_UNREACH = 4;
export const ICMPV6_PKT_TOOBIG = 2;

/** What an error says. An entry of an error queue (error_queue.ts) is one. */
export interface IcmpError {
  readonly type: number;
  readonly code: number;
  /** The next hop's MTU in an error that says "too big"; ignored in others. */
  readonly info: number;
}

/** The datagram that an error is about. */
export interface QuotedDatagram {
  readonly client: Uint8Array;
  readonly remote: Uint8Array;
  /** Where what is known of its payload begins, in the memory it is in, and how much that is. */
  readonly offset: number;
  readonly length: number;
  /** Bytes of payload that the client sent, as far as is known: of a relayed error what it quotes. */
  readonly sentLength: number;
}

/** Room for any error: the minimum MTU of IPv6 (RFC 4443, section 2.4). */
export const ICMP_ERROR_MAX_BYTES = 1280;
/** What an ICMP error may take in all (RFC 1812, section 4.3.2.3). */
const ICMP4_MAX_BYTES = 576;

const IP4_BYTES = 20, IP6_BYTES = 40, ICMP_BYTES = 8, UDP_BYTES = 8;
/** Where addresses lie in `sockaddr_in` and `sockaddr_in6`. */
const SIN_ADDR = 4, SIN6_ADDR = 8;

/** What the kernel gives its own errors: IPTOS_PREC_INTERNETCONTROL and IPDEFTTL. */
const TOS_INTERNETCONTROL = 0xc0;
const TTL = 64;
const DONT_FRAGMENT = 0x4000;

/** Bits of the codes of ICMP "destination unreachable" that speak of a datagram: net, host, protocol, port,
 * fragmentation needed, and the three by which an administrator forbids (RFC 1812, section 5.2.7.1). */
const UNREACH4_CODES = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 9 | 1 << 10 | 1 << 13;
/** Codes 0 to 6 of ICMPv6 "destination unreachable" (RFC 4443, section 3.1). */
const UNREACH6_CODES = 0x7f;

/** Whether an error is of a kind that a client is told: its datagram did not arrive, and will not when sent again. */
export function concernsClient(family: number, error: IcmpError): boolean {
  if (family === AF_INET) return error.type === ICMP_DEST_UNREACH && hasCode(UNREACH4_CODES, error.code);
  return error.type === ICMPV6_PKT_TOOBIG ||
    error.type === ICMPV6_DEST_UNREACH && hasCode(UNREACH6_CODES, error.code);
}

/** Whether an error says that a datagram was too big for a link. */
export function saysTooBig(family: number, error: IcmpError): boolean {
  return family === AF_INET
    ? error.type === ICMP_DEST_UNREACH && error.code === ICMP_FRAG_NEEDED
    : error.type === ICMPV6_PKT_TOOBIG;
}

function hasCode(codes: number, code: number): boolean {
  return code < 32 && (codes >>> code & 1) === 1;
}

/**
 * Writes an ICMP error as an IPv4 packet, with as much of the payload as there is and fits.
 *
 * The outer header's checksum, and its source where `offender` is not given, are left to the kernel, which writes
 * both for a socket with IP_HDRINCL (raw(7)).
 *
 * @param into at least 576 bytes.
 * @param memory what the offset of `about` counts in.
 * @param offender who found the error, AF_INET; absent: this host, by its address towards the client.
 * @returns the packet's length.
 */
export function encodeIcmp4(
  into: Uint8Array,
  error: IcmpError,
  about: QuotedDatagram,
  memory: Uint8Array,
  offender: Uint8Array | undefined,
): number {
  const quoted = Math.min(about.length, ICMP4_MAX_BYTES - 2 * IP4_BYTES - ICMP_BYTES - UDP_BYTES);
  const total = 2 * IP4_BYTES + ICMP_BYTES + UDP_BYTES + quoted;
  const icmp = IP4_BYTES, inner = icmp + ICMP_BYTES, udp = inner + IP4_BYTES;
  const tooBig = saysTooBig(AF_INET, error);

  writeIp4(into, 0, total, IPPROTO_ICMP, TOS_INTERNETCONTROL, 0);
  if (offender !== undefined) copy(into, 12, offender, SIN_ADDR, 4);
  copy(into, 16, about.client, SIN_ADDR, 4);

  writeIp4(
    into,
    inner,
    IP4_BYTES + UDP_BYTES + about.sentLength,
    IPPROTO_UDP,
    0,
    tooBig ? DONT_FRAGMENT : 0,
  );
  copy(into, inner + 12, about.client, SIN_ADDR, 4);
  copy(into, inner + 16, about.remote, SIN_ADDR, 4);
  write16(into, inner + 10, checksumOf(addToSum(0, into, inner, IP4_BYTES)));
  writeQuote(into, udp, about, memory, quoted);

  into[icmp] = error.type;
  into[icmp + 1] = error.code;
  write32(into, icmp + 2, 0);
  // RFC 1191, section 4: the lower half of the second word, zero in other errors.
  write16(into, icmp + 6, tooBig ? Math.min(error.info, 0xffff) : 0);
  write16(into, icmp + 2, checksumOf(addToSum(0, into, icmp, total - icmp)));
  return total;
}

/**
 * Writes an ICMPv6 error as an IPv6 packet, complete, with as much of the payload as there is and fits.
 *
 * @param into at least 1,280 bytes.
 * @param memory what the offset of `about` counts in.
 * @param offender who found the error, AF_INET6: the kernel fills in nothing here.
 * @returns the packet's length.
 */
export function encodeIcmp6(
  into: Uint8Array,
  error: IcmpError,
  about: QuotedDatagram,
  memory: Uint8Array,
  offender: Uint8Array,
): number {
  const quoted = Math.min(about.length, ICMP_ERROR_MAX_BYTES - 2 * IP6_BYTES - ICMP_BYTES - UDP_BYTES);
  const total = 2 * IP6_BYTES + ICMP_BYTES + UDP_BYTES + quoted;
  const icmp = IP6_BYTES, inner = icmp + ICMP_BYTES, udp = inner + IP6_BYTES;

  writeIp6(into, 0, total - icmp, IPPROTO_ICMPV6);
  copy(into, 8, offender, SIN6_ADDR, 16);
  copy(into, 24, about.client, SIN6_ADDR, 16);

  writeIp6(into, inner, UDP_BYTES + about.sentLength, IPPROTO_UDP);
  copy(into, inner + 8, about.client, SIN6_ADDR, 16);
  copy(into, inner + 24, about.remote, SIN6_ADDR, 16);
  writeQuote(into, udp, about, memory, quoted);

  into[icmp] = error.type;
  into[icmp + 1] = error.code;
  write16(into, icmp + 2, 0);
  write32(into, icmp + 4, error.type === ICMPV6_PKT_TOOBIG ? error.info : 0);
  // The pseudo-header (RFC 4443, section 2.3): both addresses, as they stand in front, length and next header.
  const sum = addToSum(total - icmp + IPPROTO_ICMPV6, into, 8, 32);
  write16(into, icmp + 2, checksumOf(addToSum(sum, into, icmp, total - icmp)));
  return total;
}

/** The datagram's own header and payload. Its checksum is written as none: the whole payload is not known here. */
function writeQuote(
  into: Uint8Array,
  udp: number,
  about: QuotedDatagram,
  memory: Uint8Array,
  quoted: number,
): void {
  write16(into, udp, sockaddrPort(about.client));
  write16(into, udp + 2, sockaddrPort(about.remote));
  write16(into, udp + 4, UDP_BYTES + about.sentLength);
  write16(into, udp + 6, 0);
  copy(into, udp + UDP_BYTES, memory, about.offset, quoted);
}

function writeIp4(
  into: Uint8Array,
  at: number,
  total: number,
  protocol: number,
  tos: number,
  fragment: number,
): void {
  into[at] = 0x45;
  into[at + 1] = tos;
  write16(into, at + 2, total);
  // The identification: of the quoted packet it is not known, ours the kernel chooses.
  write16(into, at + 4, 0);
  write16(into, at + 6, fragment);
  into[at + 8] = TTL;
  into[at + 9] = protocol;
  write16(into, at + 10, 0);
  write32(into, at + 12, 0);
}

function writeIp6(into: Uint8Array, at: number, payloadLength: number, nextHeader: number): void {
  write32(into, at, 0x60000000);
  write16(into, at + 4, payloadLength);
  into[at + 6] = nextHeader;
  into[at + 7] = TTL;
}

// By hand: `subarray` would allocate a view for each of these few bytes.
function copy(into: Uint8Array, at: number, from: Uint8Array, fromAt: number, length: number): void {
  for (let i = 0; i < length; i++) into[at + i] = from[fromAt + i]!;
}

function write16(into: Uint8Array, at: number, value: number): void {
  into[at] = value >>> 8;
  into[at + 1] = value;
}

function write32(into: Uint8Array, at: number, value: number): void {
  write16(into, at, value >>> 16);
  write16(into, at + 2, value);
}
