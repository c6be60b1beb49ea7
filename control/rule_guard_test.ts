import { defaultRunConfig } from "../config/mod.ts";
import { FakeExec } from "../nft/fake_exec.ts";
import type { AppliedRules, Difference, Plan } from "../nft/mod.ts";
import { assert, assertEquals } from "../tests/assert.ts";
import type { AppEvent } from "./events.ts";
import { RuleGuard } from "./rule_guard.ts";
import { RulePlanner } from "./rule_planner.ts";

/** Rules to which nothing happens; a test says what does. */
class QuietRules implements AppliedRules {
  readonly areSetsWatched: boolean = false;
  readonly backend = "nft";
  readonly hold = "plain";
  readonly replacedKept = false;
  lost: Promise<string> = new Promise(() => {});

  check = () => Promise.resolve();
  replace = (_plan: Plan): Promise<void> => Promise.resolve();
  enterDrain = () => Promise.resolve();
  haveWrongSets = (): Promise<boolean> => Promise.resolve(false);
  heal = (): Promise<Difference[]> => Promise.resolve([]);
  counters = () => Promise.resolve([]);
  revert = () => Promise.resolve("removed" as const);
  [Symbol.asyncDispose] = () => Promise.resolve();
}

/** Has `rules`, whose changes nobody tells of, kept until `done` has happened. @returns the names of what it told. */
async function keptUntil(rules: AppliedRules, done: Promise<unknown>): Promise<string[]> {
  const planner = new RulePlanner({ ...defaultRunConfig(), from: ["lan0"] });
  const { intent: { routeTable } } = await planner.plan();
  const events: string[] = [];
  const emit = ({ event }: AppEvent) => events.push(event);
  const guard = new RuleGuard({ rules, planner, exec: new FakeExec(), emit, routeTable, isTold: false });
  const timeUp = Promise.withResolvers<never>();
  const timer = setTimeout(() => timeUp.reject(new Error("it did not come so far in time")), 8_000);
  try {
    await Promise.race([done, timeUp.promise]);
  } finally {
    clearTimeout(timer);
    await guard.close();
  }
  return events;
}

Deno.test("guard: sets that cannot be read are not its end", async () => {
  const looked = Promise.withResolvers<void>();
  let asked = 0;
  class UnreadableRules extends QuietRules {
    override readonly areSetsWatched = true;
    override haveWrongSets = () => {
      asked++;
      return Promise.reject(new Error("too many open files"));
    };
    override heal = () => {
      if (asked > 1) looked.resolve();
      return Promise.resolve([]);
    };
  }
  assertEquals(await keptUntil(new UnreadableRules(), looked.promise), []);
});

Deno.test("guard: what is lost during a look has not been put back by it", async () => {
  const restored = Promise.withResolvers<void>();
  const killed = Promise.withResolvers<string>();
  let looks = 0;
  class LosingRules extends QuietRules {
    override lost = killed.promise;
    override heal = async () => {
      if (++looks === 1) {
        killed.resolve("killed");
        await killed.promise;
        return [];
      }
      this.lost = new Promise(() => {});
      setTimeout(restored.resolve, 100);
      return [{ kind: "table" as const, message: "table inet pellucid is missing" }];
    };
  }
  const events = await keptUntil(new LosingRules(), restored.promise);
  assertEquals(events, ["rules-lost", "rules-restored"]);
});

Deno.test("guard: a change that is read when draining begins is not put in place", async () => {
  let read = false;
  let replaced = false;
  const rules = new QuietRules();
  rules.replace = () => {
    replaced = true;
    return Promise.resolve();
  };
  const planner = new class extends RulePlanner {
    override async readChange() {
      const plan = await this.plan();
      guard.enterDrain();
      read = true;
      return {
        plan,
        why: "lists",
        source: { value: plan.intent, seen: { files: "", interfaces: "", empty: [] } },
      };
    }
  }({ ...defaultRunConfig(), from: ["lan0"] });
  const { intent: { routeTable } } = await planner.plan();
  const exec = new FakeExec();
  const guard = new RuleGuard({ rules, planner, exec, emit: () => {}, routeTable, isTold: true });
  await new Promise((resolve) => setTimeout(resolve, 50));
  await guard.close();
  assertEquals([read, replaced], [true, false]);
});

Deno.test("guard: a change that could not be put in place is tried again, and warned of once", async () => {
  const list = await Deno.makeTempFile({ prefix: "pellucid-list-" });
  try {
    await Deno.writeTextFile(list, "192.0.2.0/24\n");
    const { select, ...config } = defaultRunConfig();
    const destinations = { ...select.destinations, excludeFiles: [list] };
    const planner = new RulePlanner({ ...config, from: ["lan0"], select: { ...select, destinations } });
    const { intent } = await planner.plan();
    const rules = new QuietRules();
    const inPlace: Plan[] = [];
    let failures = 3;
    rules.replace = (plan) => {
      if (failures-- > 0) return Promise.reject(new Error("another program holds the lock"));
      inPlace.push(plan);
      return Promise.resolve();
    };
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
    assertEquals(inPlace.map((plan) => plan.intent.select.destinations.exclude), [[
      "198.51.100.0/24",
    ]]);
  } finally {
    await Deno.remove(list);
  }
});
