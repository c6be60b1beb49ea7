/**
 * Why a flow leaves as it does: the rules one after the other, in words, as people read a policy. Workers find the same
 * rule by another way (policy_table.ts).
 *
 * @module
 */
import {
  type Endpoint,
  formatIdRange,
  formatPortRange,
  type IpAddress,
  parsePrefix,
  type PortRange,
  prefixOf,
} from "../net/mod.ts";
import type { PolicyRule } from "./rule.ts";

/** A flow as it is asked about. */
export interface AskedFlow {
  readonly network: "tcp" | "udp";
  readonly source: Endpoint;
  readonly destination: Endpoint;
  /** Index of the interface that it comes in by; undefined: not known, or this host's own. */
  readonly interface: number | undefined;
  /** User that owns the sending socket; undefined: not known, or another host's. */
  readonly uid: number | undefined;
  /** undefined: not known. */
  readonly dscp: number | undefined;
}

/** What the policy says of a flow. */
export interface PolicyExplanation {
  /** The rule that decides, counted from 0; undefined: none is about the flow. */
  readonly rule: number | undefined;
  /** Number of its route. */
  readonly route: number | undefined;
  /** Why that rule: what of the flow each of its filters names. */
  readonly because: string;
  /** Why each rule before does not decide, in their order: the first of its filters that does not name the flow. */
  readonly notBefore: readonly string[];
}

/** Prefixes or ranges that are written out; of longer lists only how many there are. */
const WRITTEN_OUT = 4;

/**
 * Goes through the rules until one decides.
 *
 * @param interfaceName what people call the interface of an index.
 */
export function explainPolicy(
  rules: readonly PolicyRule[],
  flow: AskedFlow,
  interfaceName: (index: number) => string = String,
): PolicyExplanation {
  const notBefore: string[] = [];
  for (const [i, rule] of rules.entries()) {
    const answers = ask(rule, flow, interfaceName);
    const refusal = answers.find(({ holds }) => !holds);
    if (refusal === undefined) {
      const because = answers.map(({ text }) => text).join(", ") || "it is about every flow";
      return { rule: i, route: rule.to, because, notBefore };
    }
    notBefore.push(refusal.text);
  }
  return { rule: undefined, route: undefined, because: "no rule is about it", notBefore };
}

/** What one filter says. */
interface Answer {
  readonly holds: boolean;
  readonly text: string;
}

/** Of each filter that asks something. */
function ask(rule: PolicyRule, flow: AskedFlow, interfaceName: (index: number) => string): Answer[] {
  const { network, source, destination } = flow;
  return [
    rule.network && {
      holds: rule.network === network,
      text: rule.network === network
        ? `is ${network}`
        : `it is ${network}, the rule is about ${rule.network}`,
    },
    rule.destinations && askPrefixes("destination", rule.destinations, destination.address),
    rule.destinationPorts && askRanges("destination port", rule.destinationPorts, destination.port),
    rule.sources && askPrefixes("source", rule.sources, source.address),
    rule.sourcePorts && askRanges("source port", rule.sourcePorts, source.port),
    rule.interfaces &&
    askFact(
      "incoming interface",
      rule.interfaces.map(interfaceName),
      flow.interface,
      (index) => rule.interfaces!.includes(index),
      interfaceName,
    ),
    rule.dscp &&
    askFact("DSCP", rule.dscp.map(String), flow.dscp, (codepoint) => rule.dscp!.includes(codepoint)),
    rule.uids &&
    askFact(
      "user",
      rule.uids.map(formatIdRange),
      flow.uid,
      (uid) => rule.uids!.some(({ first, last }) => first <= uid && uid <= last),
    ),
  ].filter((answer) => answer !== undefined);
}

function askPrefixes(what: string, prefixes: readonly string[], address: IpAddress): Answer {
  // The longest of them says most.
  let found: string | undefined, longest = -1;
  for (const text of prefixes) {
    const prefix = parsePrefix(text);
    if (prefix === undefined || prefix.family !== address.family || prefix.length <= longest) continue;
    if (prefixOf(address, prefix.length).text !== prefix.text) continue;
    found = prefix.text;
    longest = prefix.length;
  }
  return found === undefined
    ? { holds: false, text: `${what} ${address.text} is not in ${listing(prefixes, "prefixes")}` }
    : { holds: true, text: `${what} ${address.text} is in ${found}` };
}

function askRanges(what: string, ranges: readonly PortRange[], port: number): Answer {
  const found = ranges.find(({ first, last }) => first <= port && port <= last);
  return found === undefined
    ? { holds: false, text: `${what} ${port} is not in ${listing(ranges.map(formatPortRange), "ranges")}` }
    : { holds: true, text: `${what} ${port} is in ${formatPortRange(found)}` };
}

function askFact(
  what: string,
  wanted: readonly string[],
  value: number | undefined,
  isNamed: (value: number) => boolean,
  nameOf: (value: number) => string = String,
): Answer {
  if (value === undefined) {
    return { holds: false, text: `its ${what} is not known, ${listing(wanted, "values")} wanted` };
  }
  return isNamed(value)
    ? { holds: true, text: `${what} is ${nameOf(value)}` }
    : { holds: false, text: `${what} is ${nameOf(value)}, ${listing(wanted, "values")} wanted` };
}

function listing(items: readonly string[], what: string): string {
  if (items.length === 0) return "an empty list";
  return items.length <= WRITTEN_OUT ? items.join(", ") : `${items.length} ${what}`;
}
