/**
 * Whether the kernel did with a packet what evaluate.ts says. Pure.
 *
 * @module
 */
import type { Evaluation, RuleName, RuleStep } from "../nft/evaluation.ts";
import { ruleText } from "../nft/explain.ts";
import type { BackendName } from "../nft/mod.ts";
import type { Plan } from "../nft/plan.ts";
import type { Fate } from "./guard.ts";

/** What was seen of a packet. */
export interface Observation {
  readonly backend: BackendName;
  /** Rules of the plan that it met, in order as far as the tool tells. */
  readonly rules: readonly RuleName[];
  readonly fate: Fate;
}

/** What the kernel did, beside what was predicted. */
export interface Comparison extends Observation {
  readonly agrees: boolean;
  /** The rule that settled it in the kernel; null: none. */
  readonly decidedBy: RuleName | null;
  /** One line, or one for each difference. */
  readonly text: readonly string[];
}

/** Holds `seen` against `predicted`. */
export function compare(plan: Plan, predicted: Evaluation, seen: Observation): Comparison {
  const steps = expectedSteps(predicted, seen.backend);
  const missing = steps.filter((step) => !seen.rules.some((rule) => isRule(step, rule)));
  const extra = seen.rules.filter((rule) => !steps.some((step) => isRule(step, rule)));
  const fate = expectedFate(predicted);
  const decidedBy = deciding(plan, seen.rules);
  if (missing.length + extra.length === 0 && fate === seen.fate) {
    const met = seen.rules.map(ruleText).join(", ") || "no rule of ours";
    return {
      ...seen,
      agrees: true,
      decidedBy,
      text: [`the kernel agrees (${seen.backend}): the packet met ${met}, and was ${FATES[fate]}`],
    };
  }
  const name = (rule: RuleName | null) => rule === null ? "no rule" : ruleText(rule);
  return {
    ...seen,
    agrees: false,
    decidedBy,
    text: [
      `the kernel does not agree (${seen.backend}): ${name(decidedBy)} decided, ` +
      `where ${name(predicted.decidedBy)} was predicted`,
      ...(missing.length === 0 ? [] : [`not met: ${missing.map(ruleText).join(", ")}`]),
      ...(extra.length === 0 ? [] : [`met as well: ${extra.map(ruleText).join(", ")}`]),
      `the packet was ${FATES[seen.fate]}; predicted: ${FATES[fate]}`,
    ],
  };
}

const FATES: Readonly<Record<Fate, string>> = {
  delivered: "delivered to this host",
  left: "sent on its way",
  lost: "dropped",
};

/** iptables drops what TPROXY has no listener for, where nft asks the next rule. */
function expectedSteps({ trail }: Evaluation, backend: BackendName): RuleStep[] {
  const steps = trail.filter((step) => step.kind === "rule");
  const undone = steps.findIndex(({ done }) => !done);
  return backend === "nft" || undone < 0 ? steps : steps.slice(0, undone + 1);
}

function expectedFate({ trail, verdict }: Evaluation): Fate {
  // What is delivered and finds no socket is lost after the last hook, where nobody looks any more.
  const dropped = trail.some((step) => step.kind === "rule" && step.verdict.kind === "drop");
  if (dropped) return "lost";
  if (trail.some(({ kind }) => kind === "delivered")) return "delivered";
  return verdict === "drop" ? "lost" : "left";
}

/** The worker that the hash chose is any of its kind. */
function isRule({ chain, rule, oneOf }: RuleStep, found: RuleName): boolean {
  return rule === found.rule && (chain === found.chain || oneOf.includes(found.chain));
}

/** What the last rule does that does the most. */
function deciding(plan: Plan, rules: readonly RuleName[]): RuleName | null {
  const kind = ({ chain, rule }: RuleName) =>
    plan.chains.find(({ name }) => name === chain)?.rules.find(({ id }) => id === rule)?.verdict.kind;
  for (const kinds of WEIGHTS) {
    const found = rules.findLast((rule) => kinds.some((each) => each === kind(rule)));
    if (found !== undefined) return found;
  }
  return null;
}

const WEIGHTS = [
  ["drop"],
  ["tproxy", "tproxyDatagram"],
  ["redirect"],
  ["intercept"],
  ["pass"],
] as const;
