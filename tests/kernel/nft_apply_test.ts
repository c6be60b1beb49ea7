/**
 * Applying rules on a real kernel: the cases the fake also runs, and what only a kernel can show.
 *
 * @module
 */
import { applyPlan, BACKENDS, cleanup, detectHost, isRuleApplyError } from "../../nft/mod.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "../assert.ts";
import { gatewayLab, labTest } from "../lab/mod.ts";
import { applyCases, differencesFrom } from "./nft_apply_cases.ts";
import { gatewayPlan, labExec } from "./nft_lab.ts";

for (const backend of BACKENDS) {
  // The fake and nft fail at every step.
  for (const { name, run } of applyCases(backend, backend === "nft" ? 1 : 5)) {
    labTest(`${backend}: ${name}`, async () => {
      await using lab = await gatewayLab();
      await run(labExec(lab.host("gateway")));
    });
  }
}

/** Polls until `nft list tables` is empty. */
async function untilNoTable(list: () => Promise<string>): Promise<void> {
  const start = performance.now();
  while (await list() !== "") {
    if (performance.now() - start > 5_000) throw new Error("the table is still there after 5 s");
  }
}

labTest(
  "nft: an owned table outlives another program's flush, and no other process can change it",
  async () => {
    await using lab = await gatewayLab();
    const exec = labExec(lab.host("gateway"));
    const host = await detectHost(exec);
    await using _rules = await applyPlan(gatewayPlan(), { exec, host, backend: "nft", keep: "process" });
    await exec.run(["nft", "flush", "ruleset"]);
    assertEquals((await exec.run(["nft", "delete", "table", "inet", "pellucid"])).code, 1);
    assertEquals(await differencesFrom(gatewayPlan(), "nft", exec), []);
  },
);

labTest("nft: kill -9 of the holder takes the table away and is reported", async () => {
  await using lab = await gatewayLab();
  const exec = labExec(lab.host("gateway"));
  const rules = await applyPlan(gatewayPlan(), {
    exec,
    host: await detectHost(exec),
    backend: "nft",
    keep: "process",
  });
  // Signals that a terminal or service manager sends to every process of ours are not its end.
  const holder = (await exec.run(["pgrep", "-xf", "nft -i"])).stdout.trim();
  for (const signal of ["-INT", "-TERM", "-HUP"]) await exec.run(["kill", signal, holder]);
  await rules.enterDrain();
  await exec.run(["kill", "-9", holder]);
  await untilNoTable(async () => (await exec.run(["nft", "list", "tables"])).stdout);
  assertStringIncludes(await rules.lost, "ended");
  await rules.revert();
  assertEquals(await cleanup(exec), { removed: [], inUse: [], left: [] });
});

labTest(
  "nft: kill -9 of the program takes the table away; a fresh start works at once",
  async () => {
    await using lab = await gatewayLab();
    const gateway = lab.host("gateway");
    const exec = labExec(gateway);
    const main = new URL("nft_holder_main.ts", import.meta.url).pathname;
    await using program = gateway.deno(main, [JSON.stringify(gatewayPlan())]);
    await program.stdout.waitFor((line) => line === "applied" || undefined, 15_000);
    await program.kill("SIGKILL");
    const list = "nft list tables; { ip rule; ip -6 rule; } | grep 7873";
    await untilNoTable(async () => (await exec.run(["sh", "-c", list])).stdout);

    const host = await detectHost(exec);
    assertEquals((await differencesFrom(gatewayPlan(), "nft", exec)).map(({ kind }) => kind), [
      "table",
      ...Array(4).fill("route"),
    ]);
    await using next = gateway.deno(main, [JSON.stringify(gatewayPlan())]);
    await next.stdout.waitFor((line) => line === "applied" || undefined, 15_000);
    assertEquals(await differencesFrom(gatewayPlan(), "nft", exec), []);
    await next.kill("SIGKILL");
    // At once: the table may still be there.
    const rules = await applyPlan(gatewayPlan(), { exec, host, backend: "nft", keep: "process" });
    assertEquals(await differencesFrom(gatewayPlan(), "nft", exec), []);
    await rules.revert();
    assertEquals(await cleanup(exec), { removed: [], inUse: [], left: [] });
  },
);

labTest(
  "nft: a route of somebody else in our routing table fails the start and leaves nothing of ours",
  async () => {
    await using lab = await gatewayLab();
    const exec = labExec(lab.host("gateway"));
    const host = await detectHost(exec);
    const foreign = ["default", "via", "2001:db8:ffff::2", "table", "7873", "metric", "1024"];
    assertEquals((await exec.run(["ip", "-6", "route", "add", ...foreign])).code, 0);
    const error = await assertRejects(() =>
      applyPlan(gatewayPlan(), { exec, host, backend: "nft", keep: "process" })
    );
    assert(isRuleApplyError(error, "apply"), `${error}`);
    assertStringIncludes(error.message, "File exists");
    assertEquals((await exec.run(["nft", "list", "tables"])).stdout, "");
    assertEquals(await cleanup(exec), { removed: [], inUse: [], left: [] });
    assertStringIncludes(
      (await exec.run(["ip", "-6", "route", "show", "table", "7873"])).stdout,
      "2001:db8:ffff::2",
    );
  },
);

labTest("nft: verify finds one removed rule and one removed route", async () => {
  await using lab = await gatewayLab();
  const exec = labExec(lab.host("gateway"));
  const host = await detectHost(exec);
  await applyPlan(gatewayPlan(), { exec, host, backend: "nft", keep: "kept" });
  const chain = await exec.run(["nft", "-a", "list", "chain", "inet", "pellucid", "tcp_in_take"]);
  const handle = /take: .* # handle (\d+)$/m.exec(chain.stdout)![1]!;
  const argv = ["nft", "delete", "rule", "inet", "pellucid", "tcp_in_take", "handle", handle];
  assertEquals((await exec.run(argv)).code, 0);
  assertEquals((await exec.run("ip -4 route flush table 7873".split(" "))).code, 0);
  const found = (await differencesFrom(gatewayPlan(), "nft", exec)).map(({ message }) => message);
  assertEquals(found.length, 2, found.join("\n"));
  assertStringIncludes(found[0]!, 'rule "take: ');
  assertStringIncludes(found[1]!, "`ip -4 route add local default dev lo table 7873 proto 173` is missing");
});
