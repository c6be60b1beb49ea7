/**
 * Whether a packet is what a match asks for, where it is on its way: the kernel's answers, in one pure function.
 *
 * Where the kernel has nothing to compare (no socket, no flow, no interface) a match does not hold, a negated one
 * included: both nft and iptables leave the rule then.
 *
 * @module
 */
import type { IpAddress } from "../net/address.ts";
import { containsPort } from "../net/port_range.ts";
import { parsePrefix, prefixContains } from "../net/prefix.ts";
import type { Marks } from "./intent.ts";
import type { LocalAddresses } from "./local_addresses.ts";
import type { Flow, FoundSocket, Packet, SocketOwner, TrackedFlow } from "./packet.ts";
import type { AddressSet, Match } from "./plan.ts";
import { lookupOf } from "./prefix_lookup.ts";

/** A packet at one hook. What rules change on its way is apart from what stays. */
export interface PacketHere {
  readonly packet: Packet;
  /** By which it came in; null where it is sent. */
  readonly incoming: string | null;
  /** By which it is to leave; null where it has come in. */
  readonly outgoing: string | null;
  /** Null where the link has no Ethernet addresses. */
  readonly mac: string | null;
  /** Null where no socket of this host is known to send it. */
  readonly owner: SocketOwner | null;
  readonly destination: IpAddress;
  readonly destinationPort: number;
  readonly mark: number;
  /** Null before conntrack has looked at it. */
  readonly flow: Flow | null;
  readonly socket: FoundSocket | null;
}

/** What the rules know beside the packet. */
export interface Surroundings {
  readonly marks: Marks;
  readonly sets: ReadonlyMap<string, AddressSet>;
  readonly local: LocalAddresses;
}

/** Whether `here` is what `match` asks for. */
export function matchHolds(match: Match, here: PacketHere, around: Surroundings): boolean {
  const { packet } = here;
  switch (match.kind) {
    case "family":
      return packet.family === match.family;
    case "protocol":
      return match.protocol === "tcpOrUdp"
        ? packet.protocol === "tcp" || packet.protocol === "udp"
        : packet.protocol === match.protocol;
    case "tcpFirst":
      return packet.protocol === "tcp" && packet.tcpFirst;
    case "ports": {
      const port = match.side === "destination" ? here.destinationPort : packet.sourcePort;
      return packet.protocol === match.protocol && containsPort(match.ports, port);
    }
    case "dontFragment":
      return packet.family === 4 && packet.dontFragment;
    case "destinationHere":
      return around.local.isHere(here.destination);
    case "address":
      return packet.family === match.family && isIn(match.prefix, addressOn(match.side, here));
    case "addressSet": {
      const set = around.sets.get(match.set);
      return set?.family === packet.family && lookupOf(set).has(addressOn(match.side, here));
    }
    case "incoming":
      return here.incoming === match.interface;
    case "outgoing":
      return here.outgoing === match.interface;
    case "mac":
      return here.mac === match.address;
    case "owner": {
      const id = here.owner?.[match.of];
      return id !== undefined && match.ids.first <= id && id <= match.ids.last;
    }
    case "cgroup":
      return here.owner !== null && `${here.owner.cgroup}/`.startsWith(`${match.path}/`);
    case "mark": {
      const mark = markOf(match.of, here);
      return mark !== undefined && (under(mark, around.marks.mask) === match.value) !== match.negate;
    }
    case "packetMark":
      return under(here.mark, match.match.mask) === match.match.value;
    case "foreignMark":
      return under(here.mark, ~ownBits(around.marks)) !== 0;
    case "socket":
      return here.socket !== null &&
        (match.property === "any" || (here.socket.transparent && !here.socket.wildcard));
    case "flowOriginal":
      return tracked(here)?.direction === "original";
    case "flowReply":
      return tracked(here)?.direction === "reply";
    case "flowSeen":
      return tracked(here)?.seen === true;
    case "flowNew":
      return tracked(here)?.isNew === true;
    case "flowRedirected":
      return typeof tracked(here)?.redirectedTo === "number";
    case "flowInvalid":
      // Before conntrack has looked, the kernel has no flow for any packet.
      return here.flow === null || here.flow.tracking === "invalid";
  }
}

/** The bits of a mark that are ours. */
function ownBits({ mask, dontFragment, fromHere }: Marks): number {
  return mask | dontFragment | fromHere;
}

/** JavaScript's bit operations give signed numbers, marks are not. */
function under(mark: number, mask: number): number {
  return (mark & mask) >>> 0;
}

function tracked({ flow }: PacketHere): TrackedFlow | undefined {
  return flow?.tracking === "tracked" ? flow : undefined;
}

function markOf(of: "packet" | "flow" | "socket", here: PacketHere): number | undefined {
  if (of === "packet") return here.mark;
  return of === "flow" ? tracked(here)?.mark : here.socket?.mark;
}

function addressOn(side: "destination" | "source", { packet, destination }: PacketHere): IpAddress {
  return side === "destination" ? destination : { family: packet.family, text: packet.source };
}

function isIn(prefix: string, address: IpAddress): boolean {
  const parsed = parsePrefix(prefix);
  return parsed !== undefined && prefixContains(parsed, address);
}
