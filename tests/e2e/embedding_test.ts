/**
 * The examples of docs/embedding.md, each as it stands there, in the gateway of a lab.
 */
import { assert, assertEquals, assertStringIncludes } from "../assert.ts";
import { GATEWAY_LAB, gatewayLab, labTest, SocksServer } from "../lab/mod.ts";
import { ProxyRun } from "./proxy_run.ts";
import { Talker } from "./talker.ts";

const { servers } = GATEWAY_LAB;
const example = (name: string) => new URL(`../../docs/examples/${name}`, import.meta.url);

/** A configuration file with a SOCKS5 server called `office`, until the scope is left. */
class OfficeFile implements AsyncDisposable {
  private constructor(readonly path: string) {}

  static async for(port: number): Promise<OfficeFile> {
    const path = await Deno.makeTempFile({ prefix: "pellucid-config-", suffix: ".toml" });
    await Deno.writeTextFile(
      path,
      `intercept.from = "lan0"
       udp.mode = "off"
       upstream.office = { kind = "socks5", server = "${servers.v4b}:${port}" }`,
    );
    return new OfficeFile(path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path);
  }
}

labTest("policy_by_time.ts: in office hours by the office's server, otherwise from here", async () => {
  await using lab = await gatewayLab();
  const internet = lab.host("internet");
  await using socks = await SocksServer.start(internet);
  await using echo = await internet.serve({ kind: "echo" });
  await using talker = new Talker(lab.host("client"));
  await using file = await OfficeFile.for(socks.port);
  const flags = ["--config", file.path, "--policy", example("policy_by_time.ts").pathname];
  for (const [hours, requests] of [["0-24", 2], ["0-0", 0]] as const) {
    const before = socks.requests.length;
    await using proxy = await ProxyRun.start(lab.host("gateway"), flags, { env: { OFFICE_HOURS: hours } });
    for (const address of [servers.v4, servers.v6]) await (await talker.reach(address, echo.port)).close();
    assertEquals(socks.requests.length - before, requests, hours);
    assertEquals((await proxy.stop()).policyAsked, 2);
  }
  await using refused = ProxyRun.launch(lab.host("gateway"), flags, { env: { OFFICE_HOURS: "9 to 5" } });
  assertEquals(await refused.exitCode(), 2);
  assertStringIncludes(
    refused.process.stderr.tail(),
    "OFFICE_HOURS: 9 to 5 found, hours such as 8-18 wanted",
  );
});

labTest("policy_block_list.ts: the longest prefix about a destination holds", async () => {
  await using lab = await gatewayLab();
  const internet = lab.host("internet");
  await using echo = await internet.serve({ kind: "echo" });
  await using talker = new Talker(lab.host("client"));
  const list = await Deno.makeTempFile({ prefix: "pellucid-list-" });
  try {
    await Deno.writeTextFile(
      list,
      [
        "198.51.100.0/24 # all of it",
        `!${servers.v4}`,
        "203.0.113.0/29",
        "2001:db8:100::/47",
        `! ${servers.v6}/127`,
        "",
      ]
        .join("\n"),
    );
    const flags = ["--from", "lan0", "--policy", example("policy_block_list.ts").href];
    await using proxy = await ProxyRun.start(lab.host("gateway"), flags, { env: { BLOCK_LIST: list } });
    for (const address of [servers.v4, servers.v6, servers.v6b]) {
      await (await talker.reach(address, echo.port)).close();
    }
    for (const address of [servers.v4b, "198.51.100.11", "2001:db8:101::1"]) {
      assertEquals(await talker.dial(address, echo.port).ended(), "reset", address);
    }
    const totals = await proxy.stop();
    assertEquals([totals.tcpFinished, totals.tcpBlocked, totals.policyErrors], [3, 3, 0]);
  } finally {
    await Deno.remove(list);
  }
});

labTest(
  "embed_gateway.ts: flows are printed, and move to the backup when the main server is gone",
  async () => {
    await using lab = await gatewayLab();
    const internet = lab.host("internet");
    const main = await SocksServer.start(internet);
    await using backup = await SocksServer.start(internet);
    await using echo = await internet.serve({ kind: "echo" });
    await using talker = new Talker(lab.host("client"));
    const program = lab.host("gateway").deno(example("embed_gateway.ts").href, [
      "lan0",
      ...[main, backup].map(({ port }) => `${servers.v4b}:${port}`),
    ]);
    const line = (text: string) =>
      program.stdout.waitFor((line) => line.includes(text) ? line : undefined, 15_000);
    await line("ready: ");
    const live = await talker.reach(servers.v6, echo.port);
    await (await talker.reach(servers.v4, echo.port)).close();
    await line("by main: 5 up, 5 down, closed");
    assertEquals([main.requests.length, backup.requests.length], [2, 0]);

    await main[Symbol.asyncDispose]();
    await live.ended();
    for (let i = 0; i < 3; i++) assertEquals(await talker.dial(servers.v4, echo.port).ended(), "reset");
    await line("reloaded: by backup from now on");
    const later = await talker.reach(servers.v4, echo.port);
    await later.say("still there");
    await later.close();
    await line("by backup: ");
    assertEquals(backup.requests.length, 1);
    await program.kill("SIGTERM");
    assertEquals((await program.wait(15_000)).code, 0);
    const rules = await lab.host("gateway").output(["nft", "list", "ruleset"]);
    assert(!rules.includes("pellucid"), rules);
  },
);
