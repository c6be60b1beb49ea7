/**
 * The way out: signals, draining, and what is left afterwards.
 */
import { assert, assertEquals, assertGreaterOrEqual, assertLess } from "../assert.ts";
import { GATEWAY_LAB, gatewayLab, type Lab, labTest } from "../lab/mod.ts";
import { kernelState, MAIN, ProxyRun, rulesLetPass } from "./proxy_run.ts";
import { assertSeenFrom } from "./seen_from.ts";
import { Talker } from "./talker.ts";

const { client, gateway, servers } = GATEWAY_LAB;

async function parts(lab: Lab) {
  const echo = await lab.host("internet").serve({ kind: "echo" });
  return { echo, before: await kernelState(lab.host("gateway")), talker: new Talker(lab.host("client")) };
}

const CASES = [["tproxy", "SIGTERM"], ["redirect", "SIGTERM"], ["tproxy", "SIGINT"]] as const;
for (const [mode, signal] of CASES) {
  labTest(
    `${signal} with ${mode}: open connections are carried on, new ones go direct, then exit 0`,
    async () => {
      await using lab = await gatewayLab();
      const { echo, before, talker } = await parts(lab);
      await using proxy = await ProxyRun.start(lab.host("gateway"), [
        "--tcp",
        mode,
        "--from",
        "lan0",
        "--flows",
      ]);
      const v4 = await talker.reach(servers.v4, echo.port);
      await assertSeenFrom(echo, gateway.wanV4);
      const v6 = await talker.reach(servers.v6, echo.port);
      await assertSeenFrom(echo, gateway.wanV6);

      await proxy.process.kill(signal);
      assertEquals((await proxy.event("draining")).openConnections, 2);
      await rulesLetPass(lab.host("gateway"));
      await v4.say("while draining");
      await v6.say("while draining");
      for (const [address, direct] of [[servers.v4, client.v4], [servers.v6, client.v6]] as const) {
        const passing = await talker.reach(address, echo.port);
        await assertSeenFrom(echo, direct);
        await passing.close();
      }
      await v4.close();
      await v6.say("still there");
      assert(proxy.process.running, "it ended with a connection open");
      await v6.close();
      assertEquals(await proxy.exitCode(), 0);

      const { totals, forced } = await proxy.event("stopped");
      assertEquals(forced, false);
      const bytes = "hello".length * 2 + "while draining".length * 2 + "still there".length;
      const { tcpAccepted, tcpOpenNow, tcpFinished, tcpBytesUp, tcpBytesDown, pipesNow } = totals;
      assertEquals(
        { tcpAccepted, tcpOpenNow, tcpFinished, tcpBytesUp, tcpBytesDown, pipesNow },
        {
          tcpAccepted: 2,
          tcpOpenNow: 0,
          tcpFinished: 2,
          tcpBytesUp: bytes,
          tcpBytesDown: bytes,
          pipesNow: 0,
        },
      );
      assertEquals(proxy.logged("flow").map((flow) => flow.destination).sort(), [
        `${servers.v4}:${echo.port}`,
        `[${servers.v6}]:${echo.port}`,
      ]);
      assertEquals(await kernelState(lab.host("gateway")), before);
    },
  );
}

labTest("drain timeout: what is still open is reset, exit 0", async () => {
  await using lab = await gatewayLab();
  const { echo, before, talker } = await parts(lab);
  await using proxy = await ProxyRun.start(lab.host("gateway"), [
    ...["--from", "lan0", "--drain-timeout", "0.5", "--flows"],
  ]);
  const talk = await talker.reach(servers.v4, echo.port);
  const signalledAt = performance.now();
  await proxy.process.kill("SIGTERM");
  assertEquals(await talk.ended(), "reset");
  assertGreaterOrEqual(performance.now() - signalledAt, 500);
  assertEquals((await echo.nextClosed()).end, "reset");
  assertEquals(await proxy.exitCode(), 0);
  assertEquals((await proxy.event("flow")).end, { reason: "shutdown", side: "proxy" });
  assertEquals((await proxy.event("stopped")).forced, false);
  assertEquals(await kernelState(lab.host("gateway")), before);
});

labTest("a second signal ends the drain at once", async () => {
  await using lab = await gatewayLab();
  const { echo, before, talker } = await parts(lab);
  await using proxy = await ProxyRun.start(lab.host("gateway"), ["--from", "lan0", "--drain-timeout", "60"]);
  const talk = await talker.reach(servers.v6, echo.port);
  await proxy.process.kill("SIGTERM");
  await proxy.event("draining");
  await talk.say("carried on");
  const secondAt = performance.now();
  await proxy.process.kill("SIGINT");
  assertEquals(await talk.ended(), "reset");
  assertEquals(await proxy.exitCode(), 0);
  assertLess(performance.now() - secondAt, 3_000);
  assertEquals((await proxy.event("stopped")).forced, true);
  assertEquals(await kernelState(lab.host("gateway")), before);
});

for (const mode of ["tproxy", "redirect"] as const) {
  labTest(`${mode}: flows that existed before the start are untouched by start and stop`, async () => {
    await using lab = await gatewayLab();
    const { echo, talker } = await parts(lab);
    const old = [await talker.reach(servers.v4, echo.port), await talker.reach(servers.v6, echo.port)];
    await assertSeenFrom(echo, client.v4);
    await assertSeenFrom(echo, client.v6);
    const args = ["--tcp", mode, "--from", "lan0", "--local"];
    await using proxy = await ProxyRun.start(lab.host("gateway"), args);
    for (const talk of old) await talk.say("proxy runs");
    const taken = await talker.reach(servers.v4, echo.port);
    await assertSeenFrom(echo, gateway.wanV4);
    await proxy.process.kill("SIGTERM");
    await rulesLetPass(lab.host("gateway"));
    for (const talk of old) await talk.say("proxy drains");
    await taken.close();
    assertEquals(await proxy.exitCode(), 0);
    for (const talk of old) await talk.say("proxy gone");
    assertEquals((await proxy.event("stopped")).totals.tcpAccepted, 1);
  });
}

labTest("a log that nobody reads any more is no reason to stop carrying", async () => {
  await using lab = await gatewayLab();
  const { echo, before, talker } = await parts(lab);
  // head ends after the first line, which is `ready`; from then on a write to the log fails with EPIPE.
  const script = 'exec 3>&1; { "$@" 2>&1 >/dev/null & echo $! >&3; wait $!; } | head -n 1';
  const here = lab.host("gateway");
  await using proxy = here.spawn([
    ...["sh", "-c", script, "sh", Deno.execPath(), "run", "-A", "--cached-only", MAIN],
    // Named, so that the choice of the tool is not the first line.
    ...["run", "--from", "lan0", "--rules", "nft", "--flows", "--log", "json"],
  ]);
  const pid = await proxy.stdout.waitFor((line) => /^\d+$/.test(line) ? line : undefined, 10_000);
  await proxy.stdout.waitFor((line) => line.includes('"ready"') || undefined, 10_000);
  for (let i = 0; i < 3; i++) {
    await (await talker.reach(servers.v4, echo.port)).close();
    await assertSeenFrom(echo, gateway.wanV4);
  }
  await here.output(["kill", "-TERM", pid]);
  await proxy.wait(10_000);
  assertEquals(await kernelState(here), before);
});
