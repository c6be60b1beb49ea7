import { buildPlan, detectHost, RuleApplyError } from "../nft/mod.ts";
import { FakeExec } from "../nft/fake_exec.ts";
import { assertInstanceOf, assertStringIncludes, assertThrows } from "../tests/assert.ts";
import { intentWith } from "../tests/fixtures/intents.ts";
import { explainRuleFailure, requireHost } from "./rule_failure.ts";
import { StartError } from "./start_error.ts";

const INTENT = intentWith({ udp: "tproxy", udpWorkers: 2, from: ["lan0"] });

Deno.test("requireHost: what the kernel lacks, and the flags that do without it", async () => {
  const cases = [
    ["tproxy to", "kernel-without-tproxy", '"tproxy"', "--tcp redirect --udp off"],
    ["notrack", "rules-failed", '"ct, notrack"', "--udp off works without"],
    ["jhash", "rules-failed", '"jhash"', "--workers 1 or --udp off works without"],
  ] as const;
  for (const [word, code, lacking, wayOut] of cases) {
    const host = await detectHost(new FakeExec({ interfaces: ["lan0"], lacks: [word] }));
    const error = assertThrows(() => requireHost(buildPlan(INTENT), host, "nft"));
    assertInstanceOf(error, StartError);
    assertStringIncludes(
      `${error.code}: ${error.message}`,
      `${code}: host: the kernel or nft lacks ${lacking}`,
    );
    assertStringIncludes(error.hint, wayOut);
  }
});

Deno.test("explainRuleFailure: legacy tables ask for root, and the file says so", () => {
  const denied = "Failed to list table names in /proc/net/ip_tables_names: Permission denied";
  const error = explainRuleFailure(new RuleApplyError("check", "iptables-legacy-save", denied));
  assertInstanceOf(error, StartError);
  assertStringIncludes(
    `${error.code}: ${error.message}`,
    `not-permitted: rules check: iptables-legacy-save: ${denied}`,
  );
  assertStringIncludes(error.hint, "run as root");
});
