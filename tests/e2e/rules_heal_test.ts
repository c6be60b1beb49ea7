/**
 * Somebody takes away what is ours while the proxy runs: it is back soon, and said, on every backend.
 * Who does it again and again is waited for.
 */
import { assert, assertEquals, assertMatch } from "../assert.ts";
import { GATEWAY_LAB, gatewayLab, type LabHost, labTest } from "../lab/mod.ts";
import { eventually, ProxyRun } from "./proxy_run.ts";
import { assertSeenFrom } from "./seen_from.ts";
import { Talker } from "./talker.ts";

const { gateway, servers } = GATEWAY_LAB;
/** What is promised is two seconds on a machine that has time; on one that has not, the looks themselves take longer. */
const HEAL_MS = 10_000;

/** A way to be in the way: a command of somebody else's, and what is then said to have been found. */
interface Damage {
  readonly what: string;
  readonly script: string;
  readonly found: RegExp;
  /** Whether the kernel tells who did it. */
  readonly isTold: boolean;
}

const ROUTES: readonly Damage[] = [
  {
    what: "a routing rule",
    script: "ip -6 rule del pref 90 iif lan0",
    found: /`ip -6 rule add .*` is missing/,
    isTold: false,
  },
  {
    what: "a route",
    script: "ip -4 route flush table 7873",
    found: /`ip -4 route add .*` is missing/,
    isTold: false,
  },
  {
    what: "a routing rule too many",
    script: "ip -4 rule add fwmark 0x1000000/0x3000000 iif wan0 lookup 7873 pref 90 protocol 173",
    found: /is not wanted/,
    isTold: false,
  },
];

const NFT: readonly Damage[] = [
  {
    what: "the table",
    script: "nft delete table inet pellucid",
    found: /table inet pellucid is missing/,
    isTold: true,
  },
  {
    what: "everybody's tables",
    script: "nft flush ruleset",
    found: /table inet pellucid is missing/,
    isTold: true,
  },
  {
    what: "the rules of a chain",
    script: "nft flush chain inet pellucid tcp_in_take",
    found: /chain tcp_in_take: rule ".*" is missing/,
    isTold: true,
  },
  {
    what: "a rule too many",
    script: "nft insert rule inet pellucid tproxy_in accept",
    found: /tproxy_in/,
    isTold: true,
  },
];

function iptablesDamages(tool: string, isTold: boolean): Damage[] {
  return [
    {
      what: "a jump",
      script:
        `${tool} -t mangle -S PREROUTING | sed -n 's/^-A/-D/p' | grep pellucid_ | xargs ${tool} -t mangle`,
      found: /jump from PREROUTING to pellucid_tproxy_in is missing/,
      isTold,
    },
    {
      what: "the rules of a chain",
      script: `${tool} -t mangle -F pellucid_tcp_in_take`,
      found: /pellucid_tcp_in_take/,
      isTold,
    },
    { what: "a table", script: `${tool} -t mangle -F; ${tool} -t mangle -X`, found: /mangle/, isTold },
  ];
}

const CASES: readonly [name: string, flags: readonly string[], damages: readonly Damage[]][] = [
  ["nft, owned", ["--rules", "nft"], ROUTES],
  ["nft, closed", ["--rules", "nft", "--on-proxy-down", "closed"], [...NFT, ...ROUTES]],
  ["iptables", ["--rules", "iptables"], [...iptablesDamages("iptables-nft", true), ...ROUTES]],
  [
    "iptables-legacy",
    ["--rules", "iptables-legacy"],
    [...iptablesDamages("iptables-legacy", false), ...ROUTES],
  ],
];

/** What `rules verify` says of rules for the same flags. */
async function differences(host: LabHost, flags: readonly string[]): Promise<string> {
  const main = new URL("../../mod.ts", import.meta.url).pathname;
  const argv = [Deno.execPath(), "run", "-A", "--cached-only", main, "rules", "verify", ...flags];
  const { code, stdout, stderr } = await host.run(argv);
  return code === 0 ? "" : `${code}: ${stdout}${stderr}`;
}

for (const [name, flags, damages] of CASES) {
  labTest(`heal: ${name}: what somebody removes is back`, async () => {
    await using lab = await gatewayLab();
    const here = lab.host("gateway");
    await using echo = await lab.host("internet").serve({ kind: "echo" });
    await using talker = new Talker(lab.host("client"));
    const args = [...flags, "--from", "lan0"];
    await using proxy = await ProxyRun.start(here, args);
    const open = await talker.reach(servers.v4, echo.port);
    await assertSeenFrom(echo, gateway.wanV4);
    for (const [nth, { what, script, found, isTold }] of damages.entries()) {
      const before = proxy.logged("rules-healed").length;
      assertEquals(before, nth, what);
      // This is no fight: the wait after each change is over before the next one.
      const quietMs = proxy.logged("rules-healed").at(-1)?.quietMs ?? 0;
      await new Promise((resolve) => setTimeout(resolve, quietMs));
      const done = await here.run(["sh", "-c", script]);
      assertEquals([done.code, done.stderr], [0, ""], what);
      await eventually(`${what} is back`, () => {
        return Promise.resolve(proxy.logged("rules-healed").length > before);
      }, HEAL_MS);
      const healed = proxy.logged("rules-healed").at(-1)!;
      assertMatch(healed.found.join("\n"), found, what);
      if (isTold) assertMatch(healed.by ?? "", /process \d+ \((nft|ip6?tables|xtables)/, what);
      assertEquals(await differences(here, args), "", what);
    }
    await open.say("still carried");
    await (await talker.reach(servers.v6, echo.port)).close();
    await assertSeenFrom(echo, gateway.wanV6);
    assertEquals(proxy.logged("rules-lost"), []);
    await open.close();
    await proxy.stop();
  }, { timeoutMs: 120_000 });
}

labTest("heal: iptables: a flushed ipset, which nobody tells of, is filled again", async () => {
  await using lab = await gatewayLab();
  const here = lab.host("gateway");
  const list = await Deno.makeTempFile({ prefix: "pellucid-list-" });
  try {
    const many = Array.from({ length: 100 }, (_, i) => `198.19.${2 * i}.0/24\n`);
    await Deno.writeTextFile(list, many.join(""));
    const flags = ["--rules", "iptables", "--from", "lan0", "--exclude-cidr-file", list];
    await using proxy = await ProxyRun.start(here, flags);
    const name = (await here.output(["ipset", "list", "-n"])).trim();
    const entries = async () => (await here.output(["ipset", "list", name])).split("\n198.19.").length - 1;
    const before = await entries();
    assert(before > 32, `${name}: ${before} entries`);
    // More often than the rules are looked at.
    for (let times = 1; times <= 2; times++) {
      await here.output(["ipset", "flush", name]);
      // Told when the rules have been seen to be right again.
      await eventually("it is filled again", () => {
        return Promise.resolve(proxy.logged("rules-healed").length === times);
      }, HEAL_MS);
      assertEquals(await entries(), before);
    }
    assertMatch(proxy.logged("rules-healed")[0]!.found.join(), /ipset pellucid_\w+ has 0 elements/);
    await proxy.stop();
  } finally {
    await Deno.remove(list);
  }
}, { timeoutMs: 60_000 });

labTest("heal: a fight: each time it is waited for longer, and no other change is made", async () => {
  await using lab = await gatewayLab();
  const here = lab.host("gateway");
  await using proxy = await ProxyRun.start(here, ["--from", "lan0", "--on-proxy-down", "closed"]);
  // It cannot be outrun: it deletes the table whenever it is there.
  await using enemy = here.spawn([
    "sh",
    "-c",
    "while :; do nft delete table inet pellucid 2>/dev/null; sleep 0.05; done",
  ]);
  await new Promise((resolve) => setTimeout(resolve, 6_000));
  const rounds = proxy.logged("rules-healed").length + proxy.logged("rules-lost").length;
  // 100 ms, 200, 400, 800, 1600, 3200: with each round taking some time.
  assert(rounds >= 3 && rounds <= 8, `${rounds} rounds`);
  await enemy.kill("SIGKILL");
  // The table comes first, and then its rules.
  await eventually("the rules are back", async () => {
    return (await here.output(["nft", "list", "ruleset"])).includes("tproxy to");
  }, 12_000);
  await proxy.stop();
}, { timeoutMs: 60_000 });
