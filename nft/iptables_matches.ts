/**
 * Matches → iptables words. Where iptables cannot say "one of these" in one rule, a rule of the plan becomes several:
 * verdicts are terminal, so several rules with one verdict are one rule with an "or" in it.
 *
 * @module
 */
import { type IpFamily, parseAddress } from "../net/address.ts";
import type { PortRange } from "../net/port_range.ts";
import { parsePrefix, prefixContains } from "../net/prefix.ts";
import type { Marks } from "./intent.ts";
import type { AddressSet, Match } from "./plan.ts";
import { ipsetName, isIpset } from "./render_ipset.ts";

/** What a match is rendered for. */
export interface MatchContext {
  readonly family: IpFamily;
  readonly marks: Marks;
  readonly tableName: string;
  readonly sets: ReadonlyMap<string, AddressSet>;
}

/** As `-p` names them. */
type Protocol = "tcp" | "udp" | "icmp";

/** A multiport match holds so many ports; a range takes the room of two (xt_multiport.h). */
const MULTIPORT_SLOTS = 15;

/** What all matches of one rule come to. */
class Conditions {
  /** Undefined: any, so no `-p`. */
  protocols: readonly Protocol[] | undefined;
  readonly interfaces: { incoming?: string; outgoing?: string } = {};
  readonly prefixes: { destination?: readonly string[]; source?: readonly string[] } = {};
  /** Of the words of each entry one has to hold. */
  readonly choices: (readonly string[])[] = [];
  /** Some match cannot hold. */
  isNever = false;

  limitProtocols(to: readonly Protocol[]): void {
    this.protocols = (this.protocols ?? to).filter((protocol) => to.includes(protocol));
  }

  limitInterface(way: "incoming" | "outgoing", name: string): void {
    if ((this.interfaces[way] ?? name) !== name) this.isNever = true;
    this.interfaces[way] = name;
  }

  /** iptables takes one `-s` and one `-d` a rule. */
  limitPrefixes(side: "destination" | "source", to: readonly string[]): void {
    const before = this.prefixes[side];
    this.prefixes[side] = before === undefined ? to : before.flatMap((a) => to.flatMap((b) => overlap(a, b)));
  }

  /** The words of each rule that is needed, in order. */
  render(family: IpFamily): string[] {
    if (this.isNever) return [];
    const { incoming, outgoing } = this.interfaces;
    const words = (flag: string, values: readonly string[] | undefined) =>
      values?.map((value) => `${flag} ${value}`) ?? [""];
    const protocols = this.protocols?.map((name) => name === "icmp" && family === 6 ? "ipv6-icmp" : name);
    return [
      words("-i", incoming === undefined ? undefined : [restoreWord(incoming)]),
      words("-o", outgoing === undefined ? undefined : [restoreWord(outgoing)]),
      words("-s", this.prefixes.source),
      words("-d", this.prefixes.destination),
      words("-p", protocols),
      ...this.choices,
    ].reduce<string[]>((rules, choice) => rules.flatMap((rule) => choice.map((one) => joined(rule, one))), [
      "",
    ]);
  }
}

/**
 * The words of the rules that together match what all of `matches` do; none when nothing of that family can.
 *
 * @param protocols what the verdict demands of `-p`; undefined: nothing.
 */
export function renderMatches(
  matches: readonly Match[],
  context: MatchContext,
  protocols: readonly ("tcp" | "udp")[] | undefined,
): string[] {
  const conditions = new Conditions();
  const asksSocketMark = matches.some(isSocketMark);
  for (const match of matches) {
    // The rule's match on the socket's mark looks the same socket up.
    if (isTransparent(match) && asksSocketMark) continue;
    addMatch(match, { ...context, isTransparent: matches.some(isTransparent) }, conditions);
  }
  if (protocols !== undefined) conditions.limitProtocols(protocols);
  return conditions.render(context.family);
}

function isTransparent(match: Match): boolean {
  return match.kind === "socket" && match.property === "transparent";
}

/** Whether rendering it writes to the packet's mark. */
export function isSocketMark(match: Match): boolean {
  return match.kind === "mark" && match.of === "socket";
}

/** A word as iptables-restore reads it: quoted where it has to be. */
export function restoreWord(word: string): string {
  return /^[\w./:@%+=,-]+$/.test(word) ? word : `"${word.replace(/["\\]/g, "\\$&")}"`;
}

/** An unsigned number as iptables-save prints marks. */
export function hex(value: number): string {
  return `0x${(value >>> 0).toString(16)}`;
}

function addMatch(
  match: Match,
  context: MatchContext & { readonly isTransparent: boolean },
  to: Conditions,
): void {
  const { family, marks } = context;
  switch (match.kind) {
    case "family":
      if (match.family !== family) to.isNever = true;
      break;
    case "protocol":
      to.limitProtocols(match.protocol === "tcpOrUdp" ? ["tcp", "udp"] : [match.protocol]);
      break;
    case "tcpFirst":
      to.limitProtocols(["tcp"]);
      to.choices.push(["-m tcp --tcp-flags FIN,SYN,RST,ACK SYN"]);
      break;
    case "ports":
      to.limitProtocols([match.protocol]);
      to.choices.push(multiport(match.side, match.ports));
      break;
    case "dontFragment":
      // Bytes 4 to 7 of an IPv4 header: identification, flags, fragment offset.
      if (family === 4) to.choices.push([`-m u32 --u32 "0x4&0x4000=0x4000"`]);
      else to.isNever = true;
      break;
    case "destinationHere":
      to.choices.push(DESTINATION_HERE[family]);
      break;
    case "address":
      if (match.family === family) to.limitPrefixes(match.side, [match.prefix]);
      else to.isNever = true;
      break;
    case "addressSet":
      addSet(match.side, match.set, context, to);
      break;
    case "incoming":
    case "outgoing":
      to.limitInterface(match.kind, match.interface);
      break;
    case "mac":
      to.choices.push([`-m mac --mac-source ${match.address}`]);
      break;
    case "owner": {
      const { first, last } = match.ids;
      to.choices.push([`-m owner --${match.of}-owner ${first === last ? first : `${first}-${last}`}`]);
      break;
    }
    case "cgroup":
      to.choices.push([`-m cgroup --path ${restoreWord(match.path)}`]);
      break;
    case "mark":
      to.choices.push([markWords(match.of, match.value, match.negate, marks.mask, context.isTransparent)]);
      break;
    case "packetMark":
      to.choices.push([`-m mark --mark ${hex(match.match.value)}/${hex(match.match.mask)}`]);
      break;
    case "foreignMark":
      to.choices.push([`-m mark ! --mark 0x0/${hex(~ownBits(marks))}`]);
      break;
    case "socket":
      to.choices.push([match.property === "any" ? "-m socket --nowildcard" : "-m socket --transparent"]);
      break;
    case "flowOriginal":
      to.choices.push(["-m conntrack --ctdir ORIGINAL"]);
      break;
    case "flowReply":
      to.choices.push(["-m conntrack --ctdir REPLY"]);
      break;
    case "flowSeen":
      to.choices.push(["-m conntrack --ctstatus CONFIRMED"]);
      break;
    case "flowNew":
      to.choices.push(["-m conntrack --ctstate NEW"]);
      break;
    case "flowRedirected":
      to.choices.push(["-m conntrack --ctstate DNAT"]);
      break;
    case "flowInvalid":
      to.choices.push(["-m conntrack --ctstate INVALID"]);
      break;
  }
}

/**
 * IPv6 has no broadcast, and xt_addrtype wants an address that is multicast *and* local when a rule names both
 * (match_type6), so multicast has a rule of its own.
 */
const DESTINATION_HERE: Readonly<Record<IpFamily, readonly string[]>> = {
  4: ["-m addrtype --dst-type LOCAL,BROADCAST,ANYCAST,MULTICAST"],
  6: ["-m addrtype --dst-type MULTICAST", "-m addrtype --dst-type LOCAL,ANYCAST"],
};

function addSet(
  side: "destination" | "source",
  name: string,
  { family, sets, tableName }: MatchContext,
  to: Conditions,
): void {
  const set = sets.get(name);
  if (set?.family !== family) to.isNever = true;
  else if (isIpset(set)) {
    to.choices.push([
      `-m set --match-set ${ipsetName(tableName, name)} ${side === "destination" ? "dst" : "src"}`,
    ]);
  } else to.limitPrefixes(side, set.prefixes);
}

/** Ports in as many matches as they need. */
function multiport(side: "destination" | "source", ports: readonly PortRange[]): string[] {
  const chunks: string[][] = [];
  let free = 0;
  for (const { first, last } of ports) {
    const slots = first === last ? 1 : 2;
    if (slots > free) {
      chunks.push([]);
      free = MULTIPORT_SLOTS;
    }
    chunks.at(-1)!.push(first === last ? `${first}` : `${first}:${last}`);
    free -= slots;
  }
  const flag = side === "destination" ? "--dports" : "--sports";
  return chunks.map((chunk) => `-m multiport ${flag} ${chunk.join(",")}`);
}

/**
 * No match asks for a socket's mark. But xt_socket can give it to the packet, at once, so the next match of the same
 * rule sees it. It gives all of it. A packet of a socket with another mark goes on with that mark, so plans ask this
 * only of what comes from other hosts, where no mark of ours is on a packet yet.
 */
function markWords(
  of: "packet" | "flow" | "socket",
  value: number,
  negate: boolean,
  mask: number,
  isTransparent: boolean,
): string {
  const sign = negate ? "! " : "";
  const wanted = `${hex(value)}/${hex(mask)}`;
  if (of === "flow") return `-m connmark ${sign}--mark ${wanted}`;
  // Without --nowildcard sockets that are bound to no address would not count.
  const found = isTransparent ? "--transparent" : "--nowildcard";
  const restore = of === "socket" ? `-m socket ${found} --restore-skmark ` : "";
  return `${restore}-m mark ${sign}--mark ${wanted}`;
}

/** The bits of a mark that are ours. */
function ownBits({ mask, dontFragment, fromHere }: Marks): number {
  return mask | dontFragment | fromHere;
}

/** The addresses that two prefixes share: the smaller one, or none. */
function overlap(a: string, b: string): string[] {
  const [first, second] = [parsePrefix(a), parsePrefix(b)];
  if (first === undefined || second === undefined) return [];
  const [wide, narrow] = first.length <= second.length ? [first, second] : [second, first];
  const address = parseAddress(narrow.text.slice(0, narrow.text.lastIndexOf("/")));
  return address !== undefined && prefixContains(wide, address) ? [narrow.text] : [];
}

function joined(a: string, b: string): string {
  return a === "" || b === "" ? a + b : `${a} ${b}`;
}
