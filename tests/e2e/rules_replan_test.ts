/**
 * What the rules were made from changes while the proxy runs: interfaces that a pattern means, lists in files. And
 * what keeps the promise of a kill is itself killed first.
 */
import { assert, assertEquals, assertStringIncludes } from "../assert.ts";
import { GATEWAY_LAB, gatewayLab, type LabHost, labTest } from "../lab/mod.ts";
import { eventually, kernelState, MAIN, ProxyRun } from "./proxy_run.ts";
import { assertSeenFrom } from "./seen_from.ts";
import { Talker } from "./talker.ts";

const { client, gateway, servers } = GATEWAY_LAB;

async function routingRules(host: LabHost): Promise<string> {
  return await host.output(["sh", "-c", "ip rule; ip -6 rule"]);
}

for (const rules of ["nft", "iptables", "iptables-legacy"] as const) {
  labTest(`replan: ${rules}: interfaces come and go, a list changes, connections stay`, async () => {
    await using lab = await gatewayLab();
    const here = lab.host("gateway");
    const list = await Deno.makeTempFile({ prefix: "pellucid-list-" });
    try {
      await Deno.writeTextFile(list, `${servers.v4b}\n`);
      await using echo = await lab.host("internet").serve({ kind: "echo" });
      await using talker = new Talker(lab.host("client"));
      const flags = ["--rules", rules, "--from", "lan*", "--exclude-cidr-file", list];
      await using proxy = await ProxyRun.start(here, flags);
      const open = await talker.reach(servers.v4, echo.port);
      await assertSeenFrom(echo, gateway.wanV4);
      await (await talker.reach(servers.v4b, echo.port)).close();
      await assertSeenFrom(echo, client.v4);

      await here.output(["ip", "link", "add", "lan9", "type", "veth", "peer", "name", "other9"]);
      await proxy.event("rules-replaced", ({ message }) => message.includes("lan9"));
      assertStringIncludes(await routingRules(here), "iif lan9 lookup 7873");
      await here.output(["ip", "link", "del", "lan9"]);
      await proxy.event("rules-replaced", ({ message }) => message === "interfaces: now lan0");
      assert(!(await routingRules(here)).includes("lan9"));

      const many = Array.from({ length: 200 }, (_, i) => `198.19.${i}.0/24`);
      await Deno.writeTextFile(list, [servers.v4, ...many, ""].join("\n"));
      await proxy.event("rules-replaced", ({ message }) => message.startsWith("lists"));
      await (await talker.reach(servers.v4, echo.port)).close();
      await assertSeenFrom(echo, client.v4);
      await (await talker.reach(servers.v4b, echo.port)).close();
      await assertSeenFrom(echo, gateway.wanV4);
      await open.say("still carried");

      // A list that cannot be read is said, and changes nothing.
      await Deno.writeTextFile(list, "nonsense\n");
      await proxy.event("warning", ({ code }) => code === "rules-not-replaced");
      await (await talker.reach(servers.v4b, echo.port)).close();
      await assertSeenFrom(echo, gateway.wanV4);
      await open.close();
      await proxy.stop();
      assertEquals((await routingRules(here)).includes("7873"), false);
    } finally {
      await Deno.remove(list);
    }
  }, { timeoutMs: 60_000 });
}

labTest("counters: what each rule has met", async () => {
  await using lab = await gatewayLab();
  const here = lab.host("gateway");
  await using echo = await lab.host("internet").serve({ kind: "echo" });
  await using talker = new Talker(lab.host("client"));
  for (const rules of ["nft", "iptables", "iptables-legacy"]) {
    const flags = ["--rules", rules, "--from", "lan0"];
    await using proxy = await ProxyRun.start(here, flags);
    for (let i = 0; i < 3; i++) await (await talker.reach(servers.v4, echo.port)).close();
    const argv = [Deno.execPath(), "run", "-A", "--cached-only", MAIN, "rules", "counters", "--json"];
    const lines = (await here.output([...argv, ...flags])).trim().split("\n").map((line) => JSON.parse(line));
    const taken = lines.find(({ chain, rule }) => chain === "tcp_in_take" && rule === "take");
    assertEquals([taken?.packets, taken?.bytes >= 3 * 40], [3, true], rules);
    await proxy.stop();
  }
}, { timeoutMs: 60_000 });

labTest("watchdog: killed first, it is started again, and does its work", async () => {
  await using lab = await gatewayLab();
  const here = lab.host("gateway");
  const flags = ["--rules", "iptables-legacy", "--from", "lan0"];
  const before = await kernelState(here);
  await using proxy = await ProxyRun.start(here, flags);
  const find = async () => (await here.run(["pgrep", "-f", "while read -r line"])).stdout.trim();
  const watchdog = await find();
  assert(/^\d+$/.test(watchdog), watchdog);
  await here.output(["kill", "-9", watchdog]);
  await eventually("there is another", async () => {
    const other = await find();
    return other !== "" && other !== watchdog;
  }, 2_000);
  assert((await here.output(["iptables-legacy-save"])).includes("pellucid"));
  await proxy.process.kill("SIGKILL");
  await eventually("all of it is gone", async () => {
    return await kernelState(here) === before &&
      !(await here.output(["sh", "-c", "iptables-legacy-save; ip6tables-legacy-save"])).includes("pellucid");
  }, 1_500);
}, { timeoutMs: 60_000 });
