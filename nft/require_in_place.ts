/**
 * The end of every change: what the plan wants must be there.
 *
 * A predecessor that was killed has a shell that takes its routes away, and where we started at once that shell is
 * still at it: our routes have the same names. So routes alone are put again for a while.
 *
 * @module
 */
import type { Backend } from "./backend.ts";
import type { Exec } from "./exec.ts";
import type { Phase, Plan } from "./plan.ts";
import { addMissingRoutes, removeOtherRoutes } from "./put_routes.ts";
import { RuleApplyError } from "./rule_apply_error.ts";
import { verifyPlan } from "./verify.ts";

/** Some hundred routes take a shell about as long. */
const ROUTES_MS = 2_000;
const PAUSE_MS = 100;

/** @throws {RuleApplyError} of stage verify with all that differs; of stage apply when routes cannot be put again. */
export async function requireInPlace(
  plan: Plan,
  backend: Backend,
  exec: Exec,
  phase: Phase,
): Promise<void> {
  const deadline = performance.now() + ROUTES_MS;
  for (;;) {
    const differences = await verifyPlan(plan, backend, exec, phase);
    if (differences.length === 0) return;
    if (performance.now() > deadline || differences.some(({ kind }) => kind !== "route")) {
      throw new RuleApplyError("verify", differences.map(({ message }) => message).join("; "));
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    await addMissingRoutes(plan, exec);
    await removeOtherRoutes(plan, exec);
  }
}
