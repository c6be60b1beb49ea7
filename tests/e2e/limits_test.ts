/**
 * At a limit: what is refused, what goes on, and what is said about it.
 */
import { assert, assertEquals, assertGreaterOrEqual, assertLess, assertStringIncludes } from "../assert.ts";
import { GATEWAY_LAB, gatewayLab, labTest } from "../lab/mod.ts";
import { eventually, ProxyRun } from "./proxy_run.ts";
import { processCpuMs } from "./process_cost.ts";
import { fatesOf, type Talk, Talker } from "./talker.ts";

const { gateway, servers } = GATEWAY_LAB;
const PORT = 7870;

async function assertAllCarry(talks: readonly Talk[]): Promise<void> {
  await Promise.all(talks.map((talk) => talk.say("still carried ")));
}

labTest("--max-connections: the newest is reset, the others are carried, room is used again", async () => {
  await using lab = await gatewayLab();
  await using echo = await lab.host("internet").serve({ kind: "echo" });
  await using talker = new Talker(lab.host("client"));
  const flags = ["--from", "lan0", "--workers", "2", "--max-connections", "3"];
  await using proxy = await ProxyRun.start(lab.host("gateway"), flags);
  const open = [];
  for (const address of [servers.v4, servers.v6, servers.v4b]) {
    open.push(await talker.reach(address, echo.port));
  }
  assertEquals(await talker.dial(servers.v6, echo.port).ended(), "reset");
  const warning = await proxy.event("warning", ({ code }) => code === "connection-limit");
  assertEquals([warning.message, warning.level], ["3 connections are open", "warn"]);
  assertStringIncludes(warning.hint!, "--max-connections");
  await assertAllCarry(open);
  await open.pop()!.close();
  // The proxy hears of the close a moment later than we do.
  await eventually("there is room again", async () => {
    const talk = talker.dial(servers.v6, echo.port);
    const carried = await talk.say("x").then(() => true, () => false);
    if (carried) open.push(talk);
    return carried;
  }, 15_000);
  await assertAllCarry(open);
  for (const talk of open) await talk.close();
  const totals = await proxy.stop();
  assertEquals([totals.tcpOpenNow, totals.tcpFinished], [0, 4]);
  assertGreaterOrEqual(totals.tcpRefusedLimit, 1);
  assertEquals(totals.tcpAccepted, 4 + totals.tcpRefusedLimit);
});

labTest(
  "--max-connections-per-client: one client's newest is reset, another client is not held to it",
  async () => {
    await using lab = await gatewayLab({ secondClient: true });
    await using echo = await lab.host("internet").serve({ kind: "echo" });
    await using greedy = new Talker(lab.host("client"));
    await using modest = new Talker(lab.host("client2"));
    const flags = ["--from", "lan0", "--from", "lan1", "--workers", "2", "--max-connections-per-client", "2"];
    await using proxy = await ProxyRun.start(lab.host("gateway"), flags);
    const open: Talk[] = [];
    for (const address of [servers.v4, servers.v6]) {
      open.push(await greedy.reach(address, echo.port), await greedy.reach(address, echo.port));
      assertEquals(await greedy.dial(address, echo.port).ended(), "reset", address);
      open.push(await modest.reach(address, echo.port));
    }
    const warning = await proxy.event("warning", ({ code }) => code === "client-limit");
    assertEquals(warning.message, "one client has 2 connections open");
    assertStringIncludes(warning.hint!, "--max-connections-per-client");
    await assertAllCarry(open);
    for (const talk of open) await talk.close();
    const totals = await proxy.stop();
    assertEquals([totals.tcpRefusedClientLimit, totals.tcpFinished, totals.tcpOpenNow], [2, 6, 0]);
  },
);

for (const mode of ["tproxy", "redirect"] as const) {
  labTest(`${mode}: a client that dials our port itself is reset, counted and warned of`, async () => {
    await using lab = await gatewayLab();
    await using echo = await lab.host("internet").serve({ kind: "echo" });
    await using onOurPort = await lab.host("internet").serve({ kind: "echo", port: PORT });
    await using talker = new Talker(lab.host("client"));
    await using local = new Talker(lab.host("gateway"));
    await using proxy = await ProxyRun.start(lab.host("gateway"), [
      "--tcp",
      mode,
      "--from",
      "lan0",
      "--local",
    ]);
    const carried = await talker.reach(servers.v4, echo.port);
    for (const address of [gateway.v4, gateway.v6, gateway.wanV4, gateway.wanV6]) {
      assertEquals(await talker.dial(address, PORT).ended(), "reset", address);
    }
    for (const address of ["127.0.0.1", "::1", gateway.wanV6]) {
      assertEquals(await local.dial(address, PORT).ended(), "reset", address);
    }
    // The same port number on another host is that host's own.
    await talker.reach(servers.v4b, onOurPort.port);
    await talker.reach(servers.v6b, onOurPort.port);
    await carried.say("still carried");
    const warning = await proxy.event("warning", ({ code }) => code === "loop");
    assertEquals(warning.message, "a connection was made straight to the listening port");
    assert(warning.hint !== undefined && warning.worker !== undefined);
    const totals = await proxy.stopByForce();
    assertEquals([totals.tcpRefusedLoop, totals.tcpAccepted, totals.tcpDialFailed], [7, 10, 0]);
  });
}

labTest(
  "a low limit of open files: as many connections as are promised, and not one for which there is no room",
  async () => {
    await using lab = await gatewayLab();
    await using echo = await lab.host("internet").serve({ kind: "echo" });
    await using talker = new Talker(lab.host("client"));
    const flags = ["--from", "lan0", "--workers", "1", "--max-connections", "1000"];
    const prefix = ["prlimit", "--nofile=100:400"];
    await using proxy = await ProxyRun.start(lab.host("gateway"), flags, { prefix });
    const { maxConnections } = await proxy.event("ready");
    assertLess(maxConnections, 200);
    const lowered = await proxy.event("warning", ({ code }) => code === "max-connections-lowered");
    assertStringIncludes(
      lowered.message,
      `1000 found, lowered to ${maxConnections}: the limit of open files is 400`,
    );
    const open = [];
    for (let i = 0; i < maxConnections; i++) {
      open.push(talker.dial(i % 2 ? servers.v4 : servers.v6, echo.port));
    }
    await assertAllCarry(open);
    assertEquals(await talker.dial(servers.v4, echo.port).ended(), "reset");
    await assertAllCarry(open);
    const totals = await proxy.stopByForce();
    assertEquals([totals.tcpRefusedLimit, totals.tcpRefusedFds, totals.tcpAcceptPauses], [1, 0, 0]);
  },
);

labTest(
  "out of file descriptors: accepting pauses without a busy loop, resumes when some are free",
  async () => {
    await using lab = await gatewayLab();
    await using echo = await lab.host("internet").serve({ kind: "echo" });
    await using talker = new Talker(lab.host("client"));
    const here = lab.host("gateway");
    await using proxy = await ProxyRun.start(here, ["--from", "lan0", "--workers", "1"]);
    const pid = await proxy.process.outsidePid();
    const used = [...Deno.readDirSync(`/proc/${pid}/fd`)].length;
    // Beneath what the proxy found at its start, or it would never have promised so many connections.
    const limit = `--nofile=${used + 12}:${used + 12}`;
    await here.output(["prlimit", `--pid=${await proxy.process.insidePid()}`, limit]);

    const open: Talk[] = [];
    for (const address of [servers.v4, servers.v6, servers.v4, servers.v6]) {
      open.push(await talker.reach(address, echo.port));
    }
    const waiting = Array.from({ length: 12 }, () => talker.dial(servers.v4b, echo.port));
    const warning = await proxy.event("warning", ({ code }) => code === "fds-exhausted");
    assertStringIncludes(warning.message, "EMFILE");
    assertStringIncludes(warning.hint!, "LimitNOFILE=");
    const [cpuBefore, since] = [processCpuMs(pid), performance.now()];
    for (let i = 0; i < 10; i++) {
      await assertAllCarry(open);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const busy = (processCpuMs(pid) - cpuBefore) / (performance.now() - since);
    assertLess(busy, 0.3, "part of one CPU");

    for (const talk of open) await talk.close();
    const fates = await fatesOf(waiting, "at last");
    // Each of them has an answer; how many were reset before there was room is a matter of moments.
    assertEquals(new Set(fates).difference(new Set(["carried", "reset"])).size, 0, fates.join());
    assert(fates.includes("carried"), fates.join());
    for (const talk of waiting) await talk.close();
    await eventually("new connections are carried", async () => {
      return await talker.dial(servers.v6b, echo.port).say("y").then(() => true, () => false);
    }, 15_000);
    const totals = await proxy.stopByForce();
    assertGreaterOrEqual(totals.tcpAcceptPauses, 1);
    assertGreaterOrEqual(totals.tcpRefusedFds, fates.filter((fate) => fate === "reset").length);
    assertEquals(totals.tcpOpenNow, 0);
  },
);
