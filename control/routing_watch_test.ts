import {
  BUILT_IN_UPSTREAMS,
  defaultRunConfig,
  type GroupConfig,
  NO_RULE_FILTERS,
  type RunConfig,
} from "../config/mod.ts";
import type { RoutingSettings } from "../dataplane/protocol.ts";
import { assert, assertEquals, assertStringIncludes } from "../tests/assert.ts";
import type { AppEvent } from "./events.ts";
import { RouteNames } from "./route_names.ts";
import { areSameRoutings, routingSource, RoutingWatch } from "./routing_watch.ts";

function withList(list: string): RunConfig {
  const rule = {
    ...NO_RULE_FILTERS,
    destinationFiles: [list],
    to: "block",
  };
  return { ...defaultRunConfig(), policy: { rules: [rule], otherwise: "direct", pushDown: false } };
}

async function until(holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!holds()) {
    assert(performance.now() < deadline, "not within 10 s");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

Deno.test("routing watch: a list that has changed is read, a bad one is said once and changes nothing", async () => {
  const list = await Deno.makeTempFile({ prefix: "pellucid-list-" });
  try {
    await Deno.writeTextFile(list, "192.0.2.0/24\n");
    const names = new RouteNames();
    const source = routingSource(withList(list), names, undefined);
    const first = await source.make();
    const events: AppEvent[] = [], posted: RoutingSettings[] = [];
    using watch = new RoutingWatch(
      source,
      (routing) => posted.push(routing),
      (event) => void events.push(event),
    );
    await Deno.writeTextFile(list, "nonsense\n");
    await until(() => events.length > 0);
    const warning = events[0]!;
    assert(warning.event === "warning" && warning.code === "routing-not-replaced");
    assertStringIncludes(warning.message, `${list}:1: "nonsense"`);
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    assertEquals([events.length, posted.length, watch.current === first], [1, 0, true]);

    await Deno.writeTextFile(list, "198.51.100.0/24\n203.0.113.0/24\n");
    await until(() => posted.length > 0);
    assertEquals(events[1]?.event, "routing-replaced");
    assert(watch.current === posted[0] && !areSameRoutings(first, posted[0]!));
    assertEquals(posted[0]!.generation, first.generation);
  } finally {
    await Deno.remove(list);
  }
});

Deno.test("routing watch: what was being made of another configuration comes too late", async () => {
  const list = await Deno.makeTempFile({ prefix: "pellucid-list-" });
  try {
    await Deno.writeTextFile(list, "192.0.2.0/24\n");
    const names = new RouteNames();
    const source = routingSource(withList(list), names, undefined);
    await source.make();
    const posted: RoutingSettings[] = [], events: AppEvent[] = [];
    using watch = new RoutingWatch(
      source,
      (routing) => posted.push(routing),
      (event) => void events.push(event),
    );
    const other = routingSource(defaultRunConfig(), names, watch.current);
    const routing = await other.make();
    await Deno.writeTextFile(list, "198.51.100.0/24\n");
    // The file is looked at, and has to settle: in between comes the other one.
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    watch.follow(other);
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    assertEquals([posted, events, watch.current === routing], [[], [], true]);
  } finally {
    await Deno.remove(list);
  }
});

Deno.test("routing watch: a policy module that is being written does not come into force with a list", async () => {
  const folder = await Deno.makeTempDir({ prefix: "pellucid-watch-" });
  try {
    const list = `${folder}/list.txt`, module = `${folder}/policy.ts`;
    await Deno.writeTextFile(list, "192.0.2.0/24\n");
    await Deno.writeTextFile(module, "export default () => 'direct';");
    const { policy, ...config } = withList(list);
    const withModule = { ...config, policy: { ...policy, module } };
    const source = routingSource(withModule, new RouteNames(), undefined);
    const first = await source.make();
    const events: AppEvent[] = [], posted: RoutingSettings[] = [];
    using _watch = new RoutingWatch(
      source,
      (routing) => posted.push(routing),
      (event) => void events.push(event),
    );
    await Deno.writeTextFile(module, "export default () => 'dir");
    await Deno.writeTextFile(list, "198.51.100.0/24\n");
    await until(() => events.length > 0);
    assertEquals([events.map(({ event }) => event), posted[0]?.module], [["routing-replaced"], first.module]);
    // A reload asks for it.
    await Deno.writeTextFile(module, "export default () => 'block';");
    const anew = await routingSource(withModule, new RouteNames(), first).make();
    assert(first.module !== undefined && anew.module?.url !== first.module.url);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("routing: what is known of a group's members is kept while they are the same", async () => {
  const group: GroupConfig = {
    kind: "failover",
    name: "both",
    members: ["a", "b"],
    check: null,
    liveFlows: "keep",
  };
  const to = (host: string, name: string) =>
    ({
      kind: "http",
      name,
      server: { host, port: 3128 },
      credentials: null,
      timeoutMs: 1000,
    }) as const;
  const config = (host: string): RunConfig => ({
    ...defaultRunConfig(),
    upstreams: [...BUILT_IN_UPSTREAMS, to(host, "a"), to("192.0.2.2", "b")],
    groups: [group],
  });
  const names = new RouteNames();
  const healthOf = ({ upstreams }: RoutingSettings) => {
    const last = upstreams.at(-1)!;
    assert("health" in last);
    return last.health;
  };
  const before = await routingSource(config("192.0.2.1"), names, undefined).make();
  const same = await routingSource({ ...config("192.0.2.1"), logLevel: "debug" }, names, before).make();
  const other = await routingSource(config("192.0.2.9"), names, before).make();
  assert(healthOf(same) === healthOf(before) && healthOf(other) !== healthOf(before));
  assert(areSameRoutings(before, same) && !areSameRoutings(before, other));
});
