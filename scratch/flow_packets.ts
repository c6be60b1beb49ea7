/**
 * The packets that make a flow what it is said to be before the one on trial comes. Pure.
 *
 * @module
 */
import type { Packet } from "../nft/packet.ts";
import type { Headers, TcpPart } from "./frame.ts";

/** A packet of the flow: in the direction of the one on trial, or against it. */
export interface FlowPacket {
  readonly direction: "forth" | "back";
  readonly headers: Headers;
}

const FIRST = 1000, ANSWERED = 5000;
const HANDSHAKE: readonly TcpPart[] = [
  { flags: "syn", sequence: FIRST, acknowledged: 0 },
  { flags: "syn-ack", sequence: ANSWERED, acknowledged: FIRST + 1 },
  { flags: "ack", sequence: FIRST + 1, acknowledged: ANSWERED + 1 },
];

/** Why `packet` cannot be sent in a scratch namespace; undefined: it can. */
export function unsendable({ way, protocol, flow, socket }: Packet): string | undefined {
  if (way.kind === "arriving" && way.interface === "lo") {
    return "what comes in by lo has left by it: use --out lo";
  }
  if (protocol === "other") return "only tcp, udp and icmp can be sent";
  if (flow.tracking !== "tracked") return "a flow that conntrack does not track is not made here";
  if (
    flow.direction !== "original" || flow.mark !== 0 || flow.redirectedTo !== null || flow.seen === flow.isNew
  ) {
    return "only a flow's first packet and a later one of an answered flow are made here";
  }
  return socket === null ? undefined : "a packet of a socket is not made here";
}

/** What opens the flow that `packet` belongs to; nothing for a first packet. */
export function opening(packet: Packet): FlowPacket[] {
  if (packet.flow.tracking !== "tracked" || packet.flow.isNew) return [];
  return HANDSHAKE.map((tcp, i): FlowPacket => {
    const headers = { ...headersOf(packet), tcp };
    return i === 1 ? { direction: "back", headers: reversed(headers) } : { direction: "forth", headers };
  });
}

/** The packet on trial. */
export function headersOf(packet: Packet): Headers {
  const { family, protocol, source, sourcePort, destination, destinationPort, dontFragment } = packet;
  if (protocol === "other") throw new TypeError("packet: tcp, udp or icmp wanted");
  const tcp = packet.tcpFirst ? HANDSHAKE[0]! : HANDSHAKE[2]!;
  return { family, protocol, source, sourcePort, destination, destinationPort, dontFragment, tcp };
}

function reversed(headers: Headers): Headers {
  return {
    ...headers,
    source: headers.destination,
    sourcePort: headers.destinationPort,
    destination: headers.source,
    destinationPort: headers.sourcePort,
  };
}
