/**
 * The nft backend on a real kernel: what it loads, what it replaces without a gap, and what of it goes when.
 *
 * @module
 */
import type { Hold } from "../../nft/backend.ts";
import type { BackendOptions } from "../../nft/backend_options.ts";
import type { Exec } from "../../nft/exec.ts";
import { NftBackend } from "../../nft/nft_backend.ts";
import { assertEquals } from "../assert.ts";
import { gatewayLab, labTest } from "../lab/mod.ts";
import { everyRulePlan } from "./every_rule_plan.ts";
import { labExec } from "./nft_lab.ts";

const HOLDS: readonly Hold[] = ["owner", "plain"];

/** Nobody of that name lives in the lab's process namespace, and nobody has to. */
const ME = "4711/1";

function nftBackend(exec: Exec, hold: Hold, changes: Partial<BackendOptions> = {}): NftBackend {
  return new NftBackend({
    exec,
    tableName: "pellucid",
    hold,
    by: ME,
    sysctls: [],
    afterwards: "true",
    ...changes,
  });
}

for (const hold of HOLDS) {
  labTest(`nft backend, ${hold}: every match and verdict loads, is read back, and goes`, async () => {
    await using lab = await gatewayLab();
    const exec = labExec(lab.host("gateway"));
    const backend = nftBackend(exec, hold);
    const plan = everyRulePlan();
    await backend.check(plan);
    assertEquals((await exec.run(["nft", "list", "tables"])).stdout, "");
    await backend.claim();
    for (const phase of ["intercept", "drain", "intercept"] as const) {
      await backend.load(plan, phase);
      assertEquals(await backend.differences(plan, phase), []);
    }
    assertEquals((await backend.differences(plan, "drain")).map(({ kind }) => kind), ["table"]);
    assertEquals(await backend.remove(), undefined);
    assertEquals(await backend.remove(), undefined);
    await backend.close();
    assertEquals((await exec.run(["nft", "list", "tables"])).stdout, "");
  });
}
