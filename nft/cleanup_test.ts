import { assert, assertEquals, assertRejects, assertStringIncludes } from "../tests/assert.ts";
import { gatewayPlan } from "../tests/kernel/nft_lab.ts";
import { applyPlan } from "./apply.ts";
import { cleanup } from "./cleanup.ts";
import { detectHost } from "./detect.ts";
import type { ExecResult } from "./exec.ts";
import { FakeExec } from "./fake_exec.ts";
import { isRuleApplyError } from "./rule_apply_error.ts";

/** Has programs of iptables-nft for which the kernel lacks what they need. */
class HalfExec extends FakeExec {
  isBroken = true;

  override run(argv: readonly string[], options: { stdin?: string } = {}): Promise<ExecResult> {
    const [program, flag] = argv;
    if (!this.isBroken || !program!.startsWith("iptables-nft")) return super.run(argv, options);
    return Promise.resolve(
      flag === "--version"
        ? { code: 0, stdout: "iptables v1.8.9 (nf_tables)\n", stderr: "" }
        : { code: 1, stdout: "", stderr: "Could not fetch rule set generation id: Invalid argument" },
    );
  }
}

async function applyKept(exec: FakeExec): Promise<void> {
  const host = await detectHost(exec);
  await applyPlan(gatewayPlan(), { exec, host, backend: "nft", keep: "kept" });
}

Deno.test("applyPlan: a tool that does not work and is not needed is in nobody's way", async () => {
  const exec = new HalfExec({ interfaces: ["lan0", "wan0"] });
  await applyKept(exec);
  await applyKept(exec);
});

Deno.test("cleanup: what can be read goes although a tool cannot tell, and the routes stay until it can", async () => {
  const exec = new HalfExec({ interfaces: ["lan0", "wan0"] });
  await applyKept(exec);
  const error = await assertRejects(() => cleanup(exec));
  assert(isRuleApplyError(error, "revert"), `${error}`);
  assertStringIncludes(error.message, "Could not fetch rule set generation id");
  exec.isBroken = false;
  const { removed } = await cleanup(exec);
  assertEquals(removed.map((line) => line.split(" ")[0]), ["rule", "route", "rule", "route"]);
});
