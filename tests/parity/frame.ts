/**
 * Packets as bytes, checksums included: IPv4 and IPv6 with TCP, UDP or ICMP.
 *
 * @module
 */
import { addressBytes, type IpFamily, parseAddress } from "../../net/mod.ts";
import { isIcmp, type Segment } from "./row.ts";

/** What the bytes say. */
export interface FrameFields {
  readonly family: IpFamily;
  readonly segment: Segment;
  readonly source: string;
  readonly destination: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** Time to live, or hop limit. */
  readonly ttl: number;
  readonly dscp: number;
  readonly dontFragment: boolean;
  /** One byte of data. */
  readonly withData: boolean;
}

const TCP_FLAGS = { syn: 0x02, ack: 0x10, "syn+ack": 0x12, rst: 0x04, "fin+ack": 0x11 } as const;
const PROTOCOL_TCP = 6, PROTOCOL_UDP = 17, PROTOCOL_ICMP = 1, PROTOCOL_ICMPV6 = 58;
/** Type and code. */
const ICMP = {
  4: { echo: [8, 0], unreachable: [3, 3] },
  6: { echo: [128, 0], unreachable: [1, 4] },
} as const;
const ETHERTYPE = { 4: 0x0800, 6: 0x86dd } as const;

/** The packet from its IP header on. */
export function encodePacket(fields: FrameFields): Uint8Array<ArrayBuffer> {
  const protocol = protocolNumber(fields);
  const body = encodeBody(fields);
  const source = addressBytes(parseAddress(fields.source)!);
  const destination = addressBytes(parseAddress(fields.destination)!);
  const ofIcmpV4 = protocol === PROTOCOL_ICMP;
  const pseudo = ofIcmpV4 ? 0 : sum(source) + sum(destination) + protocol + body.length;
  // An echo's identifier, or what an error leaves unused, makes the checksum the number by which it is known.
  if (isIcmp(fields.segment)) writeWord(body, 4, checksum(body, pseudo + fields.sourcePort));
  const checksumAt = protocol === PROTOCOL_TCP ? 16 : protocol === PROTOCOL_UDP ? 6 : 2;
  // A UDP checksum of 0 would say that there is none.
  writeWord(body, checksumAt, checksum(body, pseudo) || 0xffff);
  const header = fields.family === 4
    ? encodeIpv4(fields, protocol, body.length, source, destination)
    : encodeIpv6(fields, protocol, body.length, source, destination);
  return concat(header, body);
}

/** An Ethernet frame around it. */
export function encodeFrame(
  packet: Uint8Array,
  family: IpFamily,
  from: string,
  to: string,
): Uint8Array<ArrayBuffer> {
  const header = new Uint8Array(14);
  header.set(macBytes(to), 0);
  header.set(macBytes(from), 6);
  writeWord(header, 12, ETHERTYPE[family]);
  return concat(header, packet);
}

function protocolNumber({ segment, family }: FrameFields): number {
  if (segment === "udp") return PROTOCOL_UDP;
  if (isIcmp(segment)) return family === 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6;
  return PROTOCOL_TCP;
}

function encodeBody(fields: FrameFields): Uint8Array {
  const { segment, family, sourcePort, destinationPort, withData } = fields;
  if (isIcmp(segment)) {
    const quoted = segment === "echo" ? new Uint8Array(0) : encodePacket({
      ...fields,
      segment: "udp",
      source: fields.destination,
      destination: fields.source,
      sourcePort: destinationPort,
      destinationPort: sourcePort,
    });
    return concat(Uint8Array.of(...ICMP[family][segment], 0, 0, 0, 0, 0, 0), quoted);
  }
  const body = new Uint8Array((segment === "udp" ? 8 : 20) + (withData ? 1 : 0));
  writeWord(body, 0, sourcePort);
  writeWord(body, 2, destinationPort);
  if (segment === "udp") {
    writeWord(body, 4, body.length);
    return body;
  }
  // The first packet's number is 1000, with a byte of data it counts as two; its answer's is 5000.
  const numbers = { syn: [1000, 0], "syn+ack": [5000, 1001], ack: [1002, 5001] } as const;
  const [sequence, acknowledged] = segment === "rst" || segment === "fin+ack"
    ? numbers.ack
    : numbers[segment];
  writeWord(body, 6, sequence);
  writeWord(body, 10, acknowledged);
  body[12] = 5 << 4;
  body[13] = TCP_FLAGS[segment];
  writeWord(body, 14, 0xffff);
  return body;
}

function encodeIpv4(
  { ttl, dscp, dontFragment, sourcePort }: FrameFields,
  protocol: number,
  length: number,
  source: Uint8Array,
  destination: Uint8Array,
): Uint8Array {
  const header = new Uint8Array(20);
  header[0] = 0x45;
  header[1] = dscp << 2;
  writeWord(header, 2, header.length + length);
  writeWord(header, 4, sourcePort);
  writeWord(header, 6, dontFragment ? 0x4000 : 0);
  header[8] = ttl;
  header[9] = protocol;
  header.set(source, 12);
  header.set(destination, 16);
  writeWord(header, 10, checksum(header, 0));
  return header;
}

function encodeIpv6(
  { ttl, dscp }: FrameFields,
  protocol: number,
  length: number,
  source: Uint8Array,
  destination: Uint8Array,
): Uint8Array {
  const header = new Uint8Array(40);
  header[0] = 0x60 | dscp >> 2;
  header[1] = dscp << 6 & 0xff;
  writeWord(header, 4, length);
  header[6] = protocol;
  header[7] = ttl;
  header.set(source, 8);
  header.set(destination, 24);
  return header;
}

function macBytes(text: string): Uint8Array {
  return Uint8Array.from(text.split(":"), (byte) => parseInt(byte, 16));
}

function writeWord(into: Uint8Array, at: number, value: number): void {
  into[at] = value >> 8;
  into[at + 1] = value & 0xff;
}

function sum(bytes: Uint8Array): number {
  let total = 0;
  for (let i = 0; i < bytes.length; i += 2) total += bytes[i]! << 8 | (bytes[i + 1] ?? 0);
  return total;
}

/** Of the internet (RFC 1071). */
function checksum(bytes: Uint8Array, initial: number): number {
  let total = initial + sum(bytes);
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return ~total & 0xffff;
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(a.length + b.length);
  all.set(a, 0);
  all.set(b, a.length);
  return all;
}
