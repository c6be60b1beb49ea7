/**
 * Headers of the PROXY protocol (haproxy, doc/proxy-protocol.txt), versions 1 and 2, as bytes. No I/O.
 *
 * Addresses are sockaddr bytes. Where client and destination are not of one family there is no way to write both: the
 * header then says that nothing is known.
 *
 * @module
 */
import { AF_INET, decodeSockaddr, SOCKADDR_IN6_BYTES, unmapSockaddr } from "../ffi/mod.ts";

/** Section 2.2: what a header of version 2 begins with. */
const SIGNATURE = Uint8Array.of(
  0x0d,
  0x0a,
  0x0d,
  0x0a,
  0x00,
  0x0d,
  0x0a,
  0x51,
  0x55,
  0x49,
  0x54,
  0x0a,
);
/** Version 2, and that the connection is somebody else's. */
const VERSION_AND_PROXY = 0x21;
/** Upper half of the byte that says what the addresses are, and lower half. */
const FAMILY_V4 = 0x10, FAMILY_V6 = 0x20, STREAM = 1, DATAGRAM = 2;

/** Signature, version, family, length; and with two IPv6 addresses and ports. */
const FIXED_BYTES = 16;
export const MAX_V2_BYTES = FIXED_BYTES + 2 * 16 + 2 * 2;

/** Version 1: a line of text, for TCP. */
export function encodeV1(client: Uint8Array, destination: Uint8Array): Uint8Array {
  const from = decodeSockaddr(client), to = decodeSockaddr(destination);
  const line = from === undefined || from.address.family !== to?.address.family
    ? "PROXY UNKNOWN\r\n"
    : `PROXY TCP${from.address.family} ${from.address.text} ${to.address.text} ${from.port} ${to.port}\r\n`;
  return new TextEncoder().encode(line);
}

/** Version 2, in front of a stream. */
export function encodeV2(client: Uint8Array, destination: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(MAX_V2_BYTES + 2 * SOCKADDR_IN6_BYTES);
  const clientAt = MAX_V2_BYTES, destinationAt = clientAt + SOCKADDR_IN6_BYTES;
  bytes.set(client, clientAt);
  unmapSockaddr(bytes, clientAt);
  bytes.set(destination, destinationAt);
  unmapSockaddr(bytes, destinationAt);
  return bytes.slice(0, writeV2(bytes, 0, STREAM, clientAt, destinationAt));
}

/**
 * Version 2, in front of a datagram. Nothing is allocated.
 *
 * @param clientAt where in `bytes` the client's sockaddr lies, `destinationAt`: the destination's; not v4-mapped.
 * @returns how long it is.
 */
export function writeDatagramV2(
  bytes: Uint8Array,
  at: number,
  clientAt: number,
  destinationAt: number,
): number {
  return writeV2(bytes, at, DATAGRAM, clientAt, destinationAt);
}

function writeV2(
  bytes: Uint8Array,
  at: number,
  protocol: number,
  clientAt: number,
  destinationAt: number,
): number {
  bytes.set(SIGNATURE, at);
  bytes[at + 12] = VERSION_AND_PROXY;
  bytes[at + 14] = 0;
  const family = bytes[clientAt];
  if (family !== bytes[destinationAt]) {
    bytes[at + 13] = bytes[at + 15] = 0;
    return FIXED_BYTES;
  }
  const isV4 = family === AF_INET;
  const addressAt = isV4 ? 4 : 8, addressLength = isV4 ? 4 : 16;
  bytes[at + 13] = (isV4 ? FAMILY_V4 : FAMILY_V6) | protocol;
  const length = bytes[at + 15] = 2 * addressLength + 2 * 2;
  copy(bytes, at + FIXED_BYTES, clientAt + addressAt, addressLength);
  copy(bytes, at + FIXED_BYTES + addressLength, destinationAt + addressAt, addressLength);
  const portsAt = at + FIXED_BYTES + 2 * addressLength;
  copy(bytes, portsAt, clientAt + 2, 2);
  copy(bytes, portsAt + 2, destinationAt + 2, 2);
  return FIXED_BYTES + length;
}

function copy(bytes: Uint8Array, to: number, from: number, length: number): void {
  bytes.copyWithin(to, from, from + length);
}
