/**
 * Whose nft rules are and how long they live, on a real kernel.
 *
 * @module
 */
import { SUCCESSOR_CODE } from "../../nft/backend.ts";
import type { Exec } from "../../nft/exec.ts";
import { findNftRules } from "../../nft/find_nft_rules.ts";
import { OwnerSession } from "../../nft/owner_session.ts";
import { TableHeldError } from "../../nft/rule_apply_error.ts";
import type { RulesState } from "../../nft/state_comment.ts";
import { isExecResult, readTable, tableState } from "../../nft/table_listing.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "../assert.ts";
import { gatewayLab, type LabHost, labTest } from "../lab/mod.ts";
import { everyRulePlan } from "./every_rule_plan.ts";
import { HOLDS, listing, nftBackend } from "./nft_backend_lab.ts";
import { labExec } from "./nft_lab.ts";

const PLAN = everyRulePlan();

/** Stands for our routes: what the holder's shell has to take away. */
const ROUTE = "ip -4 rule add fwmark 0x1000000/0x3000000 iif lan0 lookup 7873 pref 90 protocol 173".split(
  " ",
);
const AFTERWARDS = "ip -4 rule flush protocol 173";

/** The time until neither table nor route of ours is there. */
async function untilNothing(exec: Exec): Promise<void> {
  const start = performance.now();
  const left = async () => {
    const rules = (await exec.run(["ip", "-4", "rule"])).stdout.split("\n");
    return await listing(exec) + rules.filter((rule) => rule.includes("lookup 7873")).join("\n");
  };
  for (let text = await left(); text !== ""; text = await left()) {
    if (performance.now() - start > 5_000) throw new Error(`still there after 5 s:\n${text}`);
  }
}

/** What table `pellucid` says of itself. */
async function readState(exec: Exec): Promise<RulesState | undefined> {
  const table = await readTable(exec, "pellucid");
  assert(!isExecResult(table), "nft list");
  return table === undefined ? undefined : tableState(table);
}

/** A process that lives until the lab ends, or is killed, by the name that rules have for it. */
async function liveProcess(host: LabHost): Promise<{ name: string; kill(): Promise<void> }> {
  const process = host.spawn(["sleep", "60"]);
  const pid = await process.insidePid();
  const stat = (await labExec(host).run(["cat", `/proc/${pid}/stat`])).stdout;
  return {
    name: `${pid}/${stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]}`,
    kill: async () => {
      await process.kill("SIGKILL");
      await process.status;
    },
  };
}

labTest(
  "nft backend: an owned table outlives another program's flush, and no other can change it",
  async () => {
    await using lab = await gatewayLab();
    const exec = labExec(lab.host("gateway"));
    const backend = nftBackend(exec, "owner");
    await backend.claim();
    await backend.load(PLAN, "intercept");
    const before = await listing(exec);
    for (
      const command of [
        "flush ruleset",
        "delete table inet pellucid",
        "flush chain inet pellucid mangle_in",
        "flush set inet pellucid dst_4",
        "add chain inet pellucid theirs",
      ]
    ) await exec.run(["nft", command]);
    assertEquals(await listing(exec), before);
    assertEquals(await backend.differences(PLAN, "intercept"), []);
    // What would be ours in a plain table is not: the one who asks is told.
    for (const hold of HOLDS) {
      const other = nftBackend(exec, hold, { by: "4712/1" });
      await assertRejects(() => other.claim(), TableHeldError);
      assertStringIncludes(await other.remove() ?? "", "belongs to a running process");
      await other.close();
    }
    const found = await findNftRules(exec);
    assert(Array.isArray(found));
    assertEquals(found.map(({ isInUse, isKept }) => [isInUse, isKept]), [[true, false]]);
    assertEquals(await listing(exec), before);
    await backend.close();
    assertEquals(await listing(exec), "");
  },
);

labTest(
  "nft backend: kill -9 of the program takes the table away, then its shell what belongs to it",
  async () => {
    await using lab = await gatewayLab();
    const gateway = lab.host("gateway"), exec = labExec(gateway);
    const main = new URL("nft_owner_main.ts", import.meta.url).pathname;
    const process = gateway.deno(main, [JSON.stringify(PLAN), AFTERWARDS]);
    await process.stdout.waitFor((line) => line === "loaded" || undefined, 15_000);
    assertEquals((await exec.run(ROUTE)).code, 0);
    assertEquals(await nftBackend(exec, "plain", { by: null }).differences(PLAN, "intercept"), []);
    await process.kill("SIGKILL");
    await untilNothing(exec);
    const next = nftBackend(exec, "owner");
    await next.claim();
    await next.load(PLAN, "intercept");
    assertEquals(await next.differences(PLAN, "intercept"), []);
    await next.close();
  },
);

labTest("nft backend: kill -9 of the holder does so too, is reported, and it is claimed again", async () => {
  await using lab = await gatewayLab();
  const exec = labExec(lab.host("gateway"));
  const backend = nftBackend(exec, "owner", { afterwards: AFTERWARDS });
  await backend.claim();
  await backend.load(PLAN, "intercept");
  assertEquals((await exec.run(ROUTE)).code, 0);
  // Signals that a terminal or service manager sends to every process of ours are not its end.
  const holder = (await exec.run(["sh", "-c", "grep -lx nft /proc/[0-9]*/comm"])).stdout.split("/")[2]!;
  for (const signal of ["-INT", "-TERM", "-HUP"]) await exec.run(["kill", signal, holder]);
  await backend.load(PLAN, "drain");
  await exec.run(["kill", "-9", holder]);
  await untilNothing(exec);
  assertStringIncludes(await backend.lost, "ended");
  await backend.claim();
  await backend.load(PLAN, "intercept");
  assertEquals(await backend.differences(PLAN, "intercept"), []);
  await backend.close();
});

labTest("nft backend: who has the table by then keeps the routes", async () => {
  await using lab = await gatewayLab();
  const exec = labExec(lab.host("gateway"));
  const session = OwnerSession.open(exec, "pellucid", AFTERWARDS);
  assertEquals(await session.run("add table inet another { flags owner; }"), undefined);
  const successor = nftBackend(exec, "plain");
  await successor.load(PLAN, "intercept");
  assertEquals((await exec.run(ROUTE)).code, 0);
  await session.close();
  assertEquals((await exec.run(ROUTE)).code, 2, "the routing rule is gone");
  assertEquals(await successor.differences(PLAN, "intercept"), []);
});

labTest("nft backend: an owner's errors are told, each with its own transaction", async () => {
  await using lab = await gatewayLab();
  const exec = labExec(lab.host("gateway"));
  const session = OwnerSession.open(exec, "pellucid", "true");
  for (let i = 0; i < 20; i++) {
    assertStringIncludes(await session.run("delete table inet nosuch") ?? "", "No such file or directory");
    assertEquals(
      await session.run("add table inet there { flags owner; }\ndelete table inet there"),
      undefined,
    );
    assertStringIncludes(await session.run("nonsense") ?? "", "syntax error");
  }
  assertEquals(await listing(exec), "");
  await session.close();
  assertStringIncludes(await session.run("list ruleset") ?? "", "does not answer");
});

labTest("nft backend: plain rules are their process's as long as it lives", async () => {
  await using lab = await gatewayLab();
  const gateway = lab.host("gateway"), exec = labExec(gateway);
  const first = await liveProcess(gateway);
  await nftBackend(exec, "plain", { by: first.name }).load(PLAN, "intercept");
  const before = await listing(exec);
  for (const [hold, by] of [["owner", "4712/1"], ["plain", "4712/1"], ["plain", null]] as const) {
    const other = nftBackend(exec, hold, { by });
    await assertRejects(() => other.claim(), TableHeldError);
    await assertRejects(() => other.load(PLAN, "drain"), TableHeldError);
    assertStringIncludes(await other.remove() ?? "", "belongs to a running process");
    assertEquals((await exec.run(["sh", "-c", other.removeScript()])).code, SUCCESSOR_CODE);
    assertEquals(await listing(exec), before);
    await other.close();
  }
});

labTest("nft backend: of processes that claim plain rules at once one has them", async () => {
  await using lab = await gatewayLab();
  const gateway = lab.host("gateway"), exec = labExec(gateway);
  const processes = await Promise.all([1, 2, 3, 4].map(() => liveProcess(gateway)));
  for (const isThere of [false, true]) {
    if (isThere) await nftBackend(exec, "plain", { by: null }).load(PLAN, "intercept");
    const before = isThere ? (await readState(exec))?.hash : undefined;
    const claims = await Promise.allSettled(
      processes.map(({ name }) => nftBackend(exec, "plain", { by: name }).claim()),
    );
    const winners = processes.filter((_, i) => claims[i]!.status === "fulfilled");
    assertEquals(winners.length, 1);
    for (const claim of claims) {
      if (claim.status === "rejected") assert(claim.reason instanceof TableHeldError, `${claim.reason}`);
    }
    const state = await readState(exec);
    assertEquals([state?.by, state?.hash], [winners[0]!.name, before]);
    await exec.run(["nft", "delete", "table", "inet", "pellucid"]);
  }
});

labTest(
  "nft backend: a dead process's plain rules are taken over, and stay in force until the switch",
  async () => {
    await using lab = await gatewayLab();
    const gateway = lab.host("gateway"), exec = labExec(gateway);
    const first = await liveProcess(gateway);
    const sysctls = [{ key: "net/ipv4/tcp_fwmark_accept", value: "0" }];
    await nftBackend(exec, "plain", { by: first.name, sysctls }).load(PLAN, "intercept");
    await first.kill();
    const many = Array.from({ length: 9 }, (_, i) => ({ key: `net/ipv4/conf/eth${i}/x`, value: "2" }));
    const second = nftBackend(exec, "plain", { by: "4712/1", sysctls: many });
    assertEquals((await readState(exec))?.sysctls, sysctls);
    await second.claim();
    assertEquals(await second.differences(PLAN, "intercept"), []);
    assertEquals((await readState(exec))?.sysctls, sysctls);
    await second.load(PLAN, "intercept");
    assertEquals((await readState(exec))?.sysctls, many);
    assertEquals(await second.differences(PLAN, "intercept"), []);
  },
);

labTest(
  "nft backend: the script for a watchdog removes what is still its process's, and nothing else",
  async () => {
    await using lab = await gatewayLab();
    const exec = labExec(lab.host("gateway"));
    const script = nftBackend(exec, "plain", { by: "4711/1" }).removeScript();
    const run = async () => (await exec.run(["sh", "-c", script])).code;
    assertEquals(await run(), 0, "nothing is there");
    await exec.run(["nft", "add", "table", "inet", "pellucid_other"]);
    for (const by of ["4711/12", "14711/1", null]) {
      await nftBackend(exec, "plain", { by }).load(PLAN, "intercept");
      const before = await listing(exec);
      assertEquals(await run(), SUCCESSOR_CODE, `${by}`);
      assertEquals(await listing(exec), before);
      await nftBackend(exec, "plain", { by }).remove();
    }
    for (const sysctls of [[], [{ key: "net/ipv4/x", value: "1" }]]) {
      await nftBackend(exec, "plain", { by: "4711/1", sysctls }).load(PLAN, "intercept");
      assertEquals(await run(), 0);
      assertEquals((await listing(exec)).trim().split(" # ")[0], "table inet pellucid_other {");
    }
  },
);
