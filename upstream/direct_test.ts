import type { UpstreamRoute } from "../flow/mod.ts";
import type { Endpoint } from "../net/mod.ts";
import { assert, assertEquals, assertMatch } from "../tests/assert.ts";
import { sockaddrOf, UpstreamWorld } from "../tests/upstream_world.ts";
import { healthBytes } from "./health_state.ts";
import { makeUpstreams } from "./make_upstreams.ts";
import type { DirectSettings } from "./settings.ts";

const DIRECT: DirectSettings = {
  kind: "direct",
  name: "d",
  source: undefined,
  interface: undefined,
  mark: 0,
  dscp: 46,
};
const NOT_THERE: DirectSettings = { ...DIRECT, name: "gone", interface: "no-such-if" };
const CLIENT = sockaddrOf("198.51.100.1:4000");
const TIME_MS = 5000;

/** A group: by itself a `direct` way has nothing to be asked. */
function groupOf(world: UpstreamWorld, ...members: DirectSettings[]): UpstreamRoute {
  const { routes } = makeUpstreams([...members, {
    kind: "failover",
    name: "group",
    members: members.map((_, i) => i),
    check: undefined,
    rise: 1,
    fall: 1,
    liveFlows: "keep",
    health: new SharedArrayBuffer(healthBytes(members.length)),
  }], world.environment);
  const route = routes.at(-1)!;
  assert(route.kind === "upstream");
  return route;
}

/** Opens a stream. @returns the descriptor, or why there is none. */
function connect(world: UpstreamWorld, to: Endpoint, ...members: DirectSettings[]): number | string {
  const target = sockaddrOf(to);
  const deadlineMs = world.reactor.now + TIME_MS;
  const request = { client: CLIENT, destination: target, target, deadlineMs };
  const opened = world.run(groupOf(world, ...members).streams.open(request));
  if (!("detail" in opened)) return world.take(opened.fd);
  const fault = opened.atUpstream ? "its own fault" : "the destination's";
  return `${opened.end.reason}, ${fault}: ${opened.detail}`;
}

Deno.test("direct: connects from here; only what keeps it from dialling is its own fault", () => {
  using world = new UpstreamWorld();
  const server = world.serve([]);
  assert(typeof connect(world, server.endpoint, DIRECT) === "number");
  assert(typeof connect(world, server.endpoint, NOT_THERE, DIRECT) === "number");
  assertMatch(`${connect(world, world.refusing(), DIRECT)}`, /^refused, the destination's: /);
  const failed = connect(world, server.endpoint, NOT_THERE);
  assertMatch(`${failed}`, /^upstream-failed, its own fault: direct gone: (ENODEV|EPERM)$/);
});

Deno.test("direct: says how the socket of its datagrams is to be, and is passed over without its interface", () => {
  using world = new UpstreamWorld();
  const kept: DirectSettings = { ...DIRECT, name: "kept", source: "keep", mark: 64 };
  const ask = (...members: DirectSettings[]) => {
    const { datagrams } = groupOf(world, ...members);
    return world.run(datagrams!.openDatagrams({ client: CLIENT, deadlineMs: world.reactor.now + TIME_MS }));
  };
  const path = ask(NOT_THERE, kept);
  assert("relay" in path);
  assertEquals([path.relay, path.options, path.control], [undefined, kept, -1]);
  const failed = ask(NOT_THERE);
  assert("detail" in failed);
  assertEquals([failed.end.reason, failed.atUpstream], ["upstream-failed", true]);
});
