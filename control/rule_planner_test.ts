import { defaultRunConfig, type RunConfig } from "../config/mod.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "../tests/assert.ts";
import { type PlanChange, RulePlanner } from "./rule_planner.ts";

function configWith(excludeFiles: readonly string[]): RunConfig {
  const config = defaultRunConfig();
  const { select } = config;
  return {
    ...config,
    from: ["lan0"],
    select: { ...select, destinations: { ...select.destinations, excludeFiles } },
  };
}

/** Looks, as the guard does, until there is something to tell. */
async function nextChange(planner: RulePlanner): Promise<PlanChange> {
  for (let look = 0; look < 40; look++) {
    const change = await planner.readChange(false);
    if (change !== undefined) return change;
    await pause(100);
  }
  throw new Error("no change was told");
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function excluded({ plan }: Pick<PlanChange, "plan">): readonly string[] {
  return plan.intent.select.destinations.exclude;
}

async function withList(text: string, test: (list: string) => Promise<void>): Promise<void> {
  const list = await Deno.makeTempFile({ prefix: "pellucid-list-" });
  try {
    await Deno.writeTextFile(list, text);
    await test(list);
  } finally {
    await Deno.remove(list);
  }
}

Deno.test("planner: a change is told until it is accepted", () =>
  withList("192.0.2.0/24\n", async (list) => {
    const planner = new RulePlanner(configWith([list]));
    assertEquals(excluded({ plan: await planner.plan() }), ["192.0.2.0/24"]);
    await Deno.writeTextFile(list, "198.51.100.0/24\n");
    assertEquals(excluded(await nextChange(planner)), ["198.51.100.0/24"]);
    assertEquals(await planner.readChange(false), undefined);
    assert(planner.isPending);
    const again = await planner.readChange(true);
    assertEquals(again && excluded(again), ["198.51.100.0/24"]);
    planner.accept(again!);
    assertEquals([await planner.readChange(true), planner.isPending], [undefined, false]);
  }));

Deno.test("planner: a file is not read while it is being written", () =>
  withList("192.0.2.0/24\n198.51.100.0/24\n", async (list) => {
    const planner = new RulePlanner(configWith([list]));
    await planner.plan();
    await Deno.writeTextFile(list, "192.0.2.0/24\n");
    for (let part = 0; part < 4; part++) {
      assertEquals(await planner.readChange(false), undefined);
      await pause(400);
      await Deno.writeTextFile(list, `203.0.113.${part}\n`, { append: true });
    }
    assertEquals(excluded(await nextChange(planner)).length, 2, "one prefix and four addresses, merged");
  }));

Deno.test("planner: a list that becomes empty is one that is still to be filled", () =>
  withList("192.0.2.0/24\n", async (list) => {
    const planner = new RulePlanner(configWith([list]));
    await planner.plan();
    await Deno.truncate(list);
    const error = await assertRejects(() => nextChange(planner));
    assertStringIncludes(String(error), `${list} is empty now`);
    await Deno.writeTextFile(list, "# none\n");
    assertEquals(excluded(await nextChange(planner)), []);
  }));

Deno.test("planner: a list that was empty at the start may be so again", () =>
  withList("", async (list) => {
    const planner = new RulePlanner(configWith([list]));
    await planner.plan();
    await Deno.writeTextFile(list, "192.0.2.0/24\n");
    planner.accept(await nextChange(planner));
    await Deno.truncate(list);
    assertEquals(excluded(await nextChange(planner)), []);
  }));
