import { assert, assertEquals, assertRejects, assertStringIncludes } from "../tests/assert.ts";
import type { Exec, ExecResult } from "./exec.ts";
import { FakeExec } from "./fake_exec.ts";
import { IptablesBackend } from "./iptables_backend.ts";
import { findIptablesRules } from "./iptables_found.ts";
import { isRuleApplyError } from "./rule_apply_error.ts";

/** A host where `iptables-legacy-save` ends with these words. */
function legacyHost(stderr: string): Exec {
  const fake = new FakeExec();
  const run = (argv: readonly string[]): Promise<ExecResult> => {
    if (argv[0] === "iptables-legacy") {
      return Promise.resolve({ code: 0, stdout: "iptables v1.8.9 (legacy)\n", stderr: "" });
    }
    if (argv[0]!.endsWith("-legacy-save")) return Promise.resolve({ code: 1, stdout: "", stderr });
    return fake.run(argv);
  };
  return { run, open: (argv) => fake.open(argv), watch: () => fake.watch() };
}

const DENIED = "Failed to list table names in /proc/net/ip_tables_names: Permission denied\n";

Deno.test("findIptablesRules: legacy tables that are named to root alone are none of ours", async () => {
  assertEquals(await findIptablesRules("iptables-legacy", legacyHost(DENIED)), []);
});

Deno.test("findIptablesRules: any other failure to read is one", async () => {
  const error = await assertRejects(() => findIptablesRules("iptables-legacy", legacyHost("lock held\n")));
  assert(isRuleApplyError(error, "revert"));
});

Deno.test("iptables-legacy asked for: the file that is closed to us is named", async () => {
  const backend = new IptablesBackend("iptables-legacy", {
    exec: legacyHost(DENIED),
    tableName: "pellucid",
    hold: "plain",
    by: null,
    sysctls: [],
    afterwards: "",
    ipv6: false,
  });
  const error = await assertRejects(() => backend.claim());
  assertStringIncludes(String(error), "/proc/net/ip_tables_names: Permission denied");
});
