import { assert, assertEquals, assertRejects } from "../tests/assert.ts";
import { type IntentChanges, intentWith } from "../tests/fixtures/intents.ts";
import { buildPlan } from "./build_plan.ts";
import { detectHost, findingsAgainst, type HostFacts } from "./detect.ts";
import type { Exec } from "./exec.ts";
import { FakeExec } from "./fake_exec.ts";
import { RuleApplyError } from "./rule_apply_error.ts";

/** Which of the features that nft does not have there keep that interception from working. */
function against(changes: IntentChanges, host: HostFacts): string[] {
  return findingsAgainst(buildPlan(intentWith(changes)), host, "nft").map(({ code }) => code).sort();
}

Deno.test("findingsAgainst: what each kind of interception needs of the kernel", async () => {
  const lacks = ["tproxy to", "redirect to", "ct zone", "notrack", "socket transparent", "jhash"];
  const host = await detectHost(new FakeExec({ lacks }));
  const SIDECAR = { tcp: "off" } as const;
  const cases: [IntentChanges, string[]][] = [
    [{ from: ["lan0"], tcp: "tproxy" }, ["no-socket", "no-tproxy"]],
    [{ from: ["lan0"], tcp: "redirect" }, ["no-redirect"]],
    [{ from: ["lan0"], tcp: "off", udp: "tproxy" }, ["no-conntrack", "no-tproxy"]],
    [{ from: ["lan0"], tcp: "off", udp: "tproxy", udpWorkers: 2 }, ["no-conntrack", "no-hash", "no-tproxy"]],
    [{ from: ["lan0"], source: "keep" }, ["no-socket", "no-tproxy", "no-zones"]],
    [{ ...SIDECAR, tcp: "redirect", sidecar: { inbound: "off" } }, ["no-redirect"]],
    [{ ...SIDECAR, sidecar: { inbound: "redirect" } }, ["no-redirect"]],
    [{ ...SIDECAR, sidecar: { inbound: "tproxy" } }, ["no-socket", "no-tproxy"]],
    [{ ...SIDECAR, source: "keep", sidecar: { inbound: "tproxy" } }, ["no-socket", "no-tproxy"]],
    [
      { ...SIDECAR, sidecar: { inbound: "off", dns: { port: 15053, servers: [] } } },
      ["no-redirect", "no-zones"],
    ],
  ];
  for (const [changes, wanted] of cases) {
    const found = against(changes, host);
    for (const code of wanted) {
      assert(found.includes(code), `${JSON.stringify(changes)}: ${found} lacks ${code}`);
    }
    for (const code of ["no-tproxy", "no-redirect", "no-zones", "no-hash"]) {
      assert(wanted.includes(code) || !found.includes(code), `${JSON.stringify(changes)}: ${found}`);
    }
  }
  assertEquals(against({ tcp: "tproxy" }, host), []);
});

Deno.test("detectHost: an answer of `ip` that is no JSON is told of, with the command", async () => {
  const exec: Exec = new FakeExec();
  const run = exec.run.bind(exec);
  exec.run = async (argv, options) => {
    const result = await run(argv, options);
    return argv[1] === "-j" ? { ...result, stdout: '[{"ifname":"a\u0001b"}]' } : result;
  };
  const error = await assertRejects(() => detectHost(exec), RuleApplyError);
  assert(`${error}`.includes("ip -j addr show"), `${error}`);
});
