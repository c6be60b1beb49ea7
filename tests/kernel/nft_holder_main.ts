/**
 * Applies the plan in its first argument, says so, and stays until it is killed.
 *
 * @module
 */
import { applyPlan, detectHost, HostExec } from "../../nft/mod.ts";

if (import.meta.main) {
  const exec = new HostExec();
  const host = await detectHost(exec);
  const rules = await applyPlan(JSON.parse(Deno.args[0]!), { exec, host, backend: "nft", keep: "process" });
  console.log("applied");
  await rules.lost;
}
