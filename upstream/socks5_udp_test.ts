import { decodeSockaddr, EPOLLIN, SO_KEEPALIVE, SOL_SOCKET } from "../ffi/mod.ts";
import type { DatagramPath, DatagramUpstream, StreamFailure } from "../flow/mod.ts";
import { type Endpoint, formatEndpoint } from "../net/mod.ts";
import { assert, assertEquals, assertMatch } from "../tests/assert.ts";
import { ScriptedStream } from "../tests/scripted_stream.ts";
import { sockaddrOf, type Step, UpstreamWorld } from "../tests/upstream_world.ts";
import { makeUpstreams } from "./make_upstreams.ts";
import type { UpstreamSettings } from "./settings.ts";
import { Socks5Framing } from "./socks5_framing.ts";
import { relayOf } from "./socks5_relay.ts";

/** Greeting and UDP ASSOCIATE for 0.0.0.0:0. */
const ASSOCIATE = [5, 1, 0, 5, 3, 0, 1, 0, 0, 0, 0, 0, 0];
const GREETED = [5, 0];

function bound(kind: number, ...address: number[]): number[] {
  return [...GREETED, 5, 0, 0, kind, ...address, 0x12, 0x34];
}

function settings(server: Endpoint): UpstreamSettings {
  const credentials = undefined;
  return { kind: "socks5", name: "s", server, credentials, pipeline: true, udp: true, timeoutMs: 5000 };
}

function datagrams(world: UpstreamWorld, ...all: UpstreamSettings[]): DatagramUpstream {
  const route = makeUpstreams(all, world.environment).routes.at(-1)!;
  assert(route.kind === "upstream" && route.datagrams !== undefined);
  return route.datagrams;
}

function open(world: UpstreamWorld, upstream: DatagramUpstream, ms = 5000): DatagramPath | StreamFailure {
  const request = { client: sockaddrOf("198.51.100.1:4000"), deadlineMs: world.reactor.now + ms };
  return world.run(upstream.openDatagrams(request));
}

/** Opens a path through a server that answers so. */
function ask(world: UpstreamWorld, answer: readonly number[]): DatagramPath | StreamFailure {
  const server = world.serve([{ read: ASSOCIATE.length }, { dribble: answer }]);
  return open(world, datagrams(world, settings(server.endpoint)));
}

function relayText(path: DatagramPath | StreamFailure): string {
  assert(!("detail" in path), JSON.stringify(path));
  return formatEndpoint(decodeSockaddr(path.relay!)!);
}

function assertFailed(path: DatagramPath | StreamFailure, detail: RegExp): void {
  assert("detail" in path, "a path was opened");
  assertEquals([path.end.reason, path.atUpstream], ["upstream-failed", true]);
  assertMatch(path.detail, detail);
}

Deno.test("socks5 udp: a path has its relay, its framing, and the stream that it lasts as long as", () => {
  using world = new UpstreamWorld();
  const answer = bound(1, 127, 0, 0, 2);
  const server = world.serve([{ read: ASSOCIATE.length }, { write: answer }, { read: 1 }, "close"]);
  const path = open(world, datagrams(world, settings(server.endpoint)));
  assertEquals(relayText(path), "127.0.0.2:4660");
  assert(!("detail" in path) && path.framing instanceof Socks5Framing);
  assertEquals(server.sessions[0]!.heard, ASSOCIATE);
  const control = world.take(path.control);
  const { value, length } = world.environment;
  length.words[0] = 4;
  world.sys.getsockopt(control, SOL_SOCKET, SO_KEEPALIVE, value.pointer, length.pointer);
  assertEquals(value.words[0], 1);
  // It is the caller's to watch, and nothing has come yet.
  let events = 0;
  assertEquals(world.reactor.add(control, EPOLLIN, { onEvents: () => void events++ }), 0);
  world.pause(100);
  assertEquals(events, 0);
  world.sys.send(control, world.buffer.pointer, 1, 0);
  world.pause(100);
  assertEquals(events, 1);
});

Deno.test("socks5 udp: 0.0.0.0 and :: are the server's own address", () => {
  using world = new UpstreamWorld();
  for (const answer of [bound(1, 0, 0, 0, 0), bound(4, ...new Array(16).fill(0)), bound(1, 127, 0, 0, 1)]) {
    const path = ask(world, answer);
    assertEquals(relayText(path), "127.0.0.1:4660");
    assert(!("detail" in path));
    world.take(path.control);
  }
});

Deno.test("socks5 udp: a relay that cannot be sent to is refused, and says why", () => {
  using world = new UpstreamWorld();
  const unreachable = /its relay cannot be reached: E[A-Z]+$/;
  assertFailed(ask(world, bound(1, 255, 255, 255, 255)), unreachable);
  assertFailed(ask(world, bound(1, 224, 0, 0, 1)), unreachable);
  assertFailed(ask(world, bound(4, 0xff, 2, ...new Array(13).fill(0), 1)), unreachable);
  assertFailed(
    ask(world, bound(3, 3, 0x61, 0x2e, 0x62)),
    /its relay is at a.b, a name; an address is wanted$/,
  );
  assertFailed(ask(world, [...GREETED, 5, 0, 0, 1, 127, 0, 0, 1, 0, 0]), /its relay is at port 0$/);
  assertFailed(ask(world, [...GREETED, 5, 7, 0, 1]), /command not supported$/);
  assertFailed(ask(world, [4, 4]), /not SOCKS5/);
});

Deno.test("socks5 udp: a server elsewhere cannot name this host's loopback as its relay", () => {
  using stream = new ScriptedStream();
  const server = sockaddrOf("192.0.2.1:1080");
  const relay = (bound: string) => relayOf(stream.environment, "x", sockaddrOf(bound), server);
  for (const loopback of ["127.0.0.1:53", "[::1]:53"]) {
    const failure = relay(loopback);
    assert("detail" in failure);
    assertEquals(failure.detail, "x: its relay cannot be reached: ENETUNREACH");
  }
  assertEquals(relay("0.0.0.0:53"), sockaddrOf("192.0.2.1:53"));
  const own = relay("192.0.2.1:9999");
  assertEquals(own, sockaddrOf("192.0.2.1:9999"));
});

Deno.test("socks5 udp: close at any step, silence, and an abort at any wait leave nothing", () => {
  using world = new UpstreamWorld();
  const answer = bound(1, 127, 0, 0, 1);
  for (let length = 0; length < answer.length; length++) {
    const steps: Step[] = [{ read: ASSOCIATE.length }, { write: answer.slice(0, length) }, "close"];
    assertFailed(
      open(world, datagrams(world, settings(world.serve(steps).endpoint))),
      /: closed the connection$/,
    );
  }
  const half = world.serve([{ read: ASSOCIATE.length }, { write: GREETED }]);
  assertFailed(open(world, datagrams(world, settings(half.endpoint)), 300), /: no answer in time$/);
  const server = world.serve([{ read: ASSOCIATE.length }, { dribble: answer }]);
  const upstream = datagrams(world, settings(server.endpoint));
  const request = { client: sockaddrOf("198.51.100.1:4000"), deadlineMs: world.reactor.now + 60_000 };
  let waits = 0;
  for (; world.abortAt(upstream.openDatagrams(request), waits); waits++) assertEquals(world.open.size, 0);
  assert(waits > 3);
  world.take([...world.open][0]!);
});

Deno.test("socks5 udp: a group takes the next member that carries datagrams", () => {
  using world = new UpstreamWorld();
  const answer = bound(1, 0, 0, 0, 0);
  const good = world.serve([{ read: ASSOCIATE.length }, { write: answer }]);
  const http: UpstreamSettings = {
    kind: "http",
    name: "h",
    server: good.endpoint,
    credentials: undefined,
    timeoutMs: 5000,
  };
  const path = open(
    world,
    datagrams(world, http, settings(world.refusing()), settings(good.endpoint), {
      kind: "failover",
      name: "g",
      members: [0, 1, 2],
      check: undefined,
      rise: 1,
      fall: 1,
      liveFlows: "keep",
      health: new SharedArrayBuffer(64 * 1024),
    }),
  );
  assertEquals(relayText(path), `127.0.0.1:4660`);
  assert(!("detail" in path));
  world.take(path.control);
});

Deno.test("proxy protocol: datagrams get a header of version 2, and go to its server or to where they were going", () => {
  using world = new UpstreamWorld();
  const server = world.refusing();
  const path = open(
    world,
    datagrams(world, { kind: "proxy-protocol", name: "p", version: 2, server, timeoutMs: 1 }),
  );
  assertEquals(relayText(path), formatEndpoint(server));
  assert(!("detail" in path));
  assertEquals([path.control, path.framing!.framesAnswers], [-1, false]);
  const straight = open(
    world,
    datagrams(world, { kind: "proxy-protocol", name: "p", version: 2, server: undefined, timeoutMs: 1 }),
  );
  assert(!("detail" in straight));
  assertEquals(straight.relay, undefined);
});
