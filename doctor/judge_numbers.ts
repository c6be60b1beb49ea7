/**
 * Whether somebody else uses our numbers: bits of marks, the routing table, the protocol, the place among the routing
 * rules, the conntrack zone.
 *
 * @module
 */
import { UPSTREAM_ZONE } from "../nft/build_keep.ts";
import { hex } from "../nft/nft_matches.ts";
import { type Finding, finding, fine } from "./findings.ts";
import { describeTable, everyRule, type FirewallChain, type FirewallTable } from "./firewall.ts";
import type { HostFacts } from "./host_facts.ts";
import type { IpRuleFact } from "./ip_listing.ts";
import { type MarkUse, markUses } from "./mark_uses.ts";
import { isOurChain } from "./ourselves.ts";
import { ourBits, type Subject, usesTproxy } from "./subject.ts";

/** Judges them. */
export function judgeNumbers(facts: HostFacts, subject: Subject): Finding[] {
  return [
    ...judgeMarks(facts, subject),
    ...judgeRuleMarks(facts, subject),
    ...judgeOrder(facts, subject),
    ...judgeTable(facts, subject),
    ...judgeProtocol(facts, subject),
    ...judgeZone(facts, subject),
  ];
}

const ALL_BITS = 0xffffffff;
/** Of rules with the same fault; the rest is a number. */
const SHOWN = 3;

function isOurs(rule: IpRuleFact, { intent }: Subject): boolean {
  return rule.protocol === intent.routeProtocol && rule.table === intent.routeTable;
}

function judgeMarks(facts: HostFacts, { intent }: Subject): Finding[] {
  const bits = ourBits(intent.marks);
  const direct: string[] = [], wholesale: string[] = [];
  for (const { table, chain, rule } of everyRule(facts.firewall)) {
    if (isOurChain(table, chain)) continue;
    const uses = markUses(table.tool, rule.text);
    const where = `${describeTable(table)}, chain ${chain.name}: ${rule.text}`;
    if (uses.some((one) => isDirect(one, bits))) direct.push(where);
    else if (uses.some(({ does, bits: written }) => does === "writes" && (written & bits) !== 0)) {
      wholesale.push(where);
    }
  }
  return [
    direct.length === 0
      ? fine("numbers.marks", `no rule asks for or sets our bits of marks (${hex(bits)})`)
      : finding("error", "numbers.marks", {
        found: `rules of others use our bits of marks (${hex(bits)}): ${some(direct)}`,
        breaks: "both: their packets are taken for ours, ours for theirs",
        mend: "give the other program's marks bits outside of " + hex(bits),
      }),
    ...(wholesale.length === 0 ? [] : [finding("warning", "numbers.marks-overwritten", {
      found: `rules of others write all of a mark: ${some(wholesale)}`,
      breaks:
        "interception of the packets that they are about: our mark on them is lost, and they do not reach us",
      mend:
        "write no more than the bits that are meant: --set-xmark V/MASK, --restore-mark --nfmask MASK --ctmask " +
        "MASK, or nft `meta mark set meta mark & ~MASK | V`",
    })]),
  ];
}

/** Bits of ours are meant, and not merely hit because the whole mark is. */
function isDirect({ bits: used, value }: MarkUse, bits: number): boolean {
  return (value & bits) !== 0 || used !== ALL_BITS && (used & bits) !== 0 && !isComplement(used);
}

/** Written by one that keeps its own few bits and clears all others: it means none of ours. */
function isComplement(used: number): boolean {
  return used.toString(2).replaceAll("0", "").length > 16;
}

function judgeRuleMarks(facts: HostFacts, subject: Subject): Finding[] {
  const bits = ourBits(subject.intent.marks);
  const found = facts.ipRules.filter((rule) =>
    !isOurs(rule, subject) && rule.mark !== undefined &&
    ((rule.mark.value & bits) !== 0 || rule.mark.mask !== ALL_BITS && (rule.mark.mask & bits) !== 0)
  );
  if (found.length === 0) {
    return [fine("numbers.rule-marks", "no routing rule of others asks for our bits of marks")];
  }
  return [finding("error", "numbers.rule-marks", {
    found: `routing rules of others ask for our bits of marks: ${some(found.map(({ text }) => text))}`,
    breaks: "TPROXY: marked packets are routed there instead of to us, and what our sockets send may be too",
    mend: `ip -${found[0]!.family} rule del pref ${found[0]!.preference}`,
  })];
}

/** A rule before ours that matches takes marked packets out by an interface, where they are lost. */
function judgeOrder(facts: HostFacts, subject: Subject): Finding[] {
  const { intent } = subject;
  const { rulePreference } = intent;
  const mark = intent.marks.intercept;
  const early = facts.ipRules.filter((rule) =>
    rule.preference > 0 && rule.preference <= rulePreference && !isOurs(rule, subject) &&
    rule.table !== LOCAL_TABLE &&
    (rule.mark === undefined || ((mark & rule.mark.mask) >>> 0 === rule.mark.value) !== rule.negated)
  );
  if (early.length === 0 || !usesTproxy(subject)) {
    return [
      fine(
        "numbers.preference",
        `no routing rule that would take marked packets is before ours (${rulePreference})`,
      ),
    ];
  }
  const isSure = early.some((rule) => !rule.asksMore && rule.incoming === undefined && !rule.suppressed);
  return [finding(isSure ? "error" : "warning", "numbers.preference", {
    found: `routing rules before ours (${rulePreference}): ${some(early.map(({ text }) => text))}`,
    breaks:
      "TPROXY: marked packets are routed by them instead of to us. `ip rule add` without a preference puts a " +
      "rule before all others: so does wg-quick, when it starts after us",
    mend: moveBehind(early[0]!),
  })];
}

/** Behind our rules, and before those of the kernel (main: 32766). */
const LATER = 32_000;

function moveBehind({ family, words, preference }: IpRuleFact): string {
  return `ip -${family} rule add pref ${LATER} ${words} && ip -${family} rule del pref ${preference}`;
}

/** RT_TABLE_LOCAL. */
const LOCAL_TABLE = 255;

function judgeTable(facts: HostFacts, subject: Subject): Finding[] {
  const { routeTable, routeProtocol } = subject.intent;
  const routes = facts.routes.filter(({ table, protocol }) =>
    table === routeTable && protocol !== routeProtocol
  );
  const rules = facts.ipRules.filter((rule) => rule.table === routeTable && !isOurs(rule, subject));
  if (routes.length + rules.length === 0) {
    return [fine("numbers.table", `routing table ${routeTable} is free`)];
  }
  const { family } = [...routes, ...rules][0]!;
  return [finding("error", "numbers.table", {
    found: `routing table ${routeTable} is used by others: ${
      some([...routes, ...rules].map(({ text }) => text))
    }`,
    breaks: "the start: somebody else's routes are not replaced, and our packets would be routed by them",
    mend: routes.length > 0
      ? `ip -${family} route del ${routes[0]!.text}`
      : `ip -${family} rule del pref ${rules[0]!.preference}`,
  })];
}

function judgeProtocol(facts: HostFacts, subject: Subject): Finding[] {
  const { routeTable, routeProtocol } = subject.intent;
  const foreign = [...facts.routes, ...facts.ipRules].filter(({ table, protocol }) =>
    protocol === routeProtocol && table !== routeTable
  );
  if (foreign.length === 0) {
    return [fine("numbers.protocol", `nobody else has protocol number ${routeProtocol}`)];
  }
  return [finding("error", "numbers.protocol", {
    found: `routes or routing rules of others have our protocol number ${routeProtocol}: ${
      some(foreign.map(({ text }) => text))
    }`,
    breaks: "theirs: `rules cleanup`, and a start, take them for what we have left behind and remove them",
    mend: "add them again with another number: ip route replace … proto static",
  })];
}

function judgeZone(facts: HostFacts, { intent }: Subject): Finding[] {
  const pattern = new RegExp(`\\b(?:zone set|--zone(?:-orig|-reply)?) ${UPSTREAM_ZONE}\\b`);
  const found: string[] = [];
  for (const { table, chain, rule } of everyRule(facts.firewall)) {
    if (pattern.test(rule.text) && !isOurChain(table, chain)) found.push(whereIs(table, chain));
  }
  if (found.length === 0) return [fine("numbers.zone", `nobody else uses conntrack zone ${UPSTREAM_ZONE}`)];
  const isUsed = intent.source === "keep" || (intent.sidecar?.dns ?? null) !== null;
  return [finding(isUsed ? "error" : "info", "numbers.zone", {
    found: `conntrack zone ${UPSTREAM_ZONE} is used by others: ${some(found)}`,
    breaks: "--source keep and a sidecar's DNS: two connections with one five-tuple are taken for one",
    mend: "give the other program another zone",
  })];
}

function whereIs(table: FirewallTable, chain: FirewallChain): string {
  return `${describeTable(table)}, chain ${chain.name}`;
}

function some(texts: readonly string[]): string {
  const rest = texts.length - SHOWN;
  return texts.slice(0, SHOWN).join("; ") + (rest > 0 ? `; and ${rest} more` : "");
}
