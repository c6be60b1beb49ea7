import { defaultRunConfig } from "../config/mod.ts";
import { FakeExec } from "../nft/fake_exec.ts";
import type { AppliedRules, Plan } from "../nft/mod.ts";
import { assert, assertEquals } from "../tests/assert.ts";
import type { AppEvent } from "./events.ts";
import { RuleGuard } from "./rule_guard.ts";
import { RulePlanner } from "./rule_planner.ts";

/** Rules that cannot be replaced the first `failures` times. */
class BusyRules implements AppliedRules {
  readonly areSetsWatched = false;
  readonly backend = "nft";
  readonly hold = "plain";
  readonly replacedKept = false;
  readonly lost = new Promise<never>(() => {});
  readonly replaced: Plan[] = [];
  #failures: number;

  constructor(failures: number) {
    this.#failures = failures;
  }

  replace(plan: Plan): Promise<void> {
    if (this.#failures-- > 0) return Promise.reject(new Error("another program holds the lock"));
    this.replaced.push(plan);
    return Promise.resolve();
  }

  check = () => Promise.resolve();
  enterDrain = () => Promise.resolve();
  haveWrongSets = () => Promise.resolve(false);
  heal = () => Promise.resolve([]);
  counters = () => Promise.resolve([]);
  revert = () => Promise.resolve("removed" as const);
  [Symbol.asyncDispose] = () => Promise.resolve();
}

Deno.test("guard: a change that could not be put in place is tried again, and warned of once", async () => {
  const list = await Deno.makeTempFile({ prefix: "pellucid-list-" });
  try {
    await Deno.writeTextFile(list, "192.0.2.0/24\n");
    const { select, ...config } = defaultRunConfig();
    const destinations = { ...select.destinations, excludeFiles: [list] };
    const planner = new RulePlanner({ ...config, from: ["lan0"], select: { ...select, destinations } });
    const { intent } = await planner.plan();
    const rules = new BusyRules(3);
    const events: AppEvent[] = [];
    const replaced = Promise.withResolvers<void>();
    const emit = (event: AppEvent) => {
      events.push(event);
      if (event.event === "rules-replaced") replaced.resolve();
    };
    const exec = new FakeExec();
    const guard = new RuleGuard({ rules, planner, exec, emit, routeTable: intent.routeTable, isTold: true });
    const timer = setTimeout(() => replaced.reject(new Error("not replaced in time")), 8_000);
    try {
      await Deno.writeTextFile(list, "198.51.100.0/24\n");
      await replaced.promise;
    } finally {
      clearTimeout(timer);
      await guard.close();
    }
    assertEquals(events.map(({ event }) => event), ["warning", "rules-replaced"]);
    const [warning] = events;
    assert(warning?.event === "warning" && warning.retryMs === 100, JSON.stringify(warning));
    assertEquals(rules.replaced.map((plan) => plan.intent.select.destinations.exclude), [[
      "198.51.100.0/24",
    ]]);
  } finally {
    await Deno.remove(list);
  }
});
