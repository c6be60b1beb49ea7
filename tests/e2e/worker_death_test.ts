/**
 * A worker that throws while it carries connections, and two workers that do not.
 */
import { assert, assertEquals, assertGreater, assertStringIncludes } from "../assert.ts";
import { GATEWAY_LAB, gatewayLab, labTest } from "../lab/mod.ts";
import { ProxyRun } from "./proxy_run.ts";
import { threadSleeps } from "./process_cost.ts";
import { fatesOf, type Talk, Talker } from "./talker.ts";

const { gateway, servers } = GATEWAY_LAB;
const PORT = 7870;
const THROWING_MAIN = new URL("../fixtures/throwing_main.ts", import.meta.url).href;

/** So many that the kernel's hash leaves no worker without one: 2^-15 is the chance of it. */
const MANY = 16;

async function reachMany(talker: Talker, port: number): Promise<Talk[]> {
  const addresses = [servers.v4, servers.v6];
  return await Promise.all(Array.from({ length: MANY }, (_, i) => talker.reach(addresses[i % 2]!, port)));
}

for (const mode of ["tproxy", "redirect"] as const) {
  labTest(
    `${mode}: a worker that throws: its clients are reset, the other one carries on, it comes back`,
    async () => {
      await using lab = await gatewayLab();
      await using echo = await lab.host("internet").serve({ kind: "echo" });
      await using talker = new Talker(lab.host("client"));
      await using proxy = await ProxyRun.start(lab.host("gateway"), [mode], { main: THROWING_MAIN });
      const talks = await reachMany(talker, echo.port);

      const trigger = talker.dial(gateway.v4, PORT);
      const death = await proxy.event("worker-died");
      assertEquals(await trigger.ended(), "reset");
      assertEquals([death.message, death.restartMs, death.level], ["fixture: a fault", 100, "error"]);
      assertStringIncludes(death.stack!, "throwing_worker.ts");
      assert(death.hint.length > 0);
      // Half-closed peers and hanging ones would both have a timeout for an answer here.
      const fates = await fatesOf(talks, "still carried");
      assertEquals(new Set(fates), new Set(["carried", "reset"]));
      const survivors = talks.filter((_, i) => fates[i] === "carried");

      // While it is away, and when it is back, every new connection is taken by a worker that lives.
      const meanwhile = await talker.reach(servers.v4b, echo.port);
      const { worker } = await proxy.event("worker-restarted");
      assertEquals(worker, death.worker);
      const later = await reachMany(talker, echo.port);

      talker.dial(gateway.v6, PORT);
      let deaths = 0;
      const second = await proxy.event("worker-died", () => ++deaths > 1);
      // The wait grows for a worker that dies again soon.
      assertEquals(second.restartMs, second.worker === death.worker ? 200 : 100);
      for (const talk of [...survivors, meanwhile, ...later]) {
        if (await talk.say("x").then(() => true, () => false)) await talk.close();
        else assertEquals(talk.end, "reset");
      }
      const totals = await proxy.stop();
      const carried = 2 * MANY + 1;
      assertEquals([totals.tcpOpenNow, totals.tcpFinished, totals.tcpRefusedLoop], [0, carried, 2]);
      assertEquals(proxy.logged("flow").length, carried);
    },
  );
}

labTest("--workers 2: connections are carried by both", async () => {
  await using lab = await gatewayLab();
  await using echo = await lab.host("internet").serve({ kind: "echo" });
  await using talker = new Talker(lab.host("client"));
  await using proxy = await ProxyRun.start(lab.host("gateway"), ["--from", "lan0", "--workers", "2"]);
  assertEquals((await proxy.event("ready")).workers, 2);
  const pid = await proxy.process.outsidePid();
  const talks = await reachMany(talker, echo.port);
  const before = threadSleeps(pid);
  for (let round = 0; round < 5; round++) await Promise.all(talks.map((talk) => talk.say("to and fro")));
  const busy = [...threadSleeps(pid)].filter(([tid, { name, sleeps }]) =>
    name.startsWith("worker-") && sleeps - (before.get(tid)?.sleeps ?? 0) >= 5
  );
  assertEquals(busy.length, 2);
  for (const talk of talks) await talk.close();
  assertEquals((await proxy.stop()).tcpFinished, MANY);
});

labTest(
  "an idle proxy sleeps: with 1,000 open connections no thread wakes up more than about once a second",
  async () => {
    await using lab = await gatewayLab();
    await using echo = await lab.host("internet").serve({ kind: "echo" });
    await using talker = new Talker(lab.host("client"));
    await using proxy = await ProxyRun.start(lab.host("gateway"), ["--from", "lan0", "--workers", "2"]);
    const talks = Array.from(
      { length: 1000 },
      (_, i) => talker.dial(i % 2 ? servers.v4 : servers.v6, echo.port),
    );
    await Promise.all(talks.map((talk) => talk.say("hello")));
    const pid = await proxy.process.outsidePid();
    // What the connections themselves have set in motion comes to rest.
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    const before = threadSleeps(pid);
    await new Promise((resolve) => setTimeout(resolve, 5_000));
    const woken = [...threadSleeps(pid)].map(([tid, { name, sleeps }]) => ({
      name,
      wakeUps: sleeps - (before.get(tid)?.sleeps ?? 0),
    }));
    assertGreater(woken.length, 2);
    assertEquals(woken.filter(({ wakeUps }) => wakeUps > 6), []);
    assertEquals((await proxy.stopByForce()).tcpAccepted, 1000);
  },
);
