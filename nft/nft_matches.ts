/**
 * A plan's matches as nft writes them. render_nft.ts makes rules of them.
 *
 * @module
 */
import type { IpFamily } from "../net/address.ts";
import { formatPortRange } from "../net/port_range.ts";
import type { Marks } from "./intent.ts";
import type { AddressSet, Match } from "./plan.ts";

/** What a match's text depends on besides the match. */
export interface MatchContext {
  readonly marks: Marks;
  readonly sets: readonly AddressSet[];
}

const PROTOCOLS = { tcp: "tcp", udp: "udp", tcpOrUdp: "{ tcp, udp }", icmp: "{ icmp, ipv6-icmp }" } as const;
const SIDES = { destination: "daddr", source: "saddr" } as const;
const PORT_SIDES = { destination: "dport", source: "sport" } as const;
const MARK_EXPRESSION = { packet: "meta mark", flow: "ct mark", socket: "socket mark" } as const;

/** Below this, nft looks for a cgroup's path when rules are loaded. */
export const CGROUP_ROOT = "/sys/fs/cgroup";

/** The text of one match. */
export function renderMatch(match: Match, context: MatchContext): string {
  const { marks } = context;
  switch (match.kind) {
    case "family":
      return `meta nfproto ${match.family === 4 ? "ipv4" : "ipv6"}`;
    case "protocol":
      return `meta l4proto ${PROTOCOLS[match.protocol]}`;
    case "tcpFirst":
      return "tcp flags & (fin | syn | rst | ack) == syn";
    case "ports":
      return `${match.protocol} ${PORT_SIDES[match.side]} { ${match.ports.map(formatPortRange).join(", ")} }`;
    case "dontFragment":
      return "ip frag-off & 0x4000 != 0";
    case "destinationHere":
      return "fib daddr type { local, broadcast, anycast, multicast }";
    case "address":
      return `${ipWord(match.family)} ${SIDES[match.side]} ${match.prefix}`;
    case "addressSet":
      return `${ipWord(setFamily(match.set, context))} ${SIDES[match.side]} @${match.set}`;
    case "incoming":
      return `iifname "${match.interface}"`;
    case "outgoing":
      return `oifname "${match.interface}"`;
    case "mac":
      return `ether saddr ${match.address}`;
    case "owner": {
      const { first, last } = match.ids;
      return `meta ${match.of === "uid" ? "skuid" : "skgid"} ${first === last ? first : `${first}-${last}`}`;
    }
    case "cgroup":
      return `socket cgroupv2 level ${match.path.split("/").length} "${match.path}"`;
    case "mark": {
      const sign = match.negate ? "!=" : "==";
      return `${MARK_EXPRESSION[match.of]} & ${hex(marks.mask)} ${sign} ${hex(match.value)}`;
    }
    case "packetMark":
      return `meta mark & ${hex(match.match.mask)} == ${hex(match.match.value)}`;
    case "foreignMark":
      return `meta mark & ${hex(~(marks.mask | marks.dontFragment | marks.fromHere))} != 0x00000000`;
    case "socket":
      // A listener on every address is transparent as well: nft_rules.ts sees to that. Whether there is a socket at
      // all can be asked only by way of something that every kind of socket has.
      return match.property === "transparent" ? "socket transparent 1" : "socket transparent { 0, 1 }";
    case "flowOriginal":
      return "ct direction original";
    case "flowReply":
      return "ct direction reply";
    case "flowSeen":
      return "ct status confirmed";
    case "flowNew":
      return "ct state new";
    case "flowRedirected":
      return "ct status dnat";
    case "flowInvalid":
      return "ct state invalid";
  }
}

/** The family that packets have that meet these matches, or undefined: nft's `tproxy` has to be told of it. */
export function matchedFamily(matches: readonly Match[], context: MatchContext): IpFamily | undefined {
  for (const match of matches) {
    if (match.kind === "family" || match.kind === "address") return match.family;
    if (match.kind === "addressSet") return setFamily(match.set, context);
    if (match.kind === "dontFragment") return 4;
  }
  return undefined;
}

/** nft's word for a family in expressions and statements. */
export function ipWord(family: IpFamily): "ip" | "ip6" {
  return family === 4 ? "ip" : "ip6";
}

/** A mark or mask, as 32 bits. */
export function hex(value: number): string {
  return `0x${(value >>> 0).toString(16).padStart(8, "0")}`;
}

function setFamily(name: string, { sets }: MatchContext): IpFamily {
  const set = sets.find((candidate) => candidate.name === name);
  if (set === undefined) {
    throw new Error(`address set: ${name} is asked for, but the plan has none of that name`);
  }
  return set.family;
}
