/**
 * Judges a plan before anything touches the host: the invariants that keep a wrong plan from cutting a host off. Pure;
 * every message names the option or the rule it is about.
 *
 * @module
 */
import { checkIntent } from "./check_intent.ts";
import type { BaseChain, Chain, Match, Plan, Rule } from "./plan.ts";

/** What is wrong with a plan. */
export interface PlanIssue {
  /** The option to change, as the user knows it, or CHAIN/RULE. */
  readonly option: string;
  /** What was found and what is wanted. */
  readonly message: string;
}

/** The kernel stores a rule's comment in 128 bytes, its end included (NFTNL_UDATA_COMMENT_MAXLEN). */
export const COMMENT_BYTES = 127;
/** iptables has 28 bytes for a chain's name (XT_EXTENSION_MAXNAMELEN), which the table's name begins. */
const CHAIN_NAME_BYTES = 17;
/** Without dots, which name the helper chains of nft. */
const CHAIN_NAME = /^[a-z]\w*$/;
/** Says in an nft table what is loaded (render_nft.ts). */
const STATE_CHAIN = "state";

/** All that is wrong with `plan`; empty when it may be applied. */
export function checkPlan(plan: Plan): PlanIssue[] {
  const issues = checkIntent(plan.intent);
  // What is made of wrong values would only say the same again, less clearly.
  return issues.length > 0 ? issues : checkStructure(plan);
}

function checkStructure(plan: Plan): PlanIssue[] {
  const issues: PlanIssue[] = plan.chains.flatMap((chain) => checkTargets(plan, chain));
  // What follows goes where the rules lead.
  if (issues.length > 0) return issues;
  const names = new Set<string>();
  for (const chain of plan.chains) {
    if (names.has(chain.name)) issues.push(broken(chain.name, "two chains of this name"));
    if (chain.name.length > CHAIN_NAME_BYTES) {
      issues.push(broken(chain.name, `${chain.name.length} bytes, at most ${CHAIN_NAME_BYTES} wanted`));
    }
    if (!CHAIN_NAME.test(chain.name) || chain.name === STATE_CHAIN) {
      issues.push(
        broken(chain.name, "not a chain's name: letters, digits and _ wanted, and not the name of nft's own"),
      );
    }
    names.add(chain.name);
    const ids = new Set<string>();
    for (const rule of chain.rules) {
      if (ids.has(rule.id)) issues.push(broken(`${chain.name}/${rule.id}`, "two rules of this id"));
      ids.add(rule.id);
      issues.push(...checkComment(chain, rule), ...checkSets(plan, chain, rule));
    }
    if (chain.hook !== "none") {
      issues.push(...checkLoop(plan, chain), ...checkRouted(plan, chain), ...checkPlace(plan, chain));
    }
  }
  return [...issues, ...checkUntracked(plan), ...checkClosed(plan)];
}

function broken(where: string, what: string): PlanIssue {
  return { option: where, message: `${where}: ${what}` };
}

/** What a renderer writes beside the rule. */
export function ruleComment(rule: Rule): string {
  return `${rule.id}: ${rule.why}`;
}

function checkComment(chain: Chain, rule: Rule): PlanIssue[] {
  const where = `${chain.name}/${rule.id}`;
  const comment = ruleComment(rule);
  // nft has no escape for a quote inside a string.
  if (/["\\\n]/.test(comment)) return [broken(where, "a quote, backslash or line break in its reason")];
  const bytes = new TextEncoder().encode(comment).length;
  return bytes > COMMENT_BYTES
    ? [broken(where, `reason of ${bytes} bytes, at most ${COMMENT_BYTES} wanted`)]
    : [];
}

function checkSets({ sets }: Plan, chain: Chain, rule: Rule): PlanIssue[] {
  return rule.matches
    .flatMap((match) =>
      match.kind === "addressSet" && !sets.some(({ name }) => name === match.set) ? [match.set] : []
    )
    .map((name) => broken(`${chain.name}/${rule.id}`, `no set ${name}`));
}

/**
 * An output chain that takes traffic must first let our own sockets' packets go, or we would proxy ourselves: those
 * with the bypass mark before anything, those with the reply mark before anything but what leads to the pod itself.
 */
function checkLoop(plan: Plan, chain: BaseChain): PlanIssue[] {
  if (chain.hook !== "output") return [];
  const { bypass, reply } = plan.intent.marks;
  const spared = new Set<number>();
  for (const rule of chain.rules) {
    const [match, ...others] = rule.matches;
    if (rule.verdict.kind === "pass" && isPacketMark(match) && others.length === 0) spared.add(match.value);
    if (!takes(plan, rule) || spared.has(bypass) && spared.has(reply)) continue;
    // What is told by our own mark or owner, and leaves by lo, comes back to the pod: a chain of its own spares us.
    const leadsBack = rule.matches.some((other) => other.kind === "outgoing" && other.interface === "lo");
    // An answer is never what a socket of ours has begun.
    const answers = rule.matches.some((other) => other.kind === "flowReply");
    if (!leadsBack && !answers) {
      return [broken(chain.name, "takes our own sockets' packets: rules for their marks must come first")];
    }
  }
  return [];
}

function isPacketMark(match: Match | undefined): match is Extract<Match, { kind: "mark" }> {
  return match?.kind === "mark" && match.of === "packet" && !match.negate;
}

function takes(plan: Plan, rule: Rule): boolean {
  switch (rule.verdict.kind) {
    case "pass":
    case "drop":
    case "zone":
    case "untrack":
      return false;
    case "tproxy":
    case "tproxyDatagram":
    case "redirect":
    case "intercept":
      return true;
    case "goto":
    case "spread":
      return innerRules(plan, rule).some((inner) => takes(plan, inner));
  }
}

/** The rules of the chains to which `rule` sends packets. */
function innerRules(plan: Plan, { verdict }: Rule): Rule[] {
  const names = targets(verdict);
  return plan.chains.filter(({ name }) => names.includes(name)).flatMap(({ rules }) => rules);
}

function targets(verdict: Rule["verdict"]): readonly string[] {
  if (verdict.kind === "goto") return [verdict.chain];
  return verdict.kind === "spread" ? verdict.chains : [];
}

/** Chains lead to later chains only, so a packet's way ends. */
function checkTargets(plan: Plan, chain: Chain): PlanIssue[] {
  const later = plan.chains.slice(plan.chains.indexOf(chain) + 1);
  return chain.rules.flatMap(({ id, verdict }) =>
    targets(verdict)
      .filter((target) => !later.some(({ name, hook }) => name === target && hook === "none"))
      .map((target) => broken(`${chain.name}/${id}`, `no inner chain ${target} comes after it`))
  );
}

/** A tracked answer of ours would be a flow's first packet, and the client's next datagram would pass us by. */
function checkUntracked({ intent, chains }: Plan): PlanIssue[] {
  if (intent.udp === "off" || chains.length === 0) return [];
  const isUntracked = chains.some((chain) =>
    chain.hook === "output" && chain.priority === "raw" &&
    chain.rules.some(({ during, matches, verdict }) =>
      during === "always" && verdict.kind === "untrack" &&
      matches.some((match) => match.kind === "mark" && match.value === intent.marks.reply)
    )
  );
  return isUntracked ? [] : [broken("marks.reply", "no rule keeps our answers from conntrack")];
}

/** A marked packet without a route to lo would be forwarded although a socket of ours owns it, and be dropped. */
function checkRouted(plan: Plan, chain: BaseChain): PlanIssue[] {
  const marks = chain.type !== "nat" && chain.rules.some((rule) => takes(plan, rule));
  if (!marks) return [];
  // What comes in at a pod is addressed to it, and needs no route of ours.
  const interfaces = chain.interfaces !== "any" ? chain.interfaces : chain.hook === "output" ? ["lo"] : [];
  return interfaces
    .filter((name) => ([4, 6] as const).some((family) => !isRouted(plan, family, name)))
    .map((name) => broken(chain.name, `packets of ${name} are marked but not routed to lo`));
}

function isRouted(plan: Plan, family: 4 | 6, incoming: string): boolean {
  const rule = plan.ipRules.find((rule) => rule.family === family && rule.incoming === incoming);
  return rule !== undefined &&
    plan.routes.some((route) => route.family === family && route.table === rule.table);
}

/** Only a packet that is sent has an owner and an interface it leaves by; only one that came in has a sender. */
function checkPlace(plan: Plan, chain: BaseChain): PlanIssue[] {
  const sent = new Set<Match["kind"]>(["owner", "cgroup", "outgoing"]);
  const received = new Set<Match["kind"]>(["mac", "incoming", "socket"]);
  const wrong = chain.hook === "output" ? received : sent;
  return reachable(plan, chain).flatMap((rule) =>
    rule.matches.filter((match) => wrong.has(match.kind))
      .map((match) => broken(`${chain.name}/${rule.id}`, `${match.kind} is not known at ${chain.hook}`))
  );
}

function reachable(plan: Plan, chain: Chain): Rule[] {
  const seen = new Set<string>();
  const walk = (rules: readonly Rule[]): Rule[] =>
    rules.flatMap((rule) => {
      const fresh = targets(rule.verdict).filter((name) => !seen.has(name));
      fresh.forEach((name) => seen.add(name));
      return [
        rule,
        ...plan.chains.filter(({ name }) => fresh.includes(name)).flatMap(({ rules }) => walk(rules)),
      ];
    });
  return walk(chain.rules);
}

/** In a closed plan what a TPROXY rule could not hand over must be lost by the next rule: nft would let it go. */
function checkClosed({ intent, chains }: Plan): PlanIssue[] {
  if (intent.onProxyDown === "open") return [];
  return chains.flatMap(({ name, rules }) => {
    const last = rules.findLastIndex(({ verdict }) =>
      verdict.kind === "tproxy" || verdict.kind === "tproxyDatagram"
    );
    return last < 0 || rules[last + 1]?.verdict.kind === "drop"
      ? []
      : [broken(name, "a packet that no listener takes is not dropped")];
  });
}
