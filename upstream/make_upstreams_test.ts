import type { Route } from "../flow/mod.ts";
import { assert, assertEquals } from "../tests/assert.ts";
import { UpstreamWorld } from "../tests/upstream_world.ts";
import { healthBytes } from "./health_state.ts";
import { makeUpstreams } from "./make_upstreams.ts";
import { textOfWay } from "./same_way.ts";
import type { DirectSettings, GroupSettings, Socks5Settings, UpstreamSettings } from "./settings.ts";
import { parseEndpoint } from "../net/mod.ts";

const DIRECT: DirectSettings = {
  kind: "direct",
  name: "direct",
  source: undefined,
  interface: undefined,
  mark: 0,
  dscp: undefined,
};

function socks5(name: string, server?: string, password?: string): Socks5Settings {
  const credentials = password === undefined ? undefined : { username: "me", password };
  const at = parseEndpoint(server ?? "192.0.2.1:1080")!;
  return { kind: "socks5", name, server: at, credentials, pipeline: true, udp: true, timeoutMs: 5000 };
}

function group(name: string, ...members: number[]): GroupSettings {
  return {
    kind: "failover",
    name,
    members,
    check: undefined,
    rise: 1,
    fall: 1,
    liveFlows: "keep",
    health: new SharedArrayBuffer(healthBytes(members.length)),
  };
}

/** What sessions and connections find their way by. */
function openers(routes: readonly Route[]): Map<string, unknown> {
  return new Map(
    routes.map((route) => [route.name, route.kind === "upstream" ? route.datagrams : route.kind]),
  );
}

Deno.test("makeUpstreams: a way that is still there goes on, wherever it stands; a changed one is another", () => {
  using world = new UpstreamWorld();
  const first = makeUpstreams(
    [
      DIRECT,
      socks5("a"),
      socks5("b"),
      socks5("c", "192.0.2.3:1080", "old"),
      group("ab", 1, 2),
      group("bc", 2, 3),
    ],
    world.environment,
  );
  const second = makeUpstreams(
    [
      socks5("new"),
      socks5("b"),
      DIRECT,
      socks5("a"),
      socks5("c", "192.0.2.3:1080", "new"),
      group("ab", 3, 1),
      group("bc", 1, 4),
    ],
    world.environment,
    first,
  );
  const before = openers(first.routes), after = openers(second.routes);
  const isSame = (name: string) => before.get(name) === after.get(name) && after.get(name) !== undefined;
  assertEquals(["a", "b", "c", "ab", "bc"].map(isSame), [true, true, false, true, false]);
  assertEquals(second.routes.map(({ id }) => id), [0, 1, 2, 3, 4, 5, 6]);
  second.close();
});

Deno.test("makeUpstreams: checks of a group that is gone end, those of one that stays go on", () => {
  using world = new UpstreamWorld();
  const server = (name: string, port: number): UpstreamSettings => socks5(name, `127.0.0.1:${port}`);
  const checked = (name: string, member: number): GroupSettings => ({
    ...group(name, member),
    check: { target: undefined, intervalMs: 100, timeoutMs: 100 },
  });
  const [stays, goes] = [world.serve([]), world.serve([])];
  const both = [server("s", stays.endpoint.port), server("g", goes.endpoint.port)];
  const first = makeUpstreams([...both, checked("stays", 0), checked("goes", 1)], world.environment);
  world.pause(400);
  assert(stays.sessions.length > 0 && goes.sessions.length > 0);
  const second = makeUpstreams([...both, checked("stays", 0)], world.environment, first);
  world.pause(50);
  const counts = [stays.sessions.length, goes.sessions.length];
  world.pause(500);
  assert(stays.sessions.length > counts[0]!, `${stays.sessions.length} checks, ${counts[0]} before`);
  assertEquals(goes.sessions.length, counts[1]);
  second.close();
  world.pause(50);
  const last = stays.sessions.length;
  world.pause(300);
  assertEquals(stays.sessions.length, last);
});

Deno.test("textOfWay: members and hops count as what they are, not by their places", () => {
  const chain = (...hops: number[]): UpstreamSettings => ({ kind: "chain", name: "chain", hops });
  const one = [socks5("a"), socks5("b"), chain(0, 1), group("g", 2)];
  const other = [socks5("b"), DIRECT, socks5("a"), chain(2, 0), group("g", 3)];
  assertEquals([2, 3].map((i) => textOfWay(one, i)), [3, 4].map((i) => textOfWay(other, i)));
  const changed = [socks5("a"), socks5("b", "192.0.2.2:1080"), chain(0, 1), group("g", 2)];
  assert(textOfWay(changed, 2) !== textOfWay(one, 2));
  assert(textOfWay(changed, 3) !== textOfWay(one, 3));
});
