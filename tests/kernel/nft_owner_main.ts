/**
 * Loads the plan in its first argument into an owned table, with the second argument to be run afterwards, says so,
 * and stays until it is killed.
 *
 * @module
 */
import { HostExec } from "../../nft/exec.ts";
import { ownProcess } from "../../nft/living_process.ts";
import { NftBackend } from "../../nft/nft_backend.ts";

if (import.meta.main) {
  const [plan, afterwards] = Deno.args;
  const backend = new NftBackend({
    exec: new HostExec(),
    tableName: "pellucid",
    hold: "owner",
    by: ownProcess(),
    sysctls: [],
    afterwards: afterwards!,
  });
  await backend.claim();
  await backend.load(JSON.parse(plan!), "intercept");
  console.log("loaded");
  await backend.lost;
}
