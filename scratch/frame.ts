/**
 * A packet as bytes, with right lengths and checksums: what the program in the scratch namespace sends. Pure.
 *
 * @module
 */
import { addressBytes, type IpFamily } from "../net/mod.ts";

/** What the headers say. */
export interface Headers {
  readonly family: IpFamily;
  readonly protocol: "tcp" | "udp" | "icmp";
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
  readonly tcp: TcpPart;
  readonly dontFragment: boolean;
}

/** Of a TCP header. */
export interface TcpPart {
  readonly flags: "syn" | "syn-ack" | "ack";
  readonly sequence: number;
  readonly acknowledged: number;
}

const TCP_FLAGS = { "syn": 0x02, "syn-ack": 0x12, "ack": 0x10 } as const;
const PROTOCOL_NUMBERS = { tcp: 6, udp: 17, icmp: 1 } as const;
const ICMPV6 = 58;
const HOP_LIMIT = 64;
const PAYLOAD = new TextEncoder().encode("pellucid");

/** The packet from its IP header on. */
export function encodePacket(headers: Headers): Uint8Array<ArrayBuffer> {
  const protocol = headers.family === 6 && headers.protocol === "icmp"
    ? ICMPV6
    : PROTOCOL_NUMBERS[headers.protocol];
  const [source, destination] = [headers.source, headers.destination]
    .map((text) => addressBytes({ family: headers.family, text }));
  const segment = encodeSegment(headers);
  const at = CHECKSUM_AT[headers.protocol];
  const isPlainIcmp = protocol === PROTOCOL_NUMBERS.icmp;
  const pseudo = isPlainIcmp
    ? new Uint8Array(0)
    : pseudoHeader(source!, destination!, protocol, segment.length);
  const sum = checksum([pseudo, segment]);
  // RFC 768: a sum of zero is sent as all ones, for zero means that there is none.
  writeWord(segment, at, headers.protocol === "udp" && sum === 0 ? 0xffff : sum);
  const header = headers.family === 4
    ? headerV4(source!, destination!, protocol, segment.length, headers.dontFragment)
    : headerV6(source!, destination!, protocol, segment.length);
  return concat(header, segment);
}

/** The packet in an Ethernet frame. MACs as `02:00:5e:10:00:01`. */
export function encodeFrame(headers: Headers, from: string, to: string): Uint8Array<ArrayBuffer> {
  const type = headers.family === 4 ? [0x08, 0x00] : [0x86, 0xdd];
  return concat(macBytes(to), macBytes(from), Uint8Array.from(type), encodePacket(headers));
}

const CHECKSUM_AT = { tcp: 16, udp: 6, icmp: 2 } as const;

function encodeSegment(
  { protocol, family, sourcePort, destinationPort, tcp }: Headers,
): Uint8Array<ArrayBuffer> {
  switch (protocol) {
    case "tcp": {
      const bytes = new Uint8Array(20);
      const view = new DataView(bytes.buffer);
      view.setUint16(0, sourcePort);
      view.setUint16(2, destinationPort);
      view.setUint32(4, tcp.sequence);
      view.setUint32(8, tcp.acknowledged);
      // Five words of header.
      bytes[12] = 5 << 4;
      bytes[13] = TCP_FLAGS[tcp.flags];
      view.setUint16(14, 0xffff);
      return bytes;
    }
    case "udp": {
      const bytes = concat(new Uint8Array(8), PAYLOAD);
      writeWord(bytes, 0, sourcePort);
      writeWord(bytes, 2, destinationPort);
      writeWord(bytes, 4, bytes.length);
      return bytes;
    }
    case "icmp": {
      const bytes = concat(new Uint8Array(8), PAYLOAD);
      // Echo request, identifier 1.
      bytes[0] = family === 4 ? 8 : 128;
      bytes[5] = 1;
      return bytes;
    }
  }
}

function headerV4(
  source: Uint8Array,
  destination: Uint8Array,
  protocol: number,
  length: number,
  dontFragment: boolean,
): Uint8Array {
  const bytes = new Uint8Array(20);
  bytes[0] = 0x45;
  writeWord(bytes, 2, 20 + length);
  if (dontFragment) bytes[6] = 0x40;
  bytes[8] = HOP_LIMIT;
  bytes[9] = protocol;
  bytes.set(source, 12);
  bytes.set(destination, 16);
  writeWord(bytes, 10, checksum([bytes]));
  return bytes;
}

function headerV6(source: Uint8Array, destination: Uint8Array, protocol: number, length: number): Uint8Array {
  const bytes = new Uint8Array(40);
  bytes[0] = 0x60;
  writeWord(bytes, 4, length);
  bytes[6] = protocol;
  bytes[7] = HOP_LIMIT;
  bytes.set(source, 8);
  bytes.set(destination, 24);
  return bytes;
}

function pseudoHeader(
  source: Uint8Array,
  destination: Uint8Array,
  protocol: number,
  length: number,
): Uint8Array {
  const isV4 = source.length === 4;
  const rest = new Uint8Array(isV4 ? 4 : 8);
  rest[isV4 ? 1 : 7] = protocol;
  writeWord(rest, 2, length);
  return concat(source, destination, rest);
}

/** RFC 1071: the ones' complement of the sum of 16-bit words; every part but the last has an even length. */
function checksum(parts: readonly Uint8Array[]): number {
  let sum = 0;
  for (const bytes of parts) {
    for (let i = 0; i < bytes.length; i += 2) sum += bytes[i]! << 8 | (bytes[i + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function writeWord(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value & 0xff;
}

function macBytes(text: string): Uint8Array {
  return Uint8Array.from(text.split(":"), (part) => parseInt(part, 16));
}

function concat(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
