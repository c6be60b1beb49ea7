import { assert, assertEquals, assertRejects, assertStringIncludes } from "../tests/assert.ts";
import { gatewayPlan } from "../tests/kernel/nft_lab.ts";
import { applyPlan } from "./apply.ts";
import { cleanup } from "./cleanup.ts";
import { detectHost } from "./detect.ts";
import type { ExecResult } from "./exec.ts";
import { FakeExec, type FakeSession } from "./fake_exec.ts";
import { findNftRules } from "./find_nft_rules.ts";
import { HostRules } from "./host_rules.ts";
import { ownProcess } from "./living_process.ts";
import { NftBackend } from "./nft_backend.ts";
import { isRuleApplyError } from "./rule_apply_error.ts";

/** Refuses some commands, and remembers what a watchdog is told. */
class RefusingExec extends FakeExec {
  /** Parts of the commands, with what they read, that are refused. */
  refused: RegExp | undefined;
  readonly told: string[] = [];

  constructor({ owned }: { readonly owned: boolean }) {
    super({ interfaces: ["lan0", "wan0"], ...(owned ? {} : { lacks: ["flags owner"] }) });
  }

  override run(argv: readonly string[], options: { stdin?: string } = {}): Promise<ExecResult> {
    const command = `${argv.join(" ")}\n${options.stdin ?? ""}`;
    if (this.refused?.test(command) !== true) return super.run(argv, options);
    return Promise.resolve({ code: 4, stdout: "", stderr: "refused" });
  }

  override open(argv: readonly string[]): FakeSession {
    const session = super.open(argv);
    const exchange = session.exchange.bind(session);
    session.exchange = (line) => {
      this.told.push(line);
      return exchange(line);
    };
    return session;
  }
}

const DELETE_TABLE = /^nft delete table/;
const LIST_ROUTES = /^ip .* list/;
const ADD_ROUTE = /^ip .* add/;
const SWITCH = /flush table/;

async function apply(
  exec: RefusingExec,
  changes: Parameters<typeof gatewayPlan>[0] = {},
  keep: "process" | "kept" = "process",
) {
  exec.refused = undefined;
  const host = await detectHost(exec);
  return await applyPlan(gatewayPlan(changes), { exec, host, backend: "nft", keep });
}

Deno.test("AppliedRules.revert: all is tried although routes cannot be read", async () => {
  const exec = new RefusingExec({ owned: true });
  const rules = await apply(exec);
  exec.refused = LIST_ROUTES;
  const error = await assertRejects(() => rules.revert());
  assert(isRuleApplyError(error, "revert"), `${error}`);
  assertStringIncludes(error.message, "not all was removed: rules verify: ip list: refused");
  assertEquals(await findNftRules(exec), []);
});

Deno.test("AppliedRules.revert: rules that could not be removed are left to the watchdog, until they are", async () => {
  const exec = new RefusingExec({ owned: false });
  const rules = await apply(exec);
  exec.refused = DELETE_TABLE;
  assert(isRuleApplyError(await assertRejects(() => rules.revert()), "revert"));
  assertEquals(exec.told, ["ready"]);
  exec.refused = undefined;
  assertEquals(await rules.revert(), "removed");
  assertEquals(exec.told, ["ready", "done"]);
});

Deno.test("applyPlan: what could not be undone is said beside the reason, and left to the watchdog", async () => {
  const exec = new RefusingExec({ owned: false });
  const host = await detectHost(exec);
  exec.refused = new RegExp(`${ADD_ROUTE.source}|${DELETE_TABLE.source}`);
  const options = { exec, host, backend: "nft", keep: "process" } as const;
  const error = await assertRejects(() => applyPlan(gatewayPlan(), options));
  assert(isRuleApplyError(error, "revert"), `${error}`);
  assertStringIncludes(error.message, "ip -4 route add ");
  assertEquals(exec.told, ["ready"]);
});

Deno.test("applyPlan: a failed start leaves rules that were to stay nobody's", async () => {
  const exec = new RefusingExec({ owned: false });
  const host = await detectHost(exec);
  await apply(exec, {}, "kept");
  for (const refused of [ADD_ROUTE, SWITCH]) {
    exec.refused = refused;
    const options = { exec, host, backend: "nft", keep: "process" } as const;
    const plan = gatewayPlan({ from: ["lan0", "wan0"] });
    const error = await assertRejects(() => applyPlan(plan, options));
    assert(isRuleApplyError(error, "apply"), `${error}`);
    exec.refused = undefined;
    const found = await findNftRules(exec);
    assert(Array.isArray(found));
    assertEquals(found.map(({ isKept, isInUse, hasRules }) => [isKept, isInUse, hasRules]), [[
      true,
      false,
      true,
    ]]);
  }
});

Deno.test("applyPlan: a failed start leaves no routes of rules that an owned table took the place of", async () => {
  const exec = new RefusingExec({ owned: true });
  const host = await detectHost(exec);
  await apply(exec, { from: ["wan0"] }, "kept");
  exec.refused = ADD_ROUTE;
  const options = { exec, host, backend: "nft", keep: "process" } as const;
  assert(isRuleApplyError(await assertRejects(() => applyPlan(gatewayPlan(), options)), "apply"));
  exec.refused = undefined;
  assertEquals(await cleanup(exec), { removed: [], inUse: [], left: [] });
});

Deno.test("HostRules.apply: a failure leaves another backend's rules, that are to stay, with their settings", async () => {
  const exec = new RefusingExec({ owned: true });
  const plan = { ...gatewayPlan(), sysctls: [{ key: "net/ipv4/x", value: "1", why: "for the test" }] };
  const path = "/proc/sys/net/ipv4/x";
  await exec.run(["sh", "-c", 'echo "$1" >"$2"', "sh", "1", path]);
  const life = { exec, hold: "owner", sysctls: [{ key: "net/ipv4/x", value: "0" }] } as const;
  const { tableName } = plan.intent;
  const backend = new NftBackend({ ...life, tableName, by: ownProcess(), afterwards: "true" });
  const how = { ...life, backend, replacedKept: true, watch: undefined, stays: false };
  const rules = new HostRules({ ...how, narrow: (plan) => plan }, plan);
  const left = {
    what: "iptables chains pellucid_*",
    tableName,
    isInUse: false,
    isKept: true,
    isClosed: false,
    hasRules: true,
    sysctls: [],
    remove: () => Promise.resolve(undefined),
  };
  exec.refused = ADD_ROUTE;
  await assertRejects(() =>
    rules.apply({ hadRules: true, isSameBackend: false, stays: true, others: [left] })
  );
  assertEquals((await exec.run(["cat", path])).stdout, "1\n");
  assertEquals(await findNftRules(exec), []);
});
