/**
 * What a rule of somebody else asks of an arriving packet, and what it does then. Conditions are judged for
 * intercepted traffic as a whole, to whichever address and port: one on a port or a destination does not hold.
 *
 * @module
 */
import type { FirewallTool } from "./firewall.ts";

/** The first packet of an intercepted flow, as an input chain meets it. */
export interface ArrivingPacket {
  readonly family: "ip" | "ip6";
  readonly protocol: "tcp" | "udp";
  readonly incoming: string;
  readonly mark: number;
  /** Its destination was rewritten to this host's. */
  readonly redirected: boolean;
}

/** `unknown`: it depends on what is not known here, such as the client's address. */
export type Answer = "yes" | "no" | "unknown";

/** What a rule does with the packets it is about. */
export type RuleVerdict =
  | { readonly kind: "accept" | "drop" | "return" }
  | { readonly kind: "jump" | "goto"; readonly chain: string }
  /** The next rule decides. */
  | { readonly kind: "none" };

/** A rule, read for one packet. */
export interface RuleReading {
  readonly holds: Answer;
  readonly verdict: RuleVerdict;
}

/** Reads a rule's text. */
export function readRuleFor(packet: ArrivingPacket, tool: FirewallTool, text: string): RuleReading {
  return tool === "nft" ? readNft(packet, text) : readIptables(packet, text);
}

type Judge = (packet: ArrivingPacket, found: RegExpExecArray) => Answer;

const NONE: RuleVerdict = { kind: "none" };
const answer = (holds: boolean): Answer => holds ? "yes" : "no";

/** The values of `"a"`, `{ "a", "b" }` or `a,b`. */
function values(text: string): string[] {
  return text.replace(/[{}"]/g, "").split(",").map((word) => word.trim());
}

function isNamed(names: readonly string[], name: string): boolean {
  return names.some((one) => /[*+]$/.test(one) ? name.startsWith(one.slice(0, -1)) : one === name);
}

function isNew(states: readonly string[]): boolean {
  return states.some((state) => state.toLowerCase() === "new");
}

const SET = String.raw`(\{ [^}]* \}|"[^"]*"|[^\s{"]+)`;
/** In the order in which they are tried at each place of the text. */
const NFT_CONDITIONS: readonly (readonly [RegExp, Judge])[] = [
  [
    new RegExp(`^iif(?:name)? (!= )?${SET}`),
    ({ incoming }, [, not, names]) => answer(isNamed(values(names!), incoming) === (not === undefined)),
  ],
  [
    new RegExp(`^ct state (!= )?${SET}`),
    (_packet, [, not, states]) => answer(isNew(values(states!)) === (not === undefined)),
  ],
  [
    new RegExp(`^ct status (!= )?${SET}`),
    ({ redirected }, [, not, states]) =>
      answer((redirected && values(states!).includes("dnat")) === (not === undefined)),
  ],
  [
    /^meta mark & (0x[0-9a-f]+) (==|!=) (0x[0-9a-f]+)/,
    ({ mark }, [, mask, relation, value]) =>
      answer(((mark & Number(mask)) >>> 0 === Number(value)) === (relation === "==")),
  ],
  [
    /^meta mark (!= )?(0x[0-9a-f]+)/,
    ({ mark }, [, not, value]) => answer((mark === Number(value)) === (not === undefined)),
  ],
  [
    new RegExp(`^(?:meta l4proto|ip protocol|ip6 nexthdr) (!= )?${SET}`),
    ({ protocol }, [, not, names]) => answer(values(names!).includes(protocol) === (not === undefined)),
  ],
  [/^meta nfproto (ipv4|ipv6)/, ({ family }, [, name]) => answer((name === "ipv6") === (family === "ip6"))],
  [
    /^fib daddr type (!= )?local/,
    ({ redirected }, [, not]) => answer(redirected === (not === undefined)),
  ],
  [new RegExp(`^(?:tcp|udp|th) dport (?:!= )?${SET}`), () => "no"],
  [new RegExp(`^ip6? daddr (?:!= )?${SET}`), ({ redirected }) => redirected ? "unknown" : "no"],
  [new RegExp(`^icmp(?:v6)? \\w+ (?:!= )?${SET}`), () => "no"],
  [
    /^log(?: (?:prefix "[^"]*"|level \w+|flags [\w ,]+|group \d+|snaplen \d+|queue-threshold \d+))*/,
    () => "yes",
  ],
];
const NFT_VERDICT = /(?:^| )(?:(accept|drop|return)|reject(?: with .*)?|(jump|goto) (\S+))$/;
const NFT_MAP = /^(iif(?:name)?|ct state|meta l4proto|ip protocol) vmap \{ (.*) \}$/;

function readNft(packet: ArrivingPacket, text: string): RuleReading {
  const map = NFT_MAP.exec(text);
  if (map !== null) return readNftMap(packet, map[1]!, map[2]!);
  const ending = NFT_VERDICT.exec(text);
  const verdict = ending === null ? NONE : nftVerdict(ending);
  const conditions = ending === null ? text : text.slice(0, ending.index);
  return { holds: judgeAll(packet, conditions.trim(), NFT_CONDITIONS), verdict };
}

function nftVerdict([, plain, way, chain]: RegExpExecArray): RuleVerdict {
  if (way !== undefined) return { kind: way as "jump" | "goto", chain: chain! };
  return { kind: (plain ?? "drop") as "accept" | "drop" | "return" };
}

function readNftMap(packet: ArrivingPacket, key: string, entries: string): RuleReading {
  const wanted = key === "ct state" ? "new" : key.startsWith("iif") ? packet.incoming : packet.protocol;
  for (const entry of entries.split(/, /)) {
    const [name = "", does = ""] = entry.split(" : ");
    const found = NFT_VERDICT.exec(does.trim());
    if (found !== null && isNamed(values(name), wanted)) return { holds: "yes", verdict: nftVerdict(found) };
  }
  return { holds: "no", verdict: NONE };
}

const IPTABLES_CONDITIONS: readonly (readonly [RegExp, Judge])[] = [
  [
    /^(! )?-i (\S+)/,
    ({ incoming }, [, not, name]) => answer(isNamed([name!], incoming) === (not === undefined)),
  ],
  [
    /^(! )?-p (\S+)/,
    ({ protocol }, [, not, name]) => answer(name === protocol === (not === undefined)),
  ],
  // The match by itself says nothing; its options follow.
  [/^-m (?:mark|conntrack|state|addrtype|tcp|udp|multiport)\b/, () => "yes"],
  [
    /^(! )?--mark (0x[0-9a-f]+)(?:\/(0x[0-9a-f]+))?/,
    ({ mark }, [, not, value, mask = "0xffffffff"]) =>
      answer(((mark & Number(mask)) >>> 0 === Number(value)) === (not === undefined)),
  ],
  [
    /^(! )?--(?:ctstate|state) (\S+)/,
    ({ redirected }, [, not, states]) => {
      const names = values(states!);
      return answer((isNew(names) || redirected && names.includes("DNAT")) === (not === undefined));
    },
  ],
  [
    /^(! )?--dst-type LOCAL/,
    ({ redirected }, [, not]) => answer(redirected === (not === undefined)),
  ],
  [/^(?:! )?--dst-type \S+/, () => "no"],
  [/^(?:! )?--(?:dports?|icmp-type|icmpv6-type) \S+/, () => "no"],
  [/^(?:! )?-d \S+/, ({ redirected }) => redirected ? "unknown" : "no"],
];

function readIptables(packet: ArrivingPacket, text: string): RuleReading {
  const target = /(?:^| )-(j|g) (\S+)/.exec(text);
  const conditions = target === null ? text : text.slice(0, target.index);
  const verdict = target === null ? NONE : iptablesVerdict(target[1]!, target[2]!);
  return { holds: judgeAll(packet, conditions.trim(), IPTABLES_CONDITIONS), verdict };
}

function iptablesVerdict(option: string, target: string): RuleVerdict {
  switch (target) {
    case "ACCEPT":
      return { kind: "accept" };
    case "DROP":
    case "REJECT":
      return { kind: "drop" };
    case "RETURN":
      return { kind: "return" };
    default:
      // Also a target that is no chain: it is looked for and not found.
      return { kind: option === "g" ? "goto" : "jump", chain: target };
  }
}

/** One that does not hold settles it, also after one that nothing is known of. */
function judgeAll(
  packet: ArrivingPacket,
  text: string,
  conditions: readonly (readonly [RegExp, Judge])[],
): Answer {
  let all: Answer = "yes";
  for (let rest = text; rest !== "";) {
    const [length, holds] = judgeFirst(packet, rest, conditions);
    if (holds === "no") return "no";
    if (holds === "unknown") all = "unknown";
    rest = rest.slice(length).trimStart();
  }
  return all;
}

function judgeFirst(
  packet: ArrivingPacket,
  text: string,
  conditions: readonly (readonly [RegExp, Judge])[],
): readonly [length: number, holds: Answer] {
  for (const [pattern, judge] of conditions) {
    const found = pattern.exec(text);
    if (found !== null) return [found[0].length, judge(packet, found)];
  }
  return [/^\S+/.exec(text)![0].length, "unknown"];
}
