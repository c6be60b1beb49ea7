/**
 * Packets of the table as bytes: IPv4 and IPv6 with TCP, UDP or ICMP.
 *
 * @module
 */
import { checksumOf, type IpFamily } from "../../net/mod.ts";
import {
  encodeIp,
  icmpMessage,
  type IpHeader,
  TCP_ACK,
  TCP_FIN,
  TCP_RST,
  TCP_SYN,
  tcpSegment,
  transportChecksum,
  udpDatagram,
} from "../../scratch/ip_packet.ts";
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

/** The first packet's number is 1000, with a byte of data it counts as two; its answer's is 5000. */
const LATER = { sequence: 1002, acknowledged: 5001 };
const TCP = {
  "syn": { flags: TCP_SYN, sequence: 1000, acknowledged: 0 },
  "syn+ack": { flags: TCP_SYN | TCP_ACK, sequence: 5000, acknowledged: 1001 },
  "ack": { flags: TCP_ACK, ...LATER },
  "rst": { flags: TCP_RST, ...LATER },
  "fin+ack": { flags: TCP_FIN | TCP_ACK, ...LATER },
} as const;

/** The packet from its IP header on. */
export function encodePacket(fields: FrameFields): Uint8Array<ArrayBuffer> {
  const { segment, sourcePort, destinationPort, withData } = fields;
  const header: IpHeader = {
    ...fields,
    protocol: segment === "udp" ? "udp" : isIcmp(segment) ? "icmp" : "tcp",
    hops: fields.ttl,
    identification: sourcePort,
  };
  if (isIcmp(segment)) return encodeIp(header, encodeIcmp(header, segment, fields));
  const data = new Uint8Array(withData ? 1 : 0);
  const ports = { sourcePort, destinationPort };
  return encodeIp(
    header,
    segment === "udp"
      ? udpDatagram(sourcePort, destinationPort, data)
      : tcpSegment({ ...ports, ...TCP[segment] }, data),
  );
}

/** A message whose checksum is the source port: by that number it is known. */
function encodeIcmp(header: IpHeader, segment: "echo" | "unreachable", fields: FrameFields): Uint8Array {
  const { family, source, destination, sourcePort, destinationPort } = fields;
  const quoted = segment === "echo" ? new Uint8Array(0) : encodePacket({
    ...fields,
    segment: "udp",
    source: destination,
    destination: source,
    sourcePort: destinationPort,
    destinationPort: sourcePort,
  });
  // What an echo has for its identifier, and an error leaves unused, makes up the difference.
  const sum = ~transportChecksum(header, icmpMessage(family, segment, 0, quoted)) & 0xffff;
  return icmpMessage(family, segment, checksumOf(sum + sourcePort), quoted);
}
