/**
 * Puts a plan's routes and routing rules into the kernel, and takes them out.
 *
 * A routing rule moves no packet while no rule of ours sets its mark, so those of a new plan come before its rules,
 * and those of the old one go after them.
 *
 * @module
 */
import type { Exec } from "./exec.ts";
import type { Plan } from "./plan.ts";
import { renderIpRule, renderLocalRoute, type RouteCommand } from "./render_route.ts";
import { ipRuleKey, type RouteEntry, routeKey } from "./route_listing.ts";
import { isRuleApplyError, RuleApplyError } from "./rule_apply_error.ts";
import { readPlanEntries } from "./verify.ts";

/** Commands that take back what was done, in the order in which it was done. */
export type Undo = (readonly string[])[];

/**
 * Adds what is missing, and writes into `undo` what takes that away again.
 *
 * @throws {RuleApplyError} of stage apply; what was added until then stays.
 */
export async function addMissingRoutes(plan: Plan, exec: Exec, undo: Undo = []): Promise<void> {
  const present = new Set((await readPlanEntries(plan, exec)).map(({ key }) => key));
  for (const [key, command] of wantedRoutes(plan)) {
    if (present.has(key)) continue;
    const result = await exec.run(command.argv);
    if (result.code !== 0) throw new RuleApplyError("apply", command.argv.join(" "), result.stderr);
    undo.push(command.undo);
  }
}

/** Removes what an earlier plan, or a predecessor, has left in the plan's table. @throws {RuleApplyError} */
export async function removeOtherRoutes(plan: Plan, exec: Exec, undo: Undo = []): Promise<void> {
  const wanted = wantedRoutes(plan);
  for (const entry of await readPlanEntries(plan, exec)) {
    if (wanted.has(entry.key)) continue;
    const said = await removeEntry(entry, plan, exec);
    if (said !== undefined) throw new RuleApplyError("apply", entry.remove.join(" "), said);
    undo.push(entry.restore);
  }
}

/** Removes every route and routing rule of ours in the plan's table. @returns what was said against it. */
export async function removeRoutes(plan: Plan, exec: Exec): Promise<string[]> {
  const problems: string[] = [];
  try {
    for (const entry of await readPlanEntries(plan, exec)) {
      const said = await removeEntry(entry, plan, exec);
      if (said !== undefined) problems.push(`${entry.remove.join(" ")}: ${said.trim()}`);
    }
  } catch (error) {
    if (!isRuleApplyError(error)) throw error;
    problems.push(error.message);
  }
  return problems;
}

/** @returns what was said against it, unless a dead predecessor's shell was quicker. */
async function removeEntry(entry: RouteEntry, plan: Plan, exec: Exec): Promise<string | undefined> {
  const { code, stderr } = await exec.run(entry.remove);
  if (code === 0) return undefined;
  return (await readPlanEntries(plan, exec)).some(({ key }) => key === entry.key) ? stderr : undefined;
}

function wantedRoutes(plan: Plan): Map<RouteEntry["key"], RouteCommand> {
  return new Map([
    ...plan.routes.map((route) => [routeKey(route), renderLocalRoute(route)] as const),
    ...plan.ipRules.map((rule) => [ipRuleKey(rule), renderIpRule(rule)] as const),
  ]);
}
