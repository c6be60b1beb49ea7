/**
 * Who else has rules here: known programs by name, and whoever else intercepts.
 *
 * @module
 */
import { type Finding, finding, fine } from "./findings.ts";
import { describeTable, everyRule } from "./firewall.ts";
import type { HostFacts } from "./host_facts.ts";
import { type Neighbour, NEIGHBOURS } from "./neighbours.ts";
import { isOurChain, ourTables } from "./ourselves.ts";
import type { Subject } from "./subject.ts";

/** Judges them. */
export function judgeNeighbours(facts: HostFacts, subject: Subject): Finding[] {
  return [
    ...judgeOurselves(facts),
    ...NEIGHBOURS.flatMap((neighbour) => judgeNeighbour(neighbour, facts, subject)),
    judgeOtherProxies(facts),
  ];
}

function judgeOurselves(facts: HostFacts): Finding[] {
  const ours = ourTables(facts.firewall, facts.livingHolders);
  const held = ours.filter(({ isHeld }) => isHeld).map(({ table }) => describeTable(table));
  const left = ours.filter(({ isHeld }) => !isHeld).map(({ table }) => describeTable(table));
  return [
    ...(held.length === 0 ? [] : [finding("info", "neighbours.ourselves", {
      found: `rules of a running pellucid: ${held.join(", ")}`,
      breaks: "a second one with the same numbers: it waits for the first, or fails",
      mend: null,
    })]),
    ...(left.length === 0 ? [] : [finding("info", "neighbours.left", {
      found: `rules of ours that belong to no running process: ${left.join(", ")}`,
      breaks:
        "nothing if they are to be there (`rules apply`, --on-proxy-down closed); otherwise traffic goes on being " +
        "taken, or dropped",
      mend: "pellucid rules cleanup",
    })]),
    ...(ours.length === 0 ? [fine("neighbours.ourselves", "no rules of ours are in place")] : []),
  ];
}

function judgeNeighbour(neighbour: Neighbour, facts: HostFacts, subject: Subject): Finding[] {
  const signs = signsOf(neighbour, facts);
  if (signs.length === 0) return [];
  return [finding(neighbour.matters(subject) ? "warning" : "info", `neighbours.${neighbour.id}`, {
    found: `${neighbour.name}: ${signs.join("; ")}`,
    breaks: neighbour.breaks,
    mend: neighbour.mend,
  })];
}

const SHOWN = 3;

function signsOf({ isTable, isChain, isRule }: Neighbour, { firewall, ipRules }: HostFacts): string[] {
  const signs = new Set<string>();
  for (const table of firewall) {
    if (isTable?.(table) === true) signs.add(describeTable(table));
    for (const chain of table.chains) {
      if (isChain?.(chain) === true) signs.add(`${describeTable(table)}, chain ${chain.name}`);
    }
  }
  for (const rule of ipRules) {
    if (isRule?.(rule) === true) signs.add(`ip rule ${rule.text}`);
  }
  const all = [...signs];
  return all.length <= SHOWN ? all : [...all.slice(0, SHOWN), `and ${all.length - SHOWN} more`];
}

const INTERCEPTS = /\btproxy (?:ip6? )?to\b|\bredirect to\b|-j (?:TPROXY|REDIRECT)\b/;

function judgeOtherProxies({ firewall }: HostFacts): Finding {
  const found = new Set<string>();
  for (const { table, chain, rule } of everyRule(firewall)) {
    // A redirect of DNS to a resolver here, or of one port to another, is the same to us.
    if (INTERCEPTS.test(rule.text) && !isOurChain(table, chain)) {
      found.add(`${describeTable(table)}, chain ${chain.name}: ${rule.text}`);
    }
  }
  if (found.size === 0) return fine("neighbours.proxies", "nobody else intercepts");
  const all = [...found];
  return finding("warning", "neighbours.proxies", {
    found: `somebody else intercepts: ${all.slice(0, SHOWN).join("; ")}${
      all.length > SHOWN ? `; and ${all.length - SHOWN} more` : ""
    }`,
    breaks:
      "what both want: a TPROXY rule in mangle is met before any redirect, and of two at one place the order " +
      "in which they were made decides",
    mend:
      "stop the other proxy, or leave its traffic to it: pellucid run --exclude-cidr, --tcp-ports, --udp-ports",
  });
}
