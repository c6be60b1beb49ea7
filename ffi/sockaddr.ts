/**
 * `struct sockaddr_in` and `struct sockaddr_in6` (netinet/in.h): encoding, decoding, and looks at raw bytes.
 *
 * The family is in host order, which is little-endian on both supported architectures; port and address are in
 * network order.
 *
 * @module
 */
import { addressBytes, addressFromBytes, type Endpoint, unmapV4 } from "../net/mod.ts";
import { AF_INET, AF_INET6 } from "./constants.ts";

/** sizeof(struct sockaddr_in) */
export const SOCKADDR_IN_BYTES = 16;
/** sizeof(struct sockaddr_in6) */
export const SOCKADDR_IN6_BYTES = 28;

/** sin_family or sin6_family: AF_INET, AF_INET6, or 0 when nothing has been written. */
export function sockaddrFamily(bytes: Uint8Array): number {
  return bytes[0]! | bytes[1]! << 8;
}

/** sin_port or sin6_port in host order. */
export function sockaddrPort(bytes: Uint8Array): number {
  return bytes[2]! << 8 | bytes[3]!;
}

/** Writes a port; 0 lets the kernel choose on bind. */
export function setSockaddrPort(bytes: Uint8Array, port: number): void {
  bytes[2] = port >> 8;
  bytes[3] = port & 0xff;
}

/** Bytes that belong to the address in `bytes`, for the length argument of bind and connect. */
export function sockaddrLength(bytes: Uint8Array): number {
  return sockaddrFamily(bytes) === AF_INET ? SOCKADDR_IN_BYTES : SOCKADDR_IN6_BYTES;
}

/**
 * Turns ::ffff:a.b.c.d, as a dual-stack socket names an IPv4 peer, into the `sockaddr_in` of a.b.c.d, in place;
 * leaves every other address alone. An AF_INET6 socket can only use the mapped form with IPV6_V6ONLY off, which
 * net.ipv6.bindv6only may forbid.
 */
export function unmapSockaddr(bytes: Uint8Array, at = 0): void {
  if (bytes[at] !== AF_INET6 || bytes[at + 18] !== 0xff || bytes[at + 19] !== 0xff) return;
  for (let i = at + 8; i < at + 18; i++) if (bytes[i] !== 0) return;
  bytes[at] = AF_INET;
  bytes.copyWithin(at + 4, at + 20, at + 24);
  bytes.fill(0, at + 8, at + 16);
}

/**
 * Whether whoever sends to this address sends to itself: it is a loopback address, or the unspecified one, which the
 * kernel takes for loopback (connect(2) to `::` is to ::1). A packet that came from elsewhere may say so all the same:
 * the routing table does not call `::` local.
 *
 * @param words memory that holds the sockaddr.
 * @param at its first word.
 */
export function isLoopbackDestination(words: Int32Array, at: number): boolean {
  if ((words[at]! & 0xffff) === AF_INET) return isLoopbackNetwork(words[at + 1]!);
  if (words[at + 2] !== 0 || words[at + 3] !== 0) return false;
  const last = words[at + 5]!;
  if (words[at + 4] === V4_MAPPED_WORD) return isLoopbackNetwork(last);
  return words[at + 4] === 0 && (last === 0 || last === LAST_WORD_OF_ONE);
}

/** Of ::ffff:a.b.c.d, the word before the IPv4 address; and of ::1 the last, as they lie in memory. */
const V4_MAPPED_WORD = 0xffff0000 | 0, LAST_WORD_OF_ONE = 0x01000000;

/** 0.0.0.0/8 or 127.0.0.0/8. */
function isLoopbackNetwork(address: number): boolean {
  const first = address & 0xff;
  return first === 0 || first === 127;
}

/**
 * Writes an endpoint.
 *
 * @param into at least 28 bytes; all of the structure is written, flow label and scope as zero.
 * @returns the structure's length.
 */
export function encodeSockaddr(endpoint: Endpoint, into: Uint8Array): number {
  const isV4 = endpoint.address.family === 4;
  const length = isV4 ? SOCKADDR_IN_BYTES : SOCKADDR_IN6_BYTES;
  into.fill(0, 0, length);
  into[0] = isV4 ? AF_INET : AF_INET6;
  setSockaddrPort(into, endpoint.port);
  into.set(addressBytes(endpoint.address), isV4 ? 4 : 8);
  return length;
}

/**
 * Reads an endpoint; a v4-mapped address becomes the IPv4 address it stands for.
 *
 * @returns undefined for any other family.
 */
export function decodeSockaddr(bytes: Uint8Array): Endpoint | undefined {
  const port = sockaddrPort(bytes);
  switch (sockaddrFamily(bytes)) {
    case AF_INET:
      return { address: addressFromBytes(bytes.slice(4, 8)), port };
    case AF_INET6:
      return { address: unmapV4(addressFromBytes(bytes.slice(8, 24))), port };
    default:
      return undefined;
  }
}
