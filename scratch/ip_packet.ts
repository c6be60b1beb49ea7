/**
 * IP packets and Ethernet frames as bytes, with right lengths and checksums. Pure.
 *
 * @module
 */
import { addressBytes, addToSum, checksumOf, type IpFamily } from "../net/mod.ts";

/** What an IP header says. */
export interface IpHeader {
  readonly family: IpFamily;
  readonly protocol: "tcp" | "udp" | "icmp";
  /** Canonical text. */
  readonly source: string;
  readonly destination: string;
  /** Time to live, or hop limit. */
  readonly hops: number;
  readonly dscp: number;
  /** Of IPv4, as the next one. */
  readonly identification: number;
  readonly dontFragment: boolean;
}

/** What a TCP header says. */
export interface TcpHeader {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledged: number;
  /** TCP_SYN and others. */
  readonly flags: number;
}

export const TCP_FIN = 0x01;
export const TCP_SYN = 0x02;
export const TCP_RST = 0x04;
export const TCP_ACK = 0x10;

const PROTOCOLS = {
  4: { tcp: 6, udp: 17, icmp: 1 },
  6: { tcp: 6, udp: 17, icmp: 58 },
} as const;
const CHECKSUM_AT = { tcp: 16, udp: 6, icmp: 2 } as const;
/** Type and code. */
const ICMP = {
  4: { echo: [8, 0], unreachable: [3, 3] },
  6: { echo: [128, 0], unreachable: [1, 4] },
} as const;

/** A TCP segment, its checksum left out. */
export function tcpSegment(
  { sourcePort, destinationPort, sequence, acknowledged, flags }: TcpHeader,
  data: Uint8Array = new Uint8Array(0),
): Uint8Array {
  const header = new Uint8Array(20);
  const view = new DataView(header.buffer);
  view.setUint16(0, sourcePort);
  view.setUint16(2, destinationPort);
  view.setUint32(4, sequence);
  view.setUint32(8, acknowledged);
  // Five words of header.
  header[12] = 5 << 4;
  header[13] = flags;
  view.setUint16(14, 0xffff);
  return concat(header, data);
}

/** A UDP datagram, its checksum left out. */
export function udpDatagram(sourcePort: number, destinationPort: number, data: Uint8Array): Uint8Array {
  const header = new Uint8Array(8);
  writeWord(header, 0, sourcePort);
  writeWord(header, 2, destinationPort);
  writeWord(header, 4, header.length + data.length);
  return concat(header, data);
}

/**
 * An ICMP or ICMPv6 message, its checksum left out: an echo request, or the error that nobody listens on a port.
 *
 * @param identifier of the echo; an error leaves its place unused.
 */
export function icmpMessage(
  family: IpFamily,
  kind: "echo" | "unreachable",
  identifier: number,
  data: Uint8Array,
): Uint8Array {
  const header = Uint8Array.of(...ICMP[family][kind], 0, 0, 0, 0, 0, 0);
  writeWord(header, 4, identifier);
  return concat(header, data);
}

/** The checksum of what the IP packet carries, for a `segment` that has none yet. */
export function transportChecksum(
  { family, protocol, source, destination }: IpHeader,
  segment: Uint8Array,
): number {
  let sum = 0;
  const number = PROTOCOLS[family][protocol];
  if (number !== PROTOCOLS[4].icmp) {
    for (const text of [source, destination]) {
      const address = addressBytes({ family, text });
      sum = addToSum(sum, address, 0, address.length);
    }
    sum += number + segment.length;
  }
  return checksumOf(addToSum(sum, segment, 0, segment.length));
}

/** The packet from its IP header on, with the checksums. */
export function encodeIp(header: IpHeader, segment: Uint8Array): Uint8Array<ArrayBuffer> {
  const ip = header.family === 4 ? ipv4Header(header, segment.length) : ipv6Header(header, segment.length);
  const packet = concat(ip, segment);
  const sum = transportChecksum(header, segment);
  // RFC 768: a sum of zero is sent as all ones, for zero means that there is none.
  const sent = header.protocol === "udp" && sum === 0 ? 0xffff : sum;
  writeWord(packet, ip.length + CHECKSUM_AT[header.protocol], sent);
  return packet;
}

/** An IP packet in an Ethernet frame. MACs as `02:00:5e:10:00:01`. */
export function encodeEthernet(packet: Uint8Array, from: string, to: string): Uint8Array<ArrayBuffer> {
  const type = packet[0]! >> 4 === 4 ? [0x08, 0x00] : [0x86, 0xdd];
  return concat(macBytes(to), macBytes(from), Uint8Array.from(type), packet);
}

function ipv4Header(
  { protocol, source, destination, hops, dscp, identification, dontFragment }: IpHeader,
  length: number,
): Uint8Array {
  const bytes = new Uint8Array(20);
  bytes[0] = 0x45;
  bytes[1] = dscp << 2;
  writeWord(bytes, 2, bytes.length + length);
  writeWord(bytes, 4, identification);
  if (dontFragment) bytes[6] = 0x40;
  bytes[8] = hops;
  bytes[9] = PROTOCOLS[4][protocol];
  bytes.set(addressBytes({ family: 4, text: source }), 12);
  bytes.set(addressBytes({ family: 4, text: destination }), 16);
  writeWord(bytes, 10, checksumOf(addToSum(0, bytes, 0, bytes.length)));
  return bytes;
}

function ipv6Header({ protocol, source, destination, hops, dscp }: IpHeader, length: number): Uint8Array {
  const bytes = new Uint8Array(40);
  bytes[0] = 0x60 | dscp >> 2;
  bytes[1] = dscp << 6 & 0xff;
  writeWord(bytes, 4, length);
  bytes[6] = PROTOCOLS[6][protocol];
  bytes[7] = hops;
  bytes.set(addressBytes({ family: 6, text: source }), 8);
  bytes.set(addressBytes({ family: 6, text: destination }), 24);
  return bytes;
}

function macBytes(text: string): Uint8Array {
  return Uint8Array.from(text.split(":"), (part) => parseInt(part, 16));
}

function writeWord(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value & 0xff;
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
