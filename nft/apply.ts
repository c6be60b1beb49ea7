/**
 * Applies a plan, keeps it or changes it while it is in place, and takes it away again.
 *
 * Goals: after a failure nothing of it is left, and rules that are to outlive every process are as they were, or
 * replaced by others that are (but for an nft table of which an owned one had to take the place); a predecessor that
 * was killed is no obstacle; what belongs to another live process is never touched; applying what is in place changes
 * nothing; and no packet meets the rules of one plan with the routes of another.
 *
 * Order: check everything, read what a predecessor left, watchdog, settings, routes, rules, verify. A routing rule
 * moves no packet while no rule of ours sets its mark, so the rules are the switch: on last, off first.
 *
 * How do we know that something is ours? Rules: what their backend writes beside them. Routing rules and routes: the
 * protocol number, together with the routing table, so that two configurations may live side by side.
 *
 * @module
 */
import type { BackendName, Difference, Hold, RuleCounter } from "./backend.ts";
import type { FoundRules } from "./backend_options.ts";
import { checkPlan } from "./check_plan.ts";
import { findingsAgainst, type HostFacts } from "./detect.ts";
import type { Exec } from "./exec.ts";
import { HostRules } from "./host_rules.ts";
import { ownProcess } from "./living_process.ts";
import { BACKENDS, findReadableRules, openBackend } from "./open_backend.ts";
import type { Plan } from "./plan.ts";
import { removeRoutesScript } from "./render_route.ts";
import { isRuleApplyError, RuleApplyError, TableHeldError } from "./rule_apply_error.ts";
import { readOldSysctls, restoreScript } from "./sysctls.ts";
import { planForHost, verifyPlan } from "./verify.ts";

/** A predecessor that was killed this moment still has its table: nft ends a few milliseconds after it. */
const HELD_ATTEMPTS = 6;
const HELD_ATTEMPT_MS = 100;

/** Rules that are in place. */
export interface AppliedRules extends AsyncDisposable {
  readonly backend: BackendName;
  /** Whether the kernel ties them to us. */
  readonly hold: Hold;
  /** Rules of ours that were to outlive their process were there, and are replaced by these that will not. */
  readonly replacedKept: boolean;
  /** Takes no new flows any more, carries those it took. With the policy `closed` there is no such phase. */
  enterDrain(): Promise<void>;
  /** Has tool and kernel check another plan; changes nothing. @throws {RuleApplyError} of stage check. */
  check(plan: Plan): Promise<void>;
  /**
   * Switches to another plan with the same numbers in one step.
   *
   * @throws {RuleApplyError} of stage revert when the new one is in place and old routes are left; else the old one
   *   stays as it was.
   */
  replace(plan: Plan): Promise<void>;
  /**
   * Puts back what is no longer as it should be.
   *
   * @returns what was found to differ.
   * @throws {RuleApplyError} when it cannot be put back.
   */
  heal(): Promise<Difference[]>;
  /** Whether {@linkcode haveWrongSets} has anything to look at, of which the kernel tells nothing. */
  readonly areSetsWatched: boolean;
  /** Whether {@linkcode heal} would put back sets whose changes nobody announces: to be asked each second. */
  haveWrongSets(): Promise<boolean>;
  /** Every rule of the plan in order. @throws {RuleApplyError} of stage verify. */
  counters(): Promise<RuleCounter[]>;
  /**
   * Takes everything away: the rules, then routes and settings, then what conntrack keeps. With the policy `closed`
   * all stays, so that it keeps dropping, unless `force` is set. Idempotent; tries all before it throws.
   */
  revert(options?: { readonly force?: boolean }): Promise<"removed" | "left">;
  /** Resolves with the reason when rules that the kernel ties to us are lost although nobody reverted them. */
  readonly lost: Promise<string>;
}

/** What {@linkcode applyPlan} works with. */
export interface ApplyOptions {
  readonly exec: Exec;
  readonly host: HostFacts;
  readonly backend: BackendName;
  /** `process`: the rules belong to this process, and the plan's policy says what its end means; `kept`: they stay. */
  readonly keep: "process" | "kept";
}

/**
 * Puts `plan` in place.
 *
 * @throws {RuleApplyError} with the stage that failed; whatever had been done is undone, unless rules that were to
 *   stay have been replaced by these, which are to stay as well. Of stage revert when not all could be undone.
 */
export async function applyPlan(plan: Plan, options: ApplyOptions): Promise<AppliedRules> {
  const { exec, host, keep } = options;
  requireSound(plan, options);
  const narrowed = planForHost(plan, host);
  const isOpen = plan.intent.onProxyDown === "open";
  const endsWithUs = keep === "process" && isOpen;
  const hold: Hold = options.backend === "nft" && endsWithUs && host.ownerTables ? "owner" : "plain";

  const before = await readPredecessors(plan, exec);
  const sysctls = await readOldSysctls(plan.sysctls, before.flatMap((found) => found.sysctls), exec);
  const afterwards = [removeRoutesScript(plan.intent), ...restoreScript(sysctls)].join("; ");
  const by = keep === "process" ? ownProcess() : null;
  const { tableName } = plan.intent;
  const life = { exec, tableName, hold, by, sysctls, afterwards };
  const backend = openBackend(options.backend, { ...life, ipv6: host.ipv6 });
  requireSupported(backend.unsupported(narrowed));

  const rules = new HostRules({
    backend,
    exec,
    hold,
    sysctls,
    narrow: (other) => planForHost(other, host),
    replacedKept: endsWithUs && before.some((found) => found.isKept),
    watch: endsWithUs && hold === "plain" ? afterwards : undefined,
    stays: !endsWithUs,
  }, narrowed);
  const isSameBackend = before.every((found) => found.backend === options.backend || !found.hasRules);
  if (keep === "kept" && before.length > 0 && isSameBackend) {
    if ((await verifyPlan(narrowed, backend, exec)).length === 0) return rules;
  }
  if (narrowed.chains.length > 0) await unlessHeld(() => backend.check(narrowed));
  // Sets alone are the iptables flavours' in common, and go with the rules that are replaced.
  const others = before.filter((found) =>
    found.backend !== options.backend && (found.hasRules || options.backend === "nft")
  );
  const withRules = before.filter(({ hasRules }) => hasRules);
  await rules.apply({
    hadRules: withRules.length > 0,
    isSameBackend: withRules.some((found) => found.backend === options.backend),
    stays: withRules.some((found) => found.isKept || found.isClosed || !endsWithUs),
    others,
  });
  return rules;
}

function requireSupported(issues: ReturnType<typeof checkPlan>): void {
  if (issues.length > 0) throw new RuleApplyError("check", issues.map(({ message }) => message).join("; "));
}

function requireSound(plan: Plan, { host, backend }: ApplyOptions): void {
  const problems = [
    ...checkPlan(plan).map((issue) => issue.message),
    ...findingsAgainst(plan, host, backend).map((finding) => `${finding.message} (${finding.hint})`),
  ];
  if (host.ipVersion !== undefined && plan.chains.length > 0) {
    const { from, otherInterfaces } = plan.intent;
    for (const [option, names] of [["--from", from], ["otherInterfaces", otherInterfaces]] as const) {
      const unknown = names.filter((name) => !host.interfaces.includes(name));
      const found = host.interfaces.join(", ") || "none";
      problems.push(...unknown.map((name) => `${option}: no interface ${name}; found: ${found}`));
    }
  }
  if (problems.length > 0) throw new RuleApplyError("check", problems.join("; "));
}

/** What of ours is there under the plan's name, by whichever backend. @throws {TableHeldError} */
async function readPredecessors(
  plan: Plan,
  exec: Exec,
): Promise<(FoundRules & { readonly backend: BackendName })[]> {
  return await unlessHeld(async () => {
    const found = (await Promise.all(BACKENDS.map(async (backend) => {
      // Whether the tool for our own rules works is told by the check.
      return (await findReadableRules(backend, exec)).map((rules) => ({ ...rules, backend }));
    }))).flat().filter(({ tableName }) => tableName === plan.intent.tableName);
    const held = found.find(({ isInUse }) => isInUse);
    if (held !== undefined) throw new TableHeldError("check", held.what);
    return found;
  });
}

/** Tries again for a moment while another process, which may be on its way out, holds the rules. */
async function unlessHeld<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1;; attempt++) {
    try {
      return await work();
    } catch (error) {
      const isHeld = isRuleApplyError(error) && error instanceof TableHeldError;
      if (!isHeld || attempt === HELD_ATTEMPTS) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, HELD_ATTEMPT_MS));
  }
}
