/**
 * Which rules of a policy the kernel can decide by itself, so that what they let leave directly never comes here.
 *
 * In the order of the rules, one to the plain direct way becomes "pass", any other "take": what the kernel takes is
 * decided here as ever, so a verdict "take" may be about more than its rule, one "pass" never. Of what is left of the
 * policy after the last "pass" the kernel need not know.
 *
 * @module
 */
import { BUILT_IN_UPSTREAMS, type ConfigIssue, type RunConfig } from "../config/mod.ts";
import { mergePortRanges, mergePrefixes, parsePrefix } from "../net/mod.ts";
import { countPolicyRules } from "../nft/build_policy.ts";
import type { PolicyVerdict } from "../nft/intent.ts";
import type { PolicyRule } from "../policy/rule.ts";
import { type HostLookups, THIS_HOST } from "./host_lookups.ts";
import { resolvePolicyRules } from "./resolve_policy.ts";

/** Rules of the kernel that a packet may have to go through one after the other. */
export const MOST_KERNEL_RULES = 64;

/** What is to become of a policy in the kernel. */
export interface PushDown {
  readonly verdicts: readonly PolicyVerdict[];
  /** For each rule of the policy, in their order. */
  readonly rules: readonly PushedRule[];
}

/** Whether the kernel knows a rule. */
export interface PushedRule {
  readonly isPushed: boolean;
  /** What the kernel does about it, or why it does not know it. */
  readonly why: string;
}

/** What rules refer to. */
export interface PushDownContext {
  /** Why a route is not simply what would happen without us; undefined: it is. */
  readonly notPlain: (route: number) => string | undefined;
  /** Name of the interface of this index; undefined: there is none. */
  readonly interfaceName: (index: number) => string | undefined;
  /** Whether queries to port 53 are answered here before the policy is asked. */
  readonly answersDns: boolean;
}

/**
 * What of `config`'s policy the kernel decides on this host.
 *
 * @param issues gets what cannot be resolved.
 */
export async function resolvePushDown(
  config: RunConfig,
  issues: ConfigIssue[],
  host: HostLookups = THIS_HOST,
): Promise<PushDown> {
  const { policy: { rules }, dns } = config;
  const why = nothingPushed(config);
  if (why !== undefined) return { verdicts: [], rules: rules.map(() => left(why)) };
  const routes = [...new Set(rules.map(({ to }) => to))];
  const reasons = routes.map((name) => notPlainDirect(config, name));
  const resolved = await resolvePolicyRules(rules, (name) => routes.indexOf(name), host, issues);
  const asksInterfaces = resolved.some(({ interfaces }) => interfaces !== undefined && interfaces.length > 0);
  const interfaces = new Map(
    (asksInterfaces ? await host.interfaces() : []).map(({ index, name }) => [index, name]),
  );
  return pushDown(resolved, {
    notPlain: (route) => reasons[route],
    interfaceName: (index) => interfaces.get(index),
    answersDns: dns.length > 0,
  });
}

/** Whether rules of `config` may be put into the kernel's: then lists that they name are the plan's too. */
export function mayPushDown(config: RunConfig): boolean {
  return nothingPushed(config) === undefined;
}

/** Why it is not even tried; undefined: it is. */
function nothingPushed(config: RunConfig): string | undefined {
  const { rules, pushDown: isWanted, module } = config.policy;
  if (!isWanted) return "push-down is off";
  if (module !== undefined) return "the policy module is asked first, about every flow";
  const isUseful = rules.some(({ to }) => notPlainDirect(config, to) === undefined);
  return isUseful ? undefined : "no rule leads directly, with nothing set";
}

function notPlainDirect({ upstreams }: RunConfig, name: string): string | undefined {
  const upstream = upstreams.find((one) => one.name === name) ??
    BUILT_IN_UPSTREAMS.find((one) => one.name === name);
  if (upstream?.kind !== "direct") return `${name} is another way than direct`;
  const { source, interface: bound, mark, dscp } = upstream;
  const changed = [
    ...(source === null ? [] : ["the source address"]),
    ...(bound === null ? [] : ["the interface"]),
    ...(mark === 0 ? [] : ["the mark"]),
    ...(dscp === null ? [] : ["the codepoint"]),
  ];
  return changed.length === 0
    ? undefined
    : `${name} sets ${changed.join(", ")}, which only sockets of ours do`;
}

/** The same, of rules in which everything is resolved. */
export function pushDown(rules: readonly PolicyRule[], context: PushDownContext): PushDown {
  const drafts: Draft[] = [];
  const reports: (PushedRule | Draft)[] = [];
  let coveredBy: number | undefined;
  for (const [i, rule] of rules.entries()) {
    if (coveredBy !== undefined) {
      reports.push(left(`as the kernel knows it, rule ${coveredBy + 1} is about everything that is left`));
      continue;
    }
    const drafted = draft(rule, i, context);
    if ("isPushed" in drafted) {
      reports.push(drafted);
      continue;
    }
    const before = drafts.at(-1);
    const draftOfRule = before !== undefined && before.key === drafted.key
      ? extend(before, drafted, i)
      : drafted;
    if (draftOfRule !== before) drafts.push(draftOfRule);
    reports.push(draftOfRule);
    if (isAboutEverything(draftOfRule)) coveredBy = i;
  }
  const verdicts = context.answersDns ? [DNS_HERE] : [];
  const kept = new Set<Draft>();
  let count = verdicts.length;
  for (const one of drafts) {
    const verdict = finish(one);
    count += countPolicyRules(verdict);
    if (count > MOST_KERNEL_RULES) break;
    verdicts.push(verdict);
    kept.add(one);
  }
  const last = verdicts.findLastIndex(({ verdict }) => verdict === "pass");
  const pushed = new Set(verdicts.slice(0, last + 1).map(({ id }) => id));
  return {
    verdicts: verdicts.slice(0, last + 1),
    rules: reports.map((report) =>
      "isPushed" in report
        ? report
        : pushed.has(idOf(report))
        ? { isPushed: true, why: report.why }
        : left(kept.has(report) ? "no direct rule after it is pushed down" : TOO_MANY)
    ),
  };
}

const TOO_MANY = `with it the kernel would have more than ${MOST_KERNEL_RULES} rules to go through`;

/** Asked before all others. */
const DNS_HERE: PolicyVerdict = {
  id: "dns",
  verdict: "take",
  network: null,
  destinations: null,
  sources: null,
  destinationPorts: [{ first: 53, last: 53 }],
  sourcePorts: null,
  incoming: null,
  uids: null,
  why: "answered by the resolvers of --dns, whatever the policy says",
};

/** A verdict to which further rules may be added. */
interface Draft {
  /** Rules with the same one differ in `prefixes` alone. */
  readonly key: string;
  readonly filters: Omit<PolicyVerdict, "id" | "why" | "destinations" | "sources">;
  /** Prefixes of the other side. */
  readonly others: readonly string[] | null;
  readonly side: "destinations" | "sources" | "none";
  readonly prefixes: string[];
  readonly first: number;
  last: number;
  readonly why: string;
}

/** What the kernel is to do about a rule, if anything. */
function draft(
  rule: PolicyRule,
  index: number,
  { notPlain, interfaceName }: PushDownContext,
): Draft | PushedRule {
  const reason = notPlain(rule.to), isDirect = reason === undefined;
  const incoming = rule.interfaces === undefined
    ? null
    : rule.interfaces.map(interfaceName).filter((name) => name !== undefined);
  const lists = [
    rule.destinations,
    rule.sources,
    rule.destinationPorts,
    rule.sourcePorts,
    rule.uids,
    rule.dscp,
  ];
  if (lists.some((list) => list?.length === 0) || incoming?.length === 0) {
    return left("it is about nothing that there is");
  }
  if (rule.dscp !== undefined && isDirect) {
    // Later rules may let the same packets pass, and then they leave as this one says.
    return left("rules of the kernel do not ask for a codepoint");
  }
  const filters = {
    verdict: isDirect ? "pass" as const : "take" as const,
    network: rule.network ?? null,
    destinationPorts: rule.destinationPorts === undefined ? null : mergePortRanges(rule.destinationPorts),
    sourcePorts: rule.sourcePorts === undefined ? null : mergePortRanges(rule.sourcePorts),
    incoming: incoming && [...new Set(incoming)],
    uids: rule.uids ?? null,
  };
  const side = rule.destinations !== undefined
    ? "destinations"
    : rule.sources !== undefined
    ? "sources"
    : "none";
  const others = side === "destinations" ? rule.sources ?? null : null;
  return {
    key: JSON.stringify([filters, side, others]),
    filters,
    others,
    side,
    prefixes: [...rule.destinations ?? rule.sources ?? []],
    first: index,
    last: index,
    why: isDirect
      ? "the kernel lets it pass"
      : `${reason}: the kernel sends it here before it asks later rules${
        rule.dscp === undefined ? "" : ", whatever its codepoint"
      }`,
  };
}

/** Adds a rule that differs in its prefixes. */
function extend(before: Draft, { prefixes }: Draft, index: number): Draft {
  for (const prefix of prefixes) before.prefixes.push(prefix);
  before.last = index;
  return before;
}

function isAboutEverything({ filters, side }: Draft): boolean {
  const { network, destinationPorts, sourcePorts, incoming, uids } = filters;
  return side === "none" &&
    [network, destinationPorts, sourcePorts, incoming, uids].every((one) => one === null);
}

function finish(draft: Draft): PolicyVerdict {
  const { filters, others, side, prefixes, first, last } = draft;
  const own = side === "none" ? null : merged(prefixes);
  return {
    id: idOf(draft),
    ...filters,
    destinations: side === "destinations" ? own : null,
    sources: side === "sources" ? own : others && merged(others),
    why: first === last
      ? `rule ${first + 1} of the policy`
      : `rules ${first + 1} to ${last + 1} of the policy`,
  };
}

function idOf({ first }: Draft): string {
  return `rule-${first + 1}`;
}

function merged(prefixes: readonly string[]): string[] {
  return mergePrefixes(prefixes.map((text) => parsePrefix(text)!)).map(({ text }) => text);
}

function left(why: string): PushedRule {
  return { isPushed: false, why };
}
