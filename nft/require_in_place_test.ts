import { assert, assertEquals, assertRejects } from "../tests/assert.ts";
import { intentWith } from "../tests/fixtures/intents.ts";
import type { Difference } from "./backend.ts";
import { buildPlan } from "./build_plan.ts";
import type { ExecResult } from "./exec.ts";
import { FakeExec } from "./fake_exec.ts";
import { NftBackend } from "./nft_backend.ts";
import { addMissingRoutes, removeOtherRoutes } from "./put_routes.ts";
import { requireInPlace } from "./require_in_place.ts";
import { renderIpRule } from "./render_route.ts";
import { RuleApplyError } from "./rule_apply_error.ts";
import { readPlanEntries } from "./verify.ts";

const PLAN = buildPlan(intentWith({ from: ["lan0", "wan0"] }));

/** A dead predecessor's shell takes a routing rule away `when` somebody has looked, or is about to, `times` at most. */
class RacingExec extends FakeExec {
  readonly #when: "before" | "after";
  #left: number;

  constructor(when: "before" | "after", times: number) {
    super({ interfaces: ["lan0", "wan0"] });
    this.#when = when;
    this.#left = times;
  }

  override async run(argv: readonly string[], options?: { stdin?: string }): Promise<ExecResult> {
    const result = await super.run(argv, options);
    if (!argv.includes("rule") || !argv.includes("list") || this.#left === 0) return result;
    const family = argv.includes("-6") ? 6 : 4;
    const rule = PLAN.ipRules.find((rule) =>
      rule.family === family && result.stdout.includes(`"${rule.incoming}"`)
    );
    if (rule === undefined) return result;
    this.#left--;
    await super.run(renderIpRule(rule).undo);
    return this.#when === "after" ? result : await super.run(argv, options);
  }
}

function backend(exec: FakeExec, differences: Difference[] = []): NftBackend {
  const options = {
    exec,
    tableName: "pellucid",
    hold: "plain",
    by: null,
    sysctls: [],
    afterwards: "true",
  } as const;
  return new class extends NftBackend {
    override differences(): Promise<Difference[]> {
      return Promise.resolve(differences);
    }
  }(options);
}

Deno.test("requireInPlace: routes that a dead predecessor's shell takes away are put again", async () => {
  const exec = new RacingExec("before", 3);
  await addMissingRoutes(PLAN, exec);
  await requireInPlace(PLAN, backend(exec), exec, "intercept");
  const entries = await readPlanEntries(PLAN, exec);
  assertEquals(entries.length, PLAN.ipRules.length + PLAN.routes.length);
});

Deno.test("requireInPlace: gives up when they are taken away again and again, and at once on anything else", async () => {
  const exec = new RacingExec("before", Infinity);
  await addMissingRoutes(PLAN, exec);
  const error = await assertRejects(
    () => requireInPlace(PLAN, backend(exec), exec, "intercept"),
    RuleApplyError,
  );
  assert(`${error}`.includes("is missing"), `${error}`);
  const other = backend(exec, [{ kind: "rule", message: "a rule is missing" }]);
  const start = performance.now();
  await assertRejects(() => requireInPlace(PLAN, other, exec, "intercept"), RuleApplyError);
  assert(performance.now() - start < 1_000);
});

Deno.test("removeOtherRoutes: what is gone by itself meanwhile is no failure", async () => {
  const racing = new RacingExec("after", 4);
  await addMissingRoutes(PLAN, racing);
  await removeOtherRoutes({ ...PLAN, ipRules: [] }, racing);
  assertEquals((await readPlanEntries(PLAN, racing)).length, PLAN.routes.length);
});
