import { BUILT_IN_UPSTREAMS, defaultRunConfig, NO_RULE_FILTERS, type RunConfig } from "../config/mod.ts";
import type { RoutingSettings } from "../dataplane/protocol.ts";
import { assert, assertEquals, assertStringIncludes } from "../tests/assert.ts";
import type { AppEvent } from "./events.ts";
import { foreignInterception, type InterceptionChange } from "./interception.ts";
import { Reloader } from "./reload.ts";
import { RouteNames } from "./route_names.ts";
import { routingSource, RoutingWatch } from "./routing_watch.ts";

const CONFIG: RunConfig = { ...defaultRunConfig(), tcp: "redirect", udp: "off", rules: "none" };

/** Everything to the block named so. */
function by(name: string): RunConfig {
  return {
    ...CONFIG,
    upstreams: [...BUILT_IN_UPSTREAMS, { kind: "block", name, how: "drop" }],
    policy: { rules: [], otherwise: name, pushDown: false },
  };
}

interface Faults {
  readonly prepare?: Error;
  readonly commit?: Error;
}

/** A reloader between fakes; `steps` is what happened, in order. */
async function setUp(faults: Faults = {}) {
  const steps: string[] = [];
  const events: AppEvent[] = [];
  const names = new RouteNames();
  const source = routingSource(CONFIG, names, undefined);
  await source.make();
  const pause = () => new Promise<void>((resolve) => setTimeout(resolve, 5));
  const supervisor = {
    exchangeRouting: async ({ upstreams, otherwise }: RoutingSettings) => {
      steps.push(`posted ${upstreams[otherwise]!.name}`);
      await pause();
      steps.push("heard");
    },
  };
  const interception = {
    ...foreignInterception(),
    prepareChange: async ({ policy }: RunConfig): Promise<InterceptionChange> => {
      await pause();
      steps.push(`prepared ${policy.otherwise}`);
      if (faults.prepare !== undefined) throw faults.prepare;
      return {
        differs: true,
        commit: async () => {
          await pause();
          steps.push(`rules ${policy.otherwise}`);
          if (faults.commit !== undefined) throw faults.commit;
        },
      };
    },
  };
  const emit = (event: AppEvent) => void events.push(event);
  const routing = new RoutingWatch(source, (other) => supervisor.exchangeRouting(other), emit);
  const reloader = new Reloader({ config: CONFIG, names, supervisor, interception, routing, emit });
  return { reloader, routing, steps, events };
}

function otherwiseOf({ upstreams, otherwise }: RoutingSettings): string {
  return upstreams[otherwise]!.name;
}

Deno.test("reload: workers have heard of the routing before the rules are other ones", async () => {
  const { reloader, routing, steps, events } = await setUp();
  const outcome = await reloader.reload(by("hole"));
  assertEquals(steps, ["prepared hole", "posted hole", "heard", "rules hole"]);
  assertEquals(outcome, {
    kind: "reloaded",
    changes: ["upstreams: hole added", "policy: 0 rules, others by hole"],
  });
  assertEquals([events.map(({ event }) => event), otherwiseOf(routing.current)], [["reloaded"], "hole"]);
  assertEquals(reloader.config.policy.otherwise, "hole");
});

Deno.test("reload: a routing that is the same is not posted", async () => {
  const { reloader, steps } = await setUp();
  assertEquals(await reloader.reload({ ...CONFIG, drainTimeoutMs: 1000 }), {
    kind: "reloaded",
    // The fake says that rules differ.
    changes: ["rules: lists, interfaces or users have changed", "drain timeout: 1 s"],
  });
  assertEquals(steps, ["prepared direct", "rules direct"]);
});

Deno.test("reload: everything that is wrong is said at once, and nothing has been touched", async () => {
  const { reloader, routing, steps, events } = await setUp();
  const before = routing.current;
  const outcome = await reloader.reload({
    ...by("nobody"),
    upstreams: CONFIG.upstreams,
    port: 0,
    workers: 63,
  });
  assert(outcome.kind === "failed");
  const paths = outcome.issues.map((issue) => issue.split(": ")[0]!);
  for (const path of ["--port", "--workers", "policy.default"]) assert(paths.includes(path), paths.join());
  assertEquals([steps, routing.current === before, reloader.config === CONFIG], [[], true, true]);
  assertEquals(events, [{ event: "reload-failed", issues: outcome.issues }]);
});

Deno.test("reload: what only the host can tell is told in the words of who wrote it, and posted to nobody", async () => {
  const { reloader, steps, routing } = await setUp();
  const config: RunConfig = {
    ...by("hole"),
    policy: {
      ...by("hole").policy,
      rules: [{
        ...NO_RULE_FILTERS,
        destinationFiles: ["/nowhere/at-all"],
        to: "hole",
      }],
    },
  };
  const outcome = await reloader.reload(
    config,
    (issues) => issues.map((one) => ({ ...one, path: `file:1: ${one.path}` })),
  );
  assert(outcome.kind === "failed");
  assertStringIncludes(outcome.issues.join(), "file:1: rule[1].destination-file: /nowhere/at-all");
  assertEquals([steps, otherwiseOf(routing.current)], [["prepared hole"], "direct"]);
});

Deno.test("reload: rules that cannot be prepared or exchanged leave the routing as it was", async () => {
  const unprepared = await setUp({ prepare: new Error("no nft") });
  assertEquals(await unprepared.reloader.reload(by("hole")), { kind: "failed", issues: ["no nft"] });
  assertEquals(unprepared.steps, ["prepared hole"]);
  const { reloader, routing, steps } = await setUp({ commit: new Error("table is gone") });
  assertEquals(await reloader.reload(by("hole")), { kind: "failed", issues: ["table is gone"] });
  assertEquals(steps, ["prepared hole", "posted hole", "heard", "rules hole", "posted direct", "heard"]);
  assertEquals([otherwiseOf(routing.current), reloader.config === CONFIG], ["direct", true]);
});

Deno.test("reload: requests are taken one after the other, and the last one holds", async () => {
  const { reloader, steps, routing } = await setUp();
  const outcomes = await Promise.all(["a", "b", "c"].map((name) => reloader.reload(by(name))));
  assertEquals(outcomes.map(({ kind }) => kind), ["reloaded", "reloaded", "reloaded"]);
  assertEquals(
    steps,
    ["a", "b", "c"].flatMap((name) => [`prepared ${name}`, `posted ${name}`, "heard", `rules ${name}`]),
  );
  assertEquals(otherwiseOf(routing.current), "c");
});

Deno.test("reload: one that is being put in force is finished before a stop, others are refused", async () => {
  const { reloader, steps } = await setUp();
  const first = reloader.reload(by("a"));
  while (!steps.includes("posted a")) await new Promise((resolve) => setTimeout(resolve, 1));
  const second = reloader.reload(by("b"));
  await reloader.close();
  assertEquals(steps, ["prepared a", "posted a", "heard", "rules a"]);
  assertEquals((await first).kind, "reloaded");
  const outcome = await second;
  assert(outcome.kind === "failed");
  assertStringIncludes(outcome.issues.join(), "being stopped");
  assertEquals(steps.length, 4);
});
