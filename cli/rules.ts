/**
 * `rules render|apply|verify|cleanup`: the kernel's side by hand, for a `run --rules none` or for a look.
 *
 * @module
 */
import { explainRuleFailure, planFor, requireHost } from "../control/mod.ts";
import { applyPlan, cleanup, detectHost, HostExec, planForHost, verifyPlan } from "../nft/mod.ts";
import { EXIT, type ExitCode, PROGRAM } from "./command.ts";
import type { FlagValues } from "./flag.ts";
import { type INTERCEPTION_FLAGS, interceptionConfig } from "./interception_flags.ts";
import { renderScript } from "./rules_script.ts";

type Values = FlagValues<typeof INTERCEPTION_FLAGS>;

/** Prints the script. */
// deno-lint-ignore require-await -- commands are asynchronous
export async function render(values: Values): Promise<ExitCode> {
  console.log(renderScript(planFor(interceptionConfig(values)), "plain"));
  return EXIT.ok;
}

/** Applies the plan so that it outlives this process. */
export async function apply(values: Values): Promise<ExitCode> {
  const plan = planFor(interceptionConfig(values));
  const exec = new HostExec();
  const host = await detectHost(exec);
  requireHost(plan, host);
  await explained(applyPlan(plan, { exec, host, hold: "plain" }));
  console.log(`table inet ${plan.intent.tableName} and its routes are in place`);
  return EXIT.ok;
}

/** Prints what differs, if anything. */
export async function verify(values: Values): Promise<ExitCode> {
  const plan = planFor(interceptionConfig(values));
  const exec = new HostExec();
  const host = await detectHost(exec);
  requireHost(plan, host);
  const differences = await explained(verifyPlan(planForHost(plan, host), exec));
  for (const { kind, message } of differences) console.log(`${kind}: ${message}`);
  if (differences.length > 0) return EXIT.failure;
  console.log("everything is in place");
  return EXIT.ok;
}

/** Removes what is ours. */
export async function cleanUp(): Promise<ExitCode> {
  const { removed, inUse } = await explained(cleanup(new HostExec()));
  for (const what of removed) console.log(`removed: ${what}`);
  for (const what of inUse) {
    console.log(`in use by a running ${PROGRAM}: ${what}; nothing was removed: stop that one first`);
  }
  if (inUse.length > 0) return EXIT.failure;
  if (removed.length === 0) console.log("nothing of ours was found");
  return EXIT.ok;
}

async function explained<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw explainRuleFailure(error);
  }
}
