/**
 * From the configuration to the plan for the kernel.
 *
 * @module
 */
import type { RunConfig } from "../config/mod.ts";
import { buildPlan } from "../nft/build_plan.ts";
import { checkPlan } from "../nft/check_plan.ts";
import type { InterceptIntent } from "../nft/intent.ts";
import type { Plan } from "../nft/plan.ts";
import { resolveIntent } from "./resolve_intent.ts";
import { StartError } from "./start_error.ts";

/**
 * The plan that carries out `config` on this host, checked.
 *
 * @throws {ConfigError} when a name, a pattern or a file cannot be resolved.
 * @throws {StartError} when the plan breaks an invariant that the configuration's own check does not know.
 */
export async function planFor(config: RunConfig): Promise<Plan> {
  return checkedPlan(await resolveIntent(config));
}

/**
 * The plan that carries out `intent`.
 *
 * @throws {StartError} when it breaks an invariant.
 */
export function checkedPlan(intent: InterceptIntent): Plan {
  const plan = buildPlan(intent);
  const issues = checkPlan(plan);
  if (issues.length > 0) {
    throw new StartError(
      "rules-failed",
      `plan: ${issues.map((issue) => issue.message).join("; ")}`,
      "change the option that is named",
    );
  }
  return plan;
}

/** What is intercepted, in a few words. */
export function describeTraffic({ from, local, sidecar }: RunConfig): string {
  const sources = [
    ...(from.length > 0 ? [`what arrives from ${from.join(", ")}`] : []),
    ...(local ? ["what this host sends"] : []),
    ...(sidecar !== null ? ["one pod's connections"] : []),
  ];
  return sources.join(" and ");
}
