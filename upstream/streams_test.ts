import { AF_INET, EAGAIN, EPOLLIN, SOCK_STREAM, SOL_TCP, TCP_NODELAY } from "../ffi/mod.ts";
import type { StreamOpened, StreamRequest, StreamTarget, UpstreamRoute } from "../flow/mod.ts";
import { type Endpoint, parseEndpoint } from "../net/mod.ts";
import {
  assert,
  assertEquals,
  assertGreaterOrEqual,
  assertLess,
  assertLessOrEqual,
  assertMatch,
} from "../tests/assert.ts";
import { sockaddrOf, type Step, UpstreamWorld } from "../tests/upstream_world.ts";
import { makeUpstreams } from "./make_upstreams.ts";
import type { UpstreamSettings } from "./settings.ts";

const CLIENT = "198.51.100.1:4000", DESTINATION = "203.0.113.9:443";
const CREDENTIALS = { username: "user", password: "s3cret" };

const ascii = (text: string): number[] => Array.from(text, (character) => character.charCodeAt(0));

// What is said for DESTINATION, and what a server answers.
const ASK = [5, 1, 0, 1, 203, 0, 113, 9, 0x01, 0xbb];
const LOGIN = [1, 4, ...ascii("user"), 6, ...ascii("s3cret")];
const BOUND = [5, 0, 0, 1, 0, 0, 0, 0, 0, 0];
const CONNECT = ascii("CONNECT 203.0.113.9:443 HTTP/1.1\r\nHost: 203.0.113.9:443\r\n\r\n");
const OK = ascii("HTTP/1.1 200 OK\r\nVia: x\r\n\r\n");
const V1 = ascii("PROXY TCP4 198.51.100.1 203.0.113.9 4000 443\r\n");

interface Kind {
  readonly name: string;
  settings(server: Endpoint): UpstreamSettings;
  /** One exchange after the other: what the server hears, and what it answers to that. */
  readonly exchanges: readonly (readonly [heard: readonly number[], answer: readonly number[]])[];
}

function socks5(login: boolean, pipeline: boolean): Kind["settings"] {
  const credentials = login ? CREDENTIALS : undefined;
  return (server) => ({
    kind: "socks5",
    name: "s",
    server,
    credentials,
    pipeline,
    udp: true,
    timeoutMs: 5000,
  });
}

function http(server: Endpoint): UpstreamSettings {
  return { kind: "http", name: "h", server, credentials: undefined, timeoutMs: 5000 };
}

function proxyProtocol(server: Endpoint | undefined): UpstreamSettings {
  return { kind: "proxy-protocol", name: "p", version: 1, server, timeoutMs: 5000 };
}

/** How long an acknowledgement is delayed in the hope of something to carry it (TCP_DELACK_MIN). */
const DELAYED_ACK_MS = 40;

const KINDS: readonly Kind[] = [
  {
    name: "socks5, pipelined",
    settings: socks5(false, true),
    exchanges: [[[5, 1, 0, ...ASK], [5, 0, ...BOUND]]],
  },
  {
    name: "socks5, pipelined, login",
    settings: socks5(true, true),
    exchanges: [[[5, 1, 2, ...LOGIN, ...ASK], [5, 2, 1, 0, ...BOUND]]],
  },
  {
    name: "socks5, step by step",
    settings: socks5(false, false),
    exchanges: [[[5, 1, 0], [5, 0]], [ASK, BOUND]],
  },
  {
    name: "socks5, step by step, login",
    settings: socks5(true, false),
    exchanges: [[[5, 2, 0, 2], [5, 2]], [LOGIN, [1, 0]], [ASK, BOUND]],
  },
  { name: "http", settings: http, exchanges: [[CONNECT, OK]] },
];

const WITH_HEADER: Kind = { name: "proxy-protocol", settings: proxyProtocol, exchanges: [[V1, []]] };

function route(world: UpstreamWorld, settings: readonly UpstreamSettings[]): UpstreamRoute {
  const made = makeUpstreams(settings, world.environment).routes.at(-1)!;
  assert(made.kind === "upstream");
  return made;
}

function request(
  world: UpstreamWorld,
  ms = 5000,
  target: StreamTarget = sockaddrOf(DESTINATION),
): StreamRequest {
  return {
    client: sockaddrOf(CLIENT),
    destination: sockaddrOf(DESTINATION),
    target,
    deadlineMs: world.reactor.now + ms,
  };
}

/** Opens a stream by the last of `settings`. */
function open(world: UpstreamWorld, settings: readonly UpstreamSettings[], ms?: number): StreamOpened {
  return world.run(route(world, settings).streams.open(request(world, ms)));
}

function assertFailed(opened: StreamOpened, reason: string, atUpstream: boolean, detail = /./): void {
  assert("detail" in opened);
  assertEquals([opened.end.reason, opened.atUpstream], [reason, atUpstream]);
  assertMatch(opened.detail, detail);
}

function receive(world: UpstreamWorld, fd: number): number[] {
  const n = world.sys.recv(fd, world.buffer.pointer, 100, 0);
  return n === -EAGAIN ? [] : [...world.buffer.bytes.slice(0, n)];
}

for (const kind of [...KINDS, WITH_HEADER]) {
  Deno.test(`${kind.name}: answers byte by byte; what follows the handshake stays in the stream`, () => {
    using world = new UpstreamWorld();
    const steps: Step[] = kind.exchanges.flatMap((
      [heard, answer],
    ) => [{ read: heard.length }, { dribble: answer }]);
    // The last byte of the answer and the destination's first ones arrive as one.
    const last = kind.exchanges.at(-1)![1];
    steps[steps.length - 1] = { dribble: last.slice(0, -1) };
    const server = world.serve([...steps, { write: [...last.slice(-1), ...ascii("hello")] }]);
    const opened = open(world, [kind.settings(server.endpoint)]);
    assert(!("detail" in opened), JSON.stringify(opened));
    const fd = world.take(opened.fd);
    world.pause(100);
    assertEquals(server.sessions[0]!.heard, kind.exchanges.flatMap(([heard]) => [...heard]));
    assertEquals(receive(world, fd), ascii("hello"));
    // It is the caller's to watch.
    assertEquals(world.reactor.add(fd, EPOLLIN, { onEvents: () => {} }), 0);
    const { value, length } = world.environment;
    length.words[0] = 4;
    world.sys.getsockopt(fd, SOL_TCP, TCP_NODELAY, value.pointer, length.pointer);
    assertEquals(value.words[0], 1);
  });
}

for (const kind of KINDS) {
  Deno.test(`${kind.name}: a server that closes or resets at any step is at fault`, () => {
    using world = new UpstreamWorld();
    for (const how of ["close", "reset"] as const) {
      for (let step = 0; step < kind.exchanges.length; step++) {
        const before: Step[] = kind.exchanges.slice(0, step)
          .flatMap(([heard, write]) => [{ read: heard.length }, { write }]);
        const [heard, answer] = kind.exchanges[step]!;
        // At once, after some of what it should hear, after all of it, and after some of its answer.
        const tails: Step[][] = [
          [how],
          [{ read: 2 }, how],
          [{ read: heard.length }, how],
          [{ read: heard.length }, { write: answer.slice(0, -1) }, how],
        ];
        for (const tail of tails) {
          const server = world.serve([...before, ...tail]);
          assertFailed(
            open(world, [kind.settings(server.endpoint)]),
            "upstream-failed",
            true,
            /127.0.0.1:\d+: (closed the connection|ECONNRESET|EPIPE)$/,
          );
        }
      }
    }
  });

  Deno.test(`${kind.name}: a server that says nothing is given up when the deadline has passed`, () => {
    using world = new UpstreamWorld();
    const server = world.serve([]);
    const startMs = world.reactor.now;
    const opened = open(world, [kind.settings(server.endpoint)], 300);
    assert("detail" in opened);
    assertMatch(opened.detail, /127.0.0.1:\d+: no answer in time$/);
    assertGreaterOrEqual(world.reactor.now - startMs, 300);
    assertLessOrEqual(world.reactor.now - startMs, 1000);
    assertEquals(world.reactor.timers.size, 0);
  });

  Deno.test(`${kind.name}: garbage is no answer`, () => {
    using world = new UpstreamWorld();
    const server = world.serve([{ write: ascii("220 mail.example ESMTP ready, say what you want\r\n") }]);
    assertFailed(open(world, [kind.settings(server.endpoint)]), "upstream-failed", true, /SOCKS5|HTTP/);
  });
}

for (const kind of [...KINDS, WITH_HEADER]) {
  Deno.test(`${kind.name}: a server that cannot be reached is at fault; an abort at any wait leaves nothing`, () => {
    using world = new UpstreamWorld();
    assertFailed(open(world, [kind.settings(world.refusing())]), "upstream-failed", true, /: ECONNREFUSED$/);
    const steps: Step[] = kind.exchanges.flatMap((
      [heard, answer],
    ) => [{ read: heard.length }, { dribble: answer }]);
    const server = world.serve(steps);
    const { streams } = route(world, [kind.settings(server.endpoint)]);
    let waits = 0;
    while (world.abortAt(streams.open(request(world)), waits)) {
      waits++;
      assertEquals([world.open.size, world.reactor.timers.size], [0, 0]);
    }
    // One for the connection, and one for every byte of the answers.
    const answers = kind.exchanges.reduce((sum, [, answer]) => sum + answer.length, 0);
    assertGreaterOrEqual(waits, 1 + answers / 2);
    // The last one was not aborted.
    assertEquals(world.open.size, 1);
    world.take([...world.open][0]!);
  });
}

Deno.test("upstream: a deadline that has passed already is no wait without a limit", () => {
  using world = new UpstreamWorld();
  const server = world.serve([]);
  const startMs = world.reactor.now;
  for (const ms of [0, -1]) {
    assertFailed(open(world, [http(server.endpoint)], ms), "upstream-failed", true, /: no answer in time$/);
  }
  assertLessOrEqual(world.reactor.now - startMs, 500);
});

Deno.test("upstream: a server of IPv6, for a destination of IPv6", () => {
  using world = new UpstreamWorld();
  const to = sockaddrOf("[2001:db8::9]:443");
  const ask = [5, 1, 0, 5, 1, 0, 4, ...to.slice(8, 24), 0x01, 0xbb];
  const server = world.serve([{ read: ask.length }, { write: [5, 0, ...BOUND] }], 6);
  const { streams } = route(world, [socks5(false, true)(server.endpoint)]);
  const opened = world.run(streams.open(request(world, 5000, to)));
  assert(!("detail" in opened), JSON.stringify(opened));
  world.take(opened.fd);
  assertEquals(server.sessions[0]!.heard, ask);
});

Deno.test("upstream: a server that answers in two writes is not kept waiting for an acknowledgement", () => {
  using world = new UpstreamWorld();
  for (const { name, settings, exchanges } of KINDS.filter(({ exchanges }) => exchanges.length === 1)) {
    const [heard, answer] = exchanges[0]!;
    for (const cut of [1, 2, answer.length - 1]) {
      // The second write is held back, as Nagle's algorithm has it, until the first one is acknowledged. A busy machine
      // may take as long once, not each time.
      const times = Array.from({ length: 3 }, () => {
        const server = world.serve([
          { read: heard.length },
          { write: answer.slice(0, cut) },
          { write: answer.slice(cut) },
        ]);
        const started = performance.now();
        const opened = open(world, [settings(server.endpoint)]);
        assert(!("detail" in opened), JSON.stringify(opened));
        world.take(opened.fd);
        return performance.now() - started;
      });
      assertLess(Math.min(...times), DELAYED_ACK_MS, `${name}, cut at ${cut}`);
    }
  }
});

Deno.test("upstream: a server whose queue is full is given up when the deadline has passed", () => {
  using world = new UpstreamWorld();
  const listener = world.loopback.sockets.open(AF_INET, SOCK_STREAM);
  world.loopback.own(listener.fd);
  listener.bind(parseEndpoint("127.0.0.1:0")!);
  listener.listen(0);
  const server = listener.localEndpoint();
  world.loopback.connect(server.port);
  const startMs = world.reactor.now;
  assertFailed(open(world, [http(server)], 300), "upstream-failed", true, /: no answer in time$/);
  assertLessOrEqual(world.reactor.now - startMs, 1000);
  // Its own limit, shorter than the flow's.
  assertFailed(
    open(world, [{ ...http(server), timeoutMs: 300 } as UpstreamSettings]),
    "upstream-failed",
    true,
  );
  assertLessOrEqual(world.reactor.now - startMs, 2000);
});

Deno.test("proxy protocol: without a server, the destination gets the header, and a failure is its own", () => {
  using world = new UpstreamWorld();
  const { streams } = route(world, [proxyProtocol(undefined)]);
  const server = world.serve([{ read: V1.length }]);
  const opened = world.run(streams.open(request(world, 5000, sockaddrOf(server.endpoint))));
  assert(!("detail" in opened));
  world.take(opened.fd);
  world.pause(100);
  assertEquals(server.sessions[0]!.heard, V1);
  const refused = world.run(streams.open(request(world, 5000, sockaddrOf(world.refusing()))));
  assertFailed(refused, "refused", false);
  const named = world.run(streams.open(request(world, 5000, { host: "host.example", port: 80 })));
  assertFailed(named, "upstream-failed", true, /host.example is a name/);
});

Deno.test("chain: each hop is asked for the next, over one stream; the last for the destination", () => {
  using world = new UpstreamWorld();
  const second = parseEndpoint("192.0.2.2:3128")!;
  const third = { host: "third.example", port: 99 };
  const askSecond = [5, 1, 0, 5, 1, 0, 1, 192, 0, 2, 2, 0x0c, 0x38];
  const askThird = ascii("CONNECT third.example:99 HTTP/1.1\r\nHost: third.example:99\r\n\r\n");
  const script: Step[] = [
    ...[{ read: askSecond.length }, { write: [5, 0, ...BOUND] }],
    ...[{ read: askThird.length }, { dribble: OK }],
    ...[{ read: V1.length }, { write: ascii("hello") }],
  ];
  const chain = (first: Endpoint): UpstreamSettings[] => [
    socks5(false, true)(first),
    http(second),
    { kind: "proxy-protocol", name: "p", version: 1, server: third, timeoutMs: 5000 },
    { kind: "chain", name: "c", hops: [0, 1, 2] },
  ];
  const server = world.serve(script);
  const { streams, connectTimeoutMs, datagrams } = route(world, chain(server.endpoint));
  assertEquals([connectTimeoutMs, datagrams], [15_000, undefined]);
  const opened = world.run(streams.open(request(world)));
  assert(!("detail" in opened), JSON.stringify(opened));
  const fd = world.take(opened.fd);
  world.pause(100);
  assertEquals(server.sessions[0]!.heard, [...askSecond, ...askThird, ...V1]);
  assertEquals(receive(world, fd), ascii("hello"));
  for (let wait = 0; wait < 10; wait++) {
    assert(world.abortAt(streams.open(request(world)), wait));
    assertEquals(world.open.size, 0);
  }
});

Deno.test("chain: a hop that cannot lead to the next is the chain's fault, the last one's word is about the destination", () => {
  using world = new UpstreamWorld();
  const chain = (first: Endpoint): UpstreamSettings[] => [
    socks5(false, true)(first),
    http(parseEndpoint("192.0.2.2:3128")!),
    { kind: "chain", name: "c", hops: [0, 1] },
  ];
  const answers = (...writes: readonly number[][]) => {
    const reads = [13, CONNECT.length];
    const script: Step[] = writes.flatMap((write, i) => [{ read: reads[i]! }, { write }]);
    return open(world, chain(world.serve(script).endpoint));
  };
  assertFailed(answers([5, 0, 5, 5, 0, 1]), "upstream-failed", true, /^socks5 .*: connection refused$/);
  assertFailed(answers([5, 0, 5, 2, 0, 1]), "denied", true);
  assertFailed(answers([5, 255]), "upstream-auth", true);
  const refused = ascii("HTTP/1.1 502 Bad Gateway\r\n\r\n");
  assertFailed(answers([5, 0, ...BOUND], refused), "unreachable", false, /^http .*: answered 502$/);
  assertFailed(
    open(world, chain(world.serve([{ read: 13 }, { write: [5, 0] }]).endpoint), 300),
    "upstream-failed",
    true,
  );
});

Deno.test("group: another member is tried when one fails by its own fault, none when the destination does", () => {
  using world = new UpstreamWorld();
  const good = world.serve([{ read: CONNECT.length }, { write: OK }]);
  const denies = world.serve([{ read: CONNECT.length }, { write: ascii("HTTP/1.1 403 No\r\n\r\n") }]);
  const closes = world.serve(["close"]);
  const group = (...servers: Endpoint[]): UpstreamSettings[] => [
    ...servers.map(http),
    {
      kind: "failover",
      name: "g",
      members: servers.map((_, i) => i),
      check: undefined,
      rise: 1,
      fall: 1,
      liveFlows: "keep",
      health: new SharedArrayBuffer(64 * 1024),
    },
  ];
  const opened = open(world, group(closes.endpoint, world.refusing(), good.endpoint));
  assert(!("detail" in opened), JSON.stringify(opened));
  world.take(opened.fd);
  assertEquals([closes.sessions.length, good.sessions.length], [1, 1]);
  assertFailed(open(world, group(denies.endpoint, good.endpoint)), "denied", false);
  assertEquals(good.sessions.length, 1);
  assertFailed(open(world, group(world.refusing(), world.refusing())), "upstream-failed", true);
});

Deno.test("upstream: a thousand handshakes that fail or are aborted leave no descriptor", () => {
  using world = new UpstreamWorld();
  const server = world.serve([{ read: 13 }, { dribble: [5, 0, 5] }, "close"]);
  const { streams } = route(world, [socks5(false, true)(server.endpoint)]);
  for (let i = 0; i < 1000; i++) {
    if (i % 2 === 0) world.abortAt(streams.open(request(world)), i % 5);
    else assertFailed(world.run(streams.open(request(world))), "upstream-failed", true);
  }
  assertEquals(world.open.size, 0);
});
