import { AF_INET, setReuseAddress, SOCK_STREAM, type Socket } from "../ffi/mod.ts";
import type { StreamOpened, UpstreamRoute } from "../flow/mod.ts";
import type { Endpoint } from "../net/mod.ts";
import { assert, assertEquals, assertLess, assertMatch } from "../tests/assert.ts";
import { groupSettings } from "../tests/group_clock.ts";
import { sockaddrOf, UpstreamWorld } from "../tests/upstream_world.ts";
import { makeUpstreams } from "./make_upstreams.ts";
import type { GroupSettings, UpstreamSettings } from "./settings.ts";

const ascii = (text: string): number[] => Array.from(text, (character) => character.charCodeAt(0));
const CONNECT = ascii("CONNECT 203.0.113.9:443 HTTP/1.1\r\nHost: 203.0.113.9:443\r\n\r\n");
const OK = ascii("HTTP/1.1 200 OK\r\n\r\n");
const CHECK = { target: undefined, intervalMs: 200, timeoutMs: 200 };

/** HTTP proxies as members of a group, on real sockets. */
class GroupWorld extends UpstreamWorld {
  group(servers: readonly Endpoint[], change: Partial<GroupSettings> = {}) {
    const members = servers.map((server, i): UpstreamSettings => ({
      kind: "http",
      name: `p${i}`,
      server,
      credentials: undefined,
      timeoutMs: 2000,
    }));
    const settings = [...members, groupSettings(members.length, change)];
    const { routes, close } = makeUpstreams(settings, this.environment);
    return { route: routes.at(-1) as UpstreamRoute, close };
  }

  ask({ streams }: UpstreamRoute): StreamOpened {
    const client = sockaddrOf("198.51.100.1:4000"), destination = sockaddrOf("203.0.113.9:443");
    const deadlineMs = this.reactor.now + 5000;
    return this.run(streams.open({ client, destination, target: destination, deadlineMs }));
  }

  /** @returns whether there was a stream, which is closed. */
  asks(route: UpstreamRoute): boolean {
    const opened = this.ask(route);
    if ("detail" in opened) return false;
    this.loopback.close(this.take(opened.fd));
    return true;
  }

  /** Listens where a server has been, or might be; nobody accepts. */
  listenAt(endpoint: Endpoint): Socket {
    const socket = this.loopback.sockets.open(AF_INET, SOCK_STREAM);
    this.loopback.own(socket.fd);
    setReuseAddress(socket);
    socket.bind(endpoint);
    socket.listen(64);
    return socket;
  }

  /** @returns after how long there was what is waited for. */
  until(isSo: () => boolean, ms = 5000): number {
    const startMs = this.reactor.now;
    while (!isSo()) {
      assert(this.reactor.now - startMs < ms, `not within ${ms} ms`);
      this.pause(100);
    }
    return this.reactor.now - startMs;
  }
}

Deno.test("group of servers: one that is gone is left out after so many flows, and the flows notice nothing", () => {
  using world = new GroupWorld();
  const good = world.serve([{ read: CONNECT.length }, { write: OK }]);
  const { route } = world.group([world.refusing(), good.endpoint], { fall: 3 });
  for (let i = 0; i < 10; i++) assert(world.asks(route));
  assertEquals([good.sessions.length, world.changes.length], [10, 1]);
  assertMatch(world.changes[0]!.reason!, /^http 127.0.0.1:\d+: ECONNREFUSED$/);
  assertEquals(world.reactor.timers.size, 0);
});

Deno.test("group of servers: checks find one gone and back, all of them gone fails at once, and nothing is left open", () => {
  using world = new GroupWorld();
  const place = world.refusing();
  const good = world.serve([{ read: CONNECT.length }, { write: OK }]);
  const settings = { check: CHECK, rise: 2, fall: 2 };
  const { route, close } = world.group([place, good.endpoint], settings);
  world.until(() => world.changes.length > 0);
  assertEquals([world.changes[0]!.member, world.changes[0]!.isUp], ["p0", false]);
  const socket = world.listenAt(place);
  world.until(() => world.changes.length > 1);
  assertEquals([world.changes[1]!.member, world.changes[1]!.isUp], ["p0", true]);
  world.loopback.close(socket.fd);
  world.until(() => world.changes.length > 2);
  assert(world.asks(route));

  const none = world.group([place, world.refusing()], settings);
  world.until(() => world.changes.filter(({ membersUp }) => membersUp === 0).length > 0);
  const startMs = performance.now();
  for (let i = 0; i < 100; i++) {
    const failed = world.ask(none.route);
    assert("detail" in failed);
    assertEquals(failed.detail, "failover g: all members are down");
  }
  assertLess(performance.now() - startMs, 1000);
  close();
  none.close();
  assertEquals([world.open.size, world.reactor.timers.size], [0, 0]);
});

Deno.test("group of servers: a check with a target is a whole handshake; one that is given up leaves nothing open", () => {
  using world = new GroupWorld();
  const target = { host: "check.example", port: 80 };
  const asked = ascii("CONNECT check.example:80 HTTP/1.1\r\nHost: check.example:80\r\n\r\n");
  const good = world.serve([{ read: asked.length }, { write: OK }]);
  // It can be reached, and does not work.
  const silent = world.serve([]);
  const { close } = world.group([good.endpoint, silent.endpoint], { check: { ...CHECK, target }, fall: 2 });
  world.until(() => world.changes.length > 0);
  assertEquals(world.changes.map(({ member, isUp }) => [member, isUp]), [["p1", false]]);
  assertMatch(world.changes[0]!.reason!, /no answer in time$/);
  assertEquals(good.sessions[0]!.heard, asked);
  world.until(() => world.open.size > 0);
  close();
  assertEquals([world.open.size, world.reactor.timers.size], [0, 0]);
  // The last one may not have been accepted yet.
  world.pause(300);
  const before = good.sessions.length;
  world.pause(1000);
  assertEquals(good.sessions.length, before);
});
