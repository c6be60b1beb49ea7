/**
 * Rules and the process that put them there: restored when they are lost, gone when the process is, no obstacle for
 * the next one.
 */
import { assert, assertEquals } from "../assert.ts";
import { gatewayLab, type LabHost, type LabProcess, labTest } from "../lab/mod.ts";

const MAIN = new URL("../../mod.ts", import.meta.url).href;
const EVENT_TIMEOUT_MS = 15_000;

/** Starts the proxy for lan0 and waits until it is ready. */
async function startProxy(gateway: LabHost, ...args: string[]): Promise<LabProcess> {
  const proxy = gateway.deno(MAIN, ["run", "--from", "lan0", "--workers", "1", "--log", "json", ...args]);
  await untilEvent(proxy, "ready");
  return proxy;
}

/** The first event of this name, as it was logged. */
async function untilEvent(proxy: LabProcess, name: string): Promise<Record<string, unknown>> {
  return await proxy.stderr.waitFor((line) => {
    const event = JSON.parse(line) as Record<string, unknown>;
    return event.event === name ? event : undefined;
  }, EVENT_TIMEOUT_MS);
}

/** Runs `pellucid rules` with these arguments to its end. */
async function rulesCommand(
  gateway: LabHost,
  ...args: string[]
): Promise<{ code: number; stdout: string }> {
  const command = gateway.deno(MAIN, ["rules", ...args]);
  const { code } = await command.wait(EVENT_TIMEOUT_MS);
  return { code, stdout: command.stdout.text() };
}

async function tables(gateway: LabHost): Promise<string> {
  return (await gateway.output(["nft", "list", "tables"])).trim();
}

/** Kills the process in the lab that holds the table; the lab has a pid namespace of its own. */
async function killTableHolder(gateway: LabHost): Promise<void> {
  const pids = (await gateway.output(["pgrep", "-xf", "nft -i"])).trim().split("\n");
  assertEquals(pids.length, 1);
  await gateway.output(["kill", "-9", pids[0]!]);
}

async function inGateway(test: (gateway: LabHost) => Promise<void>): Promise<void> {
  await using lab = await gatewayLab();
  await test(lab.host("gateway"));
}

labTest("rules: when their holder is killed they are put in place again", () =>
  inGateway(async (gateway) => {
    await using proxy = await startProxy(gateway);
    await killTableHolder(gateway);
    const lost = await untilEvent(proxy, "rules-lost");
    assert(String(lost.message).includes("that holds our table ended"), String(lost.message));
    await untilEvent(proxy, "rules-restored");
    assertEquals(await tables(gateway), "table inet pellucid");
    await proxy.kill("SIGTERM");
    assertEquals((await proxy.wait(EVENT_TIMEOUT_MS)).code, 0);
    assertEquals(await tables(gateway), "");
  }));

labTest(
  "rules: kill -9 takes them away, and a fresh start works at once",
  () =>
    inGateway(async (gateway) => {
      await using killed = await startProxy(gateway);
      assertEquals(await tables(gateway), "table inet pellucid");
      await killed.kill("SIGKILL");
      await new Promise((resolve) => setTimeout(resolve, 1000));
      assertEquals(await tables(gateway), "");
      await using proxy = await startProxy(gateway);
      await proxy.kill("SIGINT");
      assertEquals((await proxy.wait(EVENT_TIMEOUT_MS)).code, 0);
      // What the killed one left of routes and rules is gone with its successor.
      const left = await gateway.output(["ip", "rule"]) + await gateway.output(["ip", "-6", "rule"]);
      assert(!left.includes("7873"), left);
    }),
);

labTest(
  "rules: a second proxy does not start beside the first, which carries on",
  () =>
    inGateway(async (gateway) => {
      await using first = await startProxy(gateway);
      const start = (...args: string[]) =>
        gateway.deno(MAIN, ["run", "--from", "lan0", "--log", "json", ...args]);
      await using samePort = start();
      assertEquals((await untilEvent(samePort, "error")).code, "port-taken");
      assertEquals((await samePort.wait(EVENT_TIMEOUT_MS)).code, 1);
      await using otherPort = start("--port", "7970");
      assertEquals((await untilEvent(otherPort, "error")).code, "rules-failed");
      assertEquals((await otherPort.wait(EVENT_TIMEOUT_MS)).code, 1);
      assertEquals(await tables(gateway), "table inet pellucid");
      assert(first.running);
      assertEquals((await rulesCommand(gateway, "cleanup")).code, 1);
      assertEquals(await tables(gateway), "table inet pellucid");
    }),
);

labTest(
  "rules: apply outlives the command, verify sees what was changed, cleanup removes it",
  () =>
    inGateway(async (gateway) => {
      const rules = (...args: string[]) => rulesCommand(gateway, ...args);
      assertEquals((await rules("apply", "--from", "lan0")).code, 0);
      assertEquals((await rules("verify", "--from", "lan0")).code, 0);
      await gateway.output(["ip", "-6", "rule", "del", "pref", "90"]);
      const changed = await rules("verify", "--from", "lan0");
      assertEquals(changed.code, 1);
      assert(/^route: .* is missing$/m.test(changed.stdout), changed.stdout);
      assertEquals((await rules("cleanup")).code, 0);
      assertEquals(await tables(gateway), "");
      assertEquals(await rules("cleanup"), { code: 0, stdout: "nothing of ours was found\n" });
    }),
);

labTest(
  "rules: verify, counters and apply without --rules go by the tool that made what is there",
  () =>
    inGateway(async (gateway) => {
      const rules = (...args: string[]) => rulesCommand(gateway, ...args);
      assertEquals((await rules("apply", "--from", "lan0", "--rules", "iptables")).code, 0);
      const place = { code: 0, stdout: "iptables chains pellucid_* and routes are in place\n" };
      assertEquals(await rules("apply", "--from", "lan0"), place);
      assertEquals(await rules("verify", "--from", "lan0"), { code: 0, stdout: "everything is in place\n" });
      assertEquals((await rules("counters", "--from", "lan0")).code, 0);
      assertEquals((await rules("cleanup")).code, 0);
    }),
);
