/**
 * A packet of a flow as bytes: what the program in the scratch namespace sends. Pure.
 *
 * @module
 */
import type { IpFamily } from "../net/mod.ts";
import {
  encodeEthernet,
  encodeIp,
  icmpMessage,
  TCP_ACK,
  TCP_SYN,
  tcpSegment,
  udpDatagram,
} from "./ip_packet.ts";

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

const TCP_FLAGS = { "syn": TCP_SYN, "syn-ack": TCP_SYN | TCP_ACK, "ack": TCP_ACK } as const;
const HOP_LIMIT = 64;
const PAYLOAD = new TextEncoder().encode("pellucid");

/** The packet from its IP header on. */
export function encodePacket(headers: Headers): Uint8Array<ArrayBuffer> {
  return encodeIp({ ...headers, hops: HOP_LIMIT, dscp: 0, identification: 0 }, encodeSegment(headers));
}

/** The packet in an Ethernet frame. MACs as `02:00:5e:10:00:01`. */
export function encodeFrame(headers: Headers, from: string, to: string): Uint8Array<ArrayBuffer> {
  return encodeEthernet(encodePacket(headers), from, to);
}

function encodeSegment({ protocol, family, sourcePort, destinationPort, tcp }: Headers): Uint8Array {
  switch (protocol) {
    case "tcp":
      return tcpSegment({ ...tcp, flags: TCP_FLAGS[tcp.flags], sourcePort, destinationPort });
    case "udp":
      return udpDatagram(sourcePort, destinationPort, PAYLOAD);
    case "icmp":
      return icmpMessage(family, "echo", 1, PAYLOAD);
  }
}
