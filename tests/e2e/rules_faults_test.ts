/**
 * What may happen to rules and routes while they are put in place, and while they are there: nothing of ours stays
 * behind, and nobody is cut off.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "../assert.ts";
import { GATEWAY_LAB, gatewayLab, type LabHost, labTest } from "../lab/mod.ts";
import { eventually, kernelState, MAIN, ProxyRun } from "./proxy_run.ts";
import { assertSeenFrom } from "./seen_from.ts";
import { Talker } from "./talker.ts";
import { ToolFolder } from "./tool_folder.ts";

const { client, gateway, servers } = GATEWAY_LAB;
const FROM_LAN = ["--from", "lan0"];

/** The start fails for the reason given, and leaves the host as it was. */
async function assertUndone(host: LabHost, tools: ToolFolder, reason: string, what: string): Promise<void> {
  const before = await kernelState(host);
  await using proxy = ProxyRun.launch(host, FROM_LAN, tools);
  assertEquals(await proxy.exitCode(), 1, what);
  const [error] = proxy.logged("error");
  assertEquals(error?.code, "rules-failed", what);
  assertStringIncludes(error!.message, reason, what);
  assertMatch(error!.hint!, /^(what had been done is undone|nothing of it stays);/, what);
  assertEquals(await kernelState(host), before, what);
}

labTest("a start that fails at any of its routing commands leaves nothing behind", async () => {
  await using lab = await gatewayLab();
  const here = lab.host("gateway");
  await using tools = await ToolFolder.create();
  // Each change is a line in a file; the change that makes the file as long as asked for fails as the kernel would.
  await tools.wrap(
    "ip",
    `case " $* " in *" add "*)
       echo "$*" >>"$FOLDER/changes"
       [ "$(wc -l <"$FOLDER/changes")" != "$(cat "$FOLDER/fail-at")" ] || {
         echo "RTNETLINK answers: Cannot allocate memory" >&2
         exit 2
       }
     esac
     exec "$REAL" "$@"`,
  );
  const failAt = async (step: number) => {
    await Deno.writeTextFile(`${tools.path}/fail-at`, `${step}`);
    await Deno.writeTextFile(`${tools.path}/changes`, "");
  };
  await failAt(0);
  const proxy = await ProxyRun.start(here, FROM_LAN, tools);
  const changes = (await Deno.readTextFile(`${tools.path}/changes`)).trim().split("\n");
  await proxy.stop();
  assertEquals(changes.length, 4, changes.join("\n"));
  for (const [i, change] of changes.entries()) {
    await failAt(i + 1);
    await assertUndone(here, tools, `ip ${change}: RTNETLINK answers: Cannot allocate memory`, change);
  }
});

labTest("a start that fails at its rules leaves nothing behind", async () => {
  await using lab = await gatewayLab();
  const here = lab.host("gateway");
  const wrapSession = async (session: string) => {
    const tools = await ToolFolder.create();
    await tools.wrap("nft", `[ "$1" = -i ] || exec "$REAL" "$@"\n${session}`);
    return tools;
  };
  // The session's own nft ends before it has heard anything.
  await using broken = await wrapSession("exit 1");
  await assertUndone(here, broken, "rules apply: nft", "no session");
  // The kernel turns down what --check had let pass: the table itself, or the rules once the table is ours.
  const refusal = "Error: Could not process rule: No buffer space available";
  for (const start of ["add table inet pellucid", "delete rule inet pellucid"]) {
    await using refused = await wrapSession(
      `while read -r line; do
         case $line in "${start}"*) echo "${refusal}" >&2 ;; *) echo "$line" ;; esac
       done | "$REAL" -i`,
    );
    await assertUndone(here, refused, refusal, start);
  }
  // It is loaded, but not as it was written: somebody's nft leaves out a rule.
  await using altered = await wrapSession(
    `sed -u 's/meta l4proto tcp counter tproxy to [^;]*;//' | "$REAL" -i`,
  );
  await assertUndone(here, altered, "take: to the listener", "rule left out");
});

labTest(
  "two that start at the same moment: one runs and takes connections, the other leaves it alone",
  async () => {
    await using lab = await gatewayLab();
    const here = lab.host("gateway");
    const before = await kernelState(here);
    await using echo = await lab.host("internet").serve({ kind: "echo" });
    await using talker = new Talker(lab.host("client"));
    for (let round = 0; round < 3; round++) {
      await using one = ProxyRun.launch(here, FROM_LAN);
      await using two = ProxyRun.launch(here, FROM_LAN);
      const ready = (proxy: ProxyRun) => proxy.event("ready").then(() => proxy, () => undefined);
      const running = (await Promise.all([ready(one), ready(two)])).filter((proxy) => proxy !== undefined);
      assertEquals(running.length, 1);
      const loser = running[0] === one ? two : one;
      assertEquals(await loser.exitCode(), 1);
      // Which of the checks it came to is a matter of milliseconds.
      assertMatch(
        loser.logged("error")[0]!.message,
        /(TCP|UDP) port \d+: taken|data plane: bind: EADDRINUSE$|^rules \w+: table inet pellucid belongs to a running process$/,
      );
      for (const [address, seen] of [[servers.v4, gateway.wanV4], [servers.v6, gateway.wanV6]] as const) {
        await (await talker.reach(address, echo.port)).close();
        await assertSeenFrom(echo, seen);
      }
      await running[0]!.stop();
      assertEquals(await kernelState(here), before);
    }
  },
);

labTest("a signal during the start: nothing stays, exit 0", async () => {
  await using lab = await gatewayLab();
  const here = lab.host("gateway");
  const before = await kernelState(here);
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    await using proxy = ProxyRun.launch(here, [...FROM_LAN, "--log-level", "debug"]);
    await proxy.event("starting");
    await proxy.process.kill(signal);
    assertEquals(await proxy.exitCode(), 0);
    assertEquals((await proxy.event("stopped")).totals.tcpAccepted, 0);
    assertEquals(await kernelState(here), before);
  }
});

labTest("somebody else's route in our routing table stops the start and stays", async () => {
  await using lab = await gatewayLab();
  const here = lab.host("gateway");
  await here.output(["ip", "-6", "route", "add", "local", "default", "dev", "lo", "table", "7873"]);
  await using tools = await ToolFolder.create();
  await assertUndone(here, tools, "File exists", "foreign route");
  assertStringIncludes(
    await here.output(["ip", "-6", "route", "show", "table", "7873"]),
    "local default dev lo",
  );
});

for (const mode of ["tproxy", "redirect"] as const) {
  labTest(
    `${mode}: another program flushes all nft rules: ours stand, connections are still taken`,
    async () => {
      await using lab = await gatewayLab();
      const here = lab.host("gateway");
      await using echo = await lab.host("internet").serve({ kind: "echo" });
      await using talker = new Talker(lab.host("client"));
      await here.output(["nft", "add", "table", "inet", "firewall"]);
      await using proxy = await ProxyRun.start(here, ["--tcp", mode, ...FROM_LAN]);
      const open = await talker.reach(servers.v6, echo.port);
      await assertSeenFrom(echo, gateway.wanV6);
      const rules = await here.output(["nft", "-s", "list", "table", "inet", "pellucid"]);

      await here.output(["nft", "flush", "ruleset"]);
      assertEquals(await here.output(["nft", "list", "tables"]), "table inet pellucid\n");
      for (const line of ["delete table inet pellucid", "flush table inet pellucid"]) {
        assert((await here.run(["nft", line])).code !== 0, line);
      }
      assertEquals(await here.output(["nft", "-s", "list", "table", "inet", "pellucid"]), rules);
      await open.say("still carried");
      for (const [address, seen] of [[servers.v4, gateway.wanV4], [servers.v6, gateway.wanV6]] as const) {
        await (await talker.reach(address, echo.port)).close();
        await assertSeenFrom(echo, seen);
      }
      await open.close();
      assertEquals((await proxy.stop()).tcpFinished, 3);
      assertEquals(proxy.logged("rules-lost"), []);
    },
  );

  labTest(
    `${mode}: kill -9 under traffic: new connections pass by, a new start works`,
    async () => {
      await using lab = await gatewayLab();
      const here = lab.host("gateway");
      const before = await kernelState(here);
      await using echo = await lab.host("internet").serve({ kind: "echo" });
      await using talker = new Talker(lab.host("client"));
      const args = ["--tcp", mode, ...FROM_LAN];

      await using killed = await ProxyRun.start(here, args);
      const open = [await talker.reach(servers.v4, echo.port), await talker.reach(servers.v6, echo.port)];
      for (const seen of [gateway.wanV4, gateway.wanV6]) await assertSeenFrom(echo, seen);
      await killed.process.kill("SIGKILL");
      await eventually("the table is gone", async () => {
        return await here.output(["nft", "list", "tables"]) === "";
      }, 5_000);
      // Nobody is left hanging: the kernel closes what the process had open.
      for (const talk of open) assert(["fin", "reset"].includes(await talk.ended()));
      for (const [address, direct] of [[servers.v4, client.v4], [servers.v6, client.v6]] as const) {
        await (await talker.reach(address, echo.port)).close();
        await assertSeenFrom(echo, direct);
      }

      // At once: the predecessor may still be on its way out.
      await using second = await ProxyRun.start(here, args);
      await second.process.kill("SIGKILL");
      await using third = await ProxyRun.start(here, args);
      await (await talker.reach(servers.v6, echo.port)).close();
      await assertSeenFrom(echo, gateway.wanV6);
      assertEquals((await third.stop()).tcpFinished, 1);
      assertEquals(await kernelState(here), before, "what killed predecessors left is gone with the third");

      await using last = await ProxyRun.start(here, args);
      await last.process.kill("SIGKILL");
      await eventually("everything is as before", async () => await kernelState(here) === before, 10_000);
      const cleanup = await here.run([Deno.execPath(), "run", "-A", MAIN, "rules", "cleanup"]);
      assertEquals([cleanup.code, cleanup.stderr, cleanup.stdout], [0, "", "nothing of ours was found\n"]);
    },
  );
}
