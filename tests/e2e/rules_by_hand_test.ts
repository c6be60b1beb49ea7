/**
 * Rules that `run` does not manage: what it prints works when it is pasted, and the `rules` commands do what the
 * script does.
 */
import { assertEquals, assertMatch, assertNotEquals, assertStringIncludes } from "../assert.ts";
import { GATEWAY_LAB, gatewayLab, type Lab, type LabHost, labTest } from "../lab/mod.ts";
import { kernelState, MAIN, ProxyRun } from "./proxy_run.ts";
import { assertSeenFrom } from "./seen_from.ts";
import { Talker } from "./talker.ts";

const { client, gateway, servers } = GATEWAY_LAB;

async function pellucid(host: LabHost, ...args: string[]) {
  return await host.run([Deno.execPath(), "run", "-A", "--cached-only", MAIN, ...args]);
}

/** A connection of each family is taken by the proxy, and the server sees `seen`. */
async function assertTaken(lab: Lab, seen: { readonly v4: string; readonly v6: string }): Promise<void> {
  await using echo = await lab.host("internet").serve({ kind: "echo" });
  await using talker = new Talker(lab.host("client"));
  for (const family of ["v4", "v6"] as const) {
    await (await talker.reach(servers[family], echo.port)).close();
    await assertSeenFrom(echo, seen[family]);
  }
}

const VIA_PROXY = { v4: gateway.wanV4, v6: gateway.wanV6 };

labTest("run --dry-run and rules render touch nothing and print the rules", async () => {
  await using lab = await gatewayLab();
  const here = lab.host("gateway");
  const before = await kernelState(here);
  const dry = await pellucid(here, "run", "--from", "lan0", "--local", "--dry-run");
  const rendered = await pellucid(here, "rules", "render", "--from", "lan0", "--local");
  for (const { code, stdout, stderr } of [dry, rendered]) {
    assertEquals([code, stderr], [0, ""]);
    assertStringIncludes(stdout, "tproxy to :7870");
    assertStringIncludes(stdout, "ip -4 rule add fwmark");
    assertStringIncludes(stdout, "tproxy_out");
  }
  assertEquals(await kernelState(here), before);
});

for (
  const flags of [
    ["--tcp", "tproxy", "--from", "lan0"],
    ["--tcp", "redirect", "--from", "lan0"],
    ["--tcp", "tproxy", "--from", "lan0", "--source", "keep"],
  ]
) {
  labTest(
    `run --rules none ${flags.join(" ")}: touches nothing; the printed script makes it work`,
    async () => {
      await using lab = await gatewayLab();
      const here = lab.host("gateway");
      const before = await kernelState(here);
      await using proxy = await ProxyRun.start(here, ["--rules", "none", ...flags]);
      assertEquals(await kernelState(here), before);
      assertStringIncludes((await proxy.event("ready")).rules, "not ours");
      await assertTaken(lab, client);

      const script = proxy.process.stdout.text();
      const pasted = await here.run(["sh", "-e"], { stdin: script });
      assertEquals([pasted.code, pasted.stderr], [0, ""]);
      await assertTaken(lab, flags.includes("keep") ? client : VIA_PROXY);
      assertEquals((await proxy.stop()).tcpFinished, 2);

      const state = await kernelState(here);
      const again = await here.run(["sh", "-e"], { stdin: script });
      assertEquals([again.code, again.stderr], [0, ""]);
      assertEquals(await kernelState(here), state);

      const undone = await here.run(["sh", "-s", "undo"], { stdin: script });
      assertEquals([undone.code, undone.stderr], [0, ""]);
      assertEquals(await kernelState(here), before);
    },
  );
}

for (const rules of ["nft", "iptables", "iptables-legacy"]) {
  labTest(
    `the script by ${rules}: again, over another one, and undone with the setting as it was`,
    async () => {
      await using lab = await gatewayLab();
      const here = lab.host("gateway");
      const setting = ["cat", "/proc/sys/net/ipv4/tcp_fwmark_accept"];
      const old = await here.output(setting);
      // Not all that was there before: iptables-nft keeps empty tables.
      const assertGone = async () => {
        assertEquals([/pellucid|7873/.exec(await kernelState(here)), await here.output(setting)], [
          null,
          old,
        ]);
      };
      const scriptWith = async (by: string, ...flags: string[]) =>
        (await pellucid(here, "rules", "render", "--rules", by, "--sidecar", ...flags)).stdout;
      const run = async (script: string, ...args: string[]) => {
        const { code, stderr } = await here.run(["sh", "-s", ...args], { stdin: script, timeoutMs: 20_000 });
        return [code, stderr];
      };
      const keep = await scriptWith(rules, "--inbound", "tproxy", "--source", "keep");
      // Enough addresses for a set.
      const list = Array.from({ length: 40 }, (_, i) => `198.51.100.${4 * i}/31`).join();
      const other = await scriptWith(
        rules,
        "--inbound",
        "tproxy",
        "--source",
        "keep",
        "--exclude-cidr",
        list,
      );
      assertEquals(await run(keep), [0, ""]);
      const state = await kernelState(here);
      assertEquals([await here.output(setting), await run(keep)], ["1\n", [0, ""]]);
      assertEquals(await kernelState(here), state);
      assertEquals([await run(other), await run(other)], [[0, ""], [0, ""]]);

      const foreign = await scriptWith(rules === "nft" ? "iptables" : "nft");
      const refusal = `rules by ${rules} are in place: undo those first\n`;
      assertEquals(await run(foreign, "undo"), [1, refusal]);
      assertEquals(await run(foreign), [1, refusal]);

      assertEquals(await run(other, "undo"), [0, ""]);
      await assertGone();

      // What the script noted, the command knows.
      assertEquals(await run(keep), [0, ""]);
      const { stdout } = await pellucid(here, "rules", "cleanup");
      assertMatch(stdout, /removed: setting net\/ipv4\/tcp_fwmark_accept, now 0 again/);
      await assertGone();
    },
    { timeoutMs: 120_000 },
  );
}

/** What somebody else has under our name, by each tool. */
const FOREIGN: Readonly<Record<string, string>> = {
  nft: "nft add table inet pellucid; nft add chain inet pellucid side_in",
  iptables:
    "iptables-nft -t mangle -N pellucid_side_in; iptables-nft -t mangle -A pellucid_side_in -j RETURN",
  "iptables-legacy":
    "iptables-legacy -t mangle -N pellucid_side_in; iptables-legacy -t mangle -A pellucid_side_in -j RETURN",
};

for (const [rules, foreign] of Object.entries(FOREIGN)) {
  labTest(`the script by ${rules}: leaves what is not ours, and the setting when it fails`, async () => {
    await using lab = await gatewayLab();
    const here = lab.host("gateway");
    const flags = ["--sidecar", "--inbound", "tproxy", "--source", "keep", "--rules", rules];
    const { stdout: script } = await pellucid(here, "rules", "render", ...flags);
    const setting = () => here.output(["cat", "/proc/sys/net/ipv4/tcp_fwmark_accept"]);

    const old = await setting();
    const broken = script.replace(/^(?::pellucid_side_in .*|table inet pellucid \{)$/m, "no such thing");
    assertNotEquals((await here.run(["sh"], { stdin: broken })).code, 0);
    assertEquals(await setting(), old);

    await here.output(["sh", "-c", foreign]);
    const before = await kernelState(here);
    for (const argument of ["apply", "undo"]) {
      const { code, stderr } = await here.run(["sh", "-s", argument], { stdin: script });
      assertEquals(code, 1);
      assertMatch(stderr, /^(table inet pellucid is|chains pellucid_\* are) not ours, and in the way/);
    }
    assertEquals(await kernelState(here), before);
  });
}

labTest("rules apply, run --rules none, rules verify, rules cleanup", async () => {
  await using lab = await gatewayLab();
  const here = lab.host("gateway");
  const before = await kernelState(here);
  const flags = ["--from", "lan0"];

  const early = await pellucid(here, "rules", "verify", ...flags);
  assertEquals(early.code, 1);
  assertMatch(early.stdout, /^table: table inet pellucid is missing$/m);
  assertStringIncludes(early.stderr, "`pellucid rules apply` with the same flags");
  for (const rules of ["nft", "iptables", "iptables-legacy"]) {
    const { code, stdout, stderr } = await pellucid(here, "rules", "counters", "--rules", rules, ...flags);
    assertEquals([code, stdout], [1, ""], rules);
    assertMatch(stderr, /is missing\n\s+`pellucid rules apply` or a `pellucid run` with the same flags/);
  }

  const applied = await pellucid(here, "rules", "apply", ...flags);
  assertEquals([applied.code, applied.stderr], [0, ""]);
  // Nobody listens yet: connections go on their way.
  await assertTaken(lab, client);
  const state = await kernelState(here);
  assertEquals((await pellucid(here, "rules", "apply", ...flags)).code, 0);
  assertEquals(await kernelState(here), state, "applied again, it is the same");

  await using proxy = await ProxyRun.start(here, ["--rules", "none", ...flags]);
  await assertTaken(lab, VIA_PROXY);
  const verified = await pellucid(here, "rules", "verify", ...flags);
  assertEquals([verified.code, verified.stdout], [0, "everything is in place\n"]);
  assertEquals((await proxy.stop()).tcpFinished, 2);
  assertEquals(await kernelState(here), state, "a run with --rules none leaves the rules");

  // What somebody changes is seen.
  await here.output(["nft", "flush", "chain", "inet", "pellucid", "tcp_in_take"]);
  const changed = await pellucid(here, "rules", "verify", ...flags);
  assertEquals(changed.code, 1);
  assertMatch(
    changed.stdout,
    /^rule: table inet pellucid: chain tcp_in_take: rule "take.*" is missing$/m,
  );

  const cleaned = await pellucid(here, "rules", "cleanup");
  assertEquals([cleaned.code, cleaned.stderr], [0, ""]);
  assertStringIncludes(cleaned.stdout, "removed: table inet pellucid");
  assertEquals(await kernelState(here), before);
});

labTest("run over rules that rules apply left: said, and they are gone after the stop", async () => {
  await using lab = await gatewayLab();
  const here = lab.host("gateway");
  const before = await kernelState(here);
  assertEquals((await pellucid(here, "rules", "apply", "--from", "lan0")).code, 0);
  await using proxy = await ProxyRun.start(here, ["--from", "lan0"]);
  const warning = await proxy.event("warning");
  assertEquals(warning.code, "kept-rules-replaced");
  assertStringIncludes(warning.hint!, "--rules none");
  await proxy.stop();
  assertEquals(await kernelState(here), before);
  await using second = await ProxyRun.start(here, ["--from", "lan0"]);
  await second.stop();
  assertEquals(second.logged("warning"), []);
});

labTest("rules cleanup without privilege: run as root", async () => {
  await using lab = await gatewayLab();
  const argv = [Deno.execPath(), "run", "-A", "--cached-only", MAIN, "rules", "cleanup"];
  const prefix = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"];
  const { code, stderr } = await lab.host("gateway").run([...prefix, ...argv]);
  assertEquals(code, 1);
  assertMatch(stderr, /Operation not permitted.*\n {2}run as root \(sudo\)\n$/);
});
