/**
 * The nft backend on a real kernel: what it loads and reads back, what it finds changed and mends, and what it leaves
 * alone. How long rules live: nft_backend_life_test.ts. Large sets and switches under traffic: nft_backend_swap_test.ts.
 *
 * @module
 */
import { buildPlan } from "../../nft/build_plan.ts";
import { SUCCESSOR_CODE } from "../../nft/backend.ts";
import type { Exec } from "../../nft/exec.ts";
import { findNftRules } from "../../nft/find_nft_rules.ts";
import type { Plan } from "../../nft/plan.ts";
import { isRuleApplyError } from "../../nft/rule_apply_error.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "../assert.ts";
import { type IntentChanges, intentWith } from "../fixtures/intents.ts";
import { gatewayLab, labTest } from "../lab/mod.ts";
import { everyRulePlan } from "./every_rule_plan.ts";
import { HOLDS, listing, nftBackend } from "./nft_backend_lab.ts";
import { labExec } from "./nft_lab.ts";

for (const hold of HOLDS) {
  labTest(`nft backend, ${hold}: every match and verdict loads, is read back, and goes`, async () => {
    await using lab = await gatewayLab();
    const exec = labExec(lab.host("gateway"));
    const backend = nftBackend(exec, hold);
    const plan = everyRulePlan();
    await backend.check(plan);
    assertEquals(await listing(exec), "");
    await backend.claim();
    for (const phase of ["intercept", "drain", "intercept"] as const) {
      await backend.load(plan, phase);
      assertEquals(await backend.differences(plan, phase), []);
    }
    assertEquals((await backend.differences(plan, "drain")).map(({ kind }) => kind), ["table"]);
    assertEquals(await backend.remove(), undefined);
    assertEquals(await backend.remove(), undefined);
    assertEquals((await exec.run(["nft", "list", "chains"])).stdout.includes("hook"), false);
    assertEquals(await backend.differences({ ...plan, chains: [], sets: [] }, "intercept"), []);
    assertEquals((await backend.differences(plan, "intercept")).map(({ kind }) => kind), ["table"]);
    await backend.close();
    assertEquals(await listing(exec), "");
  });

  labTest(
    `nft backend, ${hold}: a chain that is hooked elsewhere now, and plans that share nothing`,
    async () => {
      await using lab = await gatewayLab();
      const exec = labExec(lab.host("gateway"));
      const backend = nftBackend(exec, hold);
      const plan = everyRulePlan();
      const [first, ...others] = plan.chains;
      assert(first !== undefined && first.hook !== "none");
      const moved: Plan = {
        ...plan,
        chains: [{ ...first, type: "nat", priority: "dstnat", rules: [] }, ...others],
      };
      const small: Plan = { ...plan, chains: [first], sets: [] };
      for (const next of [plan, moved, small, moved, plan, { ...plan, chains: [], sets: [] }, plan]) {
        await backend.load(next, "intercept");
        assertEquals(await backend.differences(next, "intercept"), []);
      }
      await backend.remove();
      await backend.close();
    },
  );
}

labTest("nft backend: every golden plan loads and is read back", async () => {
  await using lab = await gatewayLab();
  const exec = labExec(lab.host("gateway"));
  const backend = nftBackend(exec, "plain");
  const folder = new URL("../golden/", import.meta.url);
  let loaded = 0;
  for (const { name } of Deno.readDirSync(folder)) {
    // Every pair of a pod's parameters goes through the parity test.
    if (name.startsWith("sidecar_pairs_")) continue;
    const changes: IntentChanges = JSON.parse(
      await Deno.readTextFile(new URL(`${name}/intent.json`, folder)),
    );
    const plan = buildPlan(intentWith(changes));
    // That cgroup is not here.
    if (JSON.stringify(plan.chains).includes('"cgroup"')) continue;
    await backend.check(plan);
    for (const phase of ["intercept", "drain"] as const) {
      await backend.load(plan, phase);
      assertEquals(await backend.differences(plan, phase), [], `${name}, ${phase}`);
    }
    loaded++;
  }
  assert(loaded >= 30, `${loaded} plans`);
}, { timeoutMs: 120_000 });

/** What somebody else does to our table, and what is then found. */
const TAMPERING: readonly [command: string, kind: string, words: string][] = [
  ["flush chain inet pellucid mangle_in", "rule", 'mangle_in: rule "scope: only what'],
  ["delete rule inet pellucid filter_in handle HANDLE", "rule", "filter_in: rule"],
  ["add rule inet pellucid filter_in drop", "rule", 'rule "" is not ours'],
  ["add chain inet pellucid theirs", "rule", "chain theirs is not ours"],
  ["add chain inet pellucid filter_in { policy drop; }", "rule", "filter_in: policy drop found"],
  ["add table inet pellucid { flags dormant; }", "table", "is dormant"],
  ["flush chain inet pellucid state", "table", "does not say what is loaded"],
  ["delete element inet pellucid dst_4 { 192.0.2.0/24 }", "set", "set dst_4 does not hold"],
  ["add element inet pellucid dst_6 { 2001:dba::/32 }", "set", "set dst_6 does not hold"],
  ["flush set inet pellucid dst_6", "set", "set dst_6 does not hold"],
  ["delete table inet pellucid", "table", "is missing"],
];

for (const [command, kind, words] of TAMPERING) {
  labTest(`nft backend: finds and mends \`nft ${command}\``, async () => {
    await using lab = await gatewayLab();
    const exec = labExec(lab.host("gateway"));
    const backend = nftBackend(exec, "plain");
    const plan = everyRulePlan();
    await backend.load(plan, "intercept");
    const rules = (await exec.run(["nft", "-a", "list", "chain", "inet", "pellucid", "filter_in"])).stdout;
    const handle = /comment .* # handle (\d+)/.exec(rules)?.[1] ?? "";
    const result = await exec.run(["nft", command.replace("HANDLE", handle)]);
    assertEquals(result.code, 0, result.stderr);
    const [found] = await nftBackend(exec, "plain").differences(plan, "intercept");
    assert(found !== undefined);
    assertEquals(found.kind, kind);
    assertStringIncludes(found.message, words);
    // A fresh process, and one that knows the table from before.
    for (const mender of [nftBackend(exec, "plain"), backend]) {
      await mender.load(plan, "intercept");
      assertEquals(await nftBackend(exec, "plain").differences(plan, "intercept"), []);
    }
  });
}

labTest("nft backend: a foreign table of our name is left alone", async () => {
  await using lab = await gatewayLab();
  const exec = labExec(lab.host("gateway"));
  const theirs = 'table inet pellucid {\n comment "my own pellucid: rules"\n chain state {\n accept\n }\n}\n';
  assertEquals((await exec.run(["nft", "-f", "-"], { stdin: theirs })).code, 0);
  const before = await listing(exec);
  assertStringIncludes(before, "accept");
  const plan = everyRulePlan();
  for (const hold of HOLDS) {
    const backend = nftBackend(exec, hold);
    for (const act of [() => backend.claim(), () => backend.load(plan, "intercept")]) {
      const error = await assertRejects(act);
      assert(isRuleApplyError(error));
      assertStringIncludes(error.message, "is not ours");
    }
    assertEquals((await backend.differences(plan, "intercept")).map(({ kind }) => kind), ["table"]);
    assertEquals(await backend.remove(), undefined);
    assertEquals((await exec.run(["sh", "-c", backend.removeScript()])).code, SUCCESSOR_CODE);
    await backend.close();
  }
  assertEquals(await findNftRules(exec), []);
  assertEquals(await listing(exec), before);
});

labTest("nft backend: tables of an earlier version are ours: found, replaced, removed", async () => {
  await using lab = await gatewayLab();
  const exec = labExec(lab.host("gateway"));
  const plan = everyRulePlan();
  for (const state of ["intercept 0123456789abcdef", "drain 0123456789abcdef", "claimed 0-0"]) {
    for (const hold of HOLDS) {
      await makeOldTable(exec, state);
      const found = await findNftRules(exec);
      assert(Array.isArray(found));
      assertEquals(found.map(({ what, isInUse, isKept }) => [what, isInUse, isKept]), [
        ["table inet pellucid", false, true],
      ]);
      const backend = nftBackend(exec, hold);
      await backend.claim();
      await backend.load(plan, "intercept");
      assertEquals(await backend.differences(plan, "intercept"), []);
      await backend.remove();
      await backend.close();
      assertEquals(await listing(exec), "");
    }
    await makeOldTable(exec, state);
    assertEquals(await nftBackend(exec, "plain", { by: null }).remove(), undefined);
    assertEquals(await listing(exec), "");
  }
});

async function makeOldTable(exec: Exec, state: string): Promise<void> {
  const stdin = `table inet pellucid {
    comment "pellucid: ${state}"
    chain mangle_in {
      type filter hook prerouting priority mangle; policy accept;
      iifname != "lan0" accept comment "scope: only what comes in by lan0"
    }
  }\n`;
  const result = await exec.run(["nft", "-f", "-"], { stdin });
  assertEquals(result.code, 0, result.stderr);
}

labTest("nft backend: a cgroup that does not exist is named", async () => {
  await using lab = await gatewayLab();
  const backend = nftBackend(labExec(lab.host("gateway")), "plain");
  const plan = everyRulePlan("no.slice/such.service");
  for (const act of [() => backend.check(plan), () => backend.load(plan, "intercept")]) {
    const error = await assertRejects(act);
    assert(isRuleApplyError(error));
    assertStringIncludes(
      error.message,
      "every cgroup that is named must exist when rules are loaded (/sys/fs/cgroup/no.slice/such.service)",
    );
  }
});
