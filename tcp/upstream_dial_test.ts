import {
  AF_INET,
  checked,
  type Dialogue,
  EAGAIN,
  ECONNRESET,
  EINPROGRESS,
  encodeSockaddr,
  EPOLLIN,
  EPOLLOUT,
  ready,
  SHUT_WR,
  SO_LINGER,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
  SOL_TCP,
  TCP_QUICKACK,
} from "../ffi/mod.ts";
import type { BlockRoute, StreamFailure, StreamOpened, StreamRequest, UpstreamRoute } from "../flow/mod.ts";
import { type CounterName, counterSlot } from "../dataplane/stats.ts";
import { assert, assertEquals, assertGreaterOrEqual, assertLess } from "../tests/assert.ts";
import { DIRECT_ROUTE, routingBy } from "../tests/direct_routing.ts";
import { DIALLED, Scene } from "../tests/tcp_scene.ts";

const WAITS_MS = 400;

/** A route whose upstream does what `open` says. */
function by(open: (request: StreamRequest) => Dialogue<StreamOpened>): UpstreamRoute {
  return {
    kind: "upstream",
    id: 1,
    name: "office",
    streams: { name: "office", open },
    datagrams: undefined,
    connectTimeoutMs: WAITS_MS,
  };
}

/** The same, at once. */
function byResult(result: () => StreamOpened): UpstreamRoute {
  // deno-lint-ignore require-yield
  return by(function* () {
    return result();
  });
}

const FAILED: StreamFailure = {
  fd: -1,
  end: { reason: "upstream-failed", side: "upstream" },
  atUpstream: true,
  detail: "office: gone",
};

function counted(scene: Scene, ...names: CounterName[]): number[] {
  return names.map((name) => scene.counters[counterSlot(name)]!);
}

/** A scene whose upstream connects to a listener, waits for four bytes of it, and is through. */
function withServer() {
  const requests: StreamRequest[] = [];
  let closed = 0;
  const scene: Scene = new Scene({
    routing: routingBy(by(function* (request) {
      requests.push(request);
      const { sys } = scene;
      const fd = sys.socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
      let isOpen = false;
      try {
        const address = scene.loopback.arena.allocate(28);
        const length = encodeSockaddr(server.localEndpoint(), address.bytes);
        const result = sys.connect(fd, address.pointer, length);
        if (result !== -EINPROGRESS) checked("connect", result);
        scene.reactor.add(fd, EPOLLIN | EPOLLOUT, { onEvents: () => {} });
        while (sys.recv(fd, scene.buffer.pointer, 4, 0) !== 4) {
          if ((yield* ready(fd, request.deadlineMs - scene.reactor.now)) === 0) return FAILED;
        }
        isOpen = true;
        scene.reactor.remove(fd);
        return { fd };
      } finally {
        if (!isOpen) {
          closed++;
          scene.reactor.forget(fd);
          sys.close(fd);
        }
      }
    })),
  });
  const server = scene.loopback.listen();
  return { scene, server, requests, closed: () => closed };
}

Deno.test("upstream dial: the stream that an upstream has opened is relayed, and nothing of it is lost", () => {
  const world = withServer();
  using scene = world.scene;
  const client = scene.dial();
  scene.run(100);
  const served = scene.accept(world.server);
  assertEquals(scene.receive(served), -EAGAIN);
  // The answer of the handshake, and what the destination says first, in one packet.
  scene.send(served, "okayhello");
  scene.run(100);
  assertEquals([scene.text(served), scene.text(client)], ["query", "hello"]);
  const [request] = world.requests;
  assertEquals([request!.target, request!.deadlineMs > 0], [request!.destination, true]);
  scene.loopback.close(client);
  scene.loopback.close(served);
  scene.run(100);
  assertEquals(
    scene.flows.map(({ destination, route, bytesUp, end }) => [destination, route, bytesUp, end.reason]),
    [
      [DIALLED, "office", 5, "closed"],
    ],
  );
});

Deno.test("upstream dial: a server that will speak first is not kept waiting for an acknowledgement", () => {
  let stream = -1;
  using scene: Scene = new Scene({
    routing: routingBy(byResult(() => {
      const { sys, loopback } = scene;
      stream = sys.socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
      const address = loopback.arena.allocate(28), zero = loopback.arena.allocate(4);
      const length = encodeSockaddr(server.localEndpoint(), address.bytes);
      assertEquals(sys.connect(stream, address.pointer, length), -EINPROGRESS);
      checked("setsockopt", sys.setsockopt(stream, SOL_TCP, TCP_QUICKACK, zero.pointer, 4));
      return { fd: stream };
    })),
  });
  const server = scene.loopback.listen();
  scene.dialSilently();
  scene.run(100);
  const { arena, sys } = scene.loopback;
  const value = arena.allocate(4), bytes = arena.allocate(4);
  bytes.words[0] = 4;
  checked("getsockopt", sys.getsockopt(stream, SOL_TCP, TCP_QUICKACK, value.pointer, bytes.pointer));
  assertEquals(value.words[0], 1);
});

Deno.test("upstream dial: a destination that answers and resets at once is heard, and is no failed dial", () => {
  const world = withServer();
  using scene = world.scene;
  const client = scene.dial();
  scene.run(100);
  const served = scene.accept(world.server);
  scene.send(served, "okayhello");
  scene.buffer.words[0] = 1;
  scene.buffer.words[1] = 0;
  scene.sys.setsockopt(served, SOL_SOCKET, SO_LINGER, scene.buffer.pointer, 8);
  scene.loopback.close(served);
  scene.run(100);
  assertEquals(scene.flows.map(({ end }) => end), [{ reason: "reset", side: "upstream" }]);
  assertEquals(
    counted(scene, "tcpDialFailed", "tcpFinished", "tcpUpstreamResets", "tcpBytesDown"),
    [0, 1, 1, "hello".length],
  );
  assertEquals([scene.text(client), scene.receive(client)], ["hello", -ECONNRESET]);
});

Deno.test("upstream dial: a failure resets the client, and is counted, told and recorded", () => {
  using scene = new Scene({
    routing: routingBy(byResult(() => FAILED)),
  });
  const client = scene.dial();
  scene.run(100);
  assertEquals(scene.receive(client), -ECONNRESET);
  assertEquals(counted(scene, "tcpDialFailed", "tcpUpstreamFailed", "tcpFinished"), [1, 1, 0]);
  assertEquals(scene.warnings, ["upstream-failed: office: gone"]);
  assertEquals(scene.flows.map(({ route, end }) => [route, end]), [["office", FAILED.end]]);
});

Deno.test("upstream dial: a destination that refuses is nobody's fault, and a lack of descriptors ours", () => {
  const failures: StreamFailure[] = [
    { ...FAILED, end: { reason: "refused", side: "upstream" }, atUpstream: false },
    { ...FAILED, end: { reason: "limit", side: "proxy" }, atUpstream: false, detail: "socket: EMFILE" },
  ];
  using scene = new Scene({
    routing: routingBy(byResult(() => failures.shift()!)),
  });
  scene.dial();
  scene.run(100);
  assertEquals([scene.warnings, counted(scene, "tcpUpstreamFailed", "tcpDialFailed")], [[], [0, 1]]);
  scene.dial();
  scene.run(100);
  assertEquals(scene.warnings, ["fds-exhausted: socket: EMFILE: accepting pauses"]);
  assertEquals(counted(scene, "tcpRefusedFds", "tcpAcceptPauses", "tcpDialFailed"), [1, 1, 1]);
});

Deno.test("upstream dial: where all ports towards an upstream are taken, others go on being accepted", () => {
  const detail = "socks5 192.0.2.1:1080: EADDRNOTAVAIL";
  const end: StreamFailure["end"] = { reason: "limit", side: "proxy" };
  using scene = new Scene({ routing: routingBy(byResult(() => ({ ...FAILED, end, detail }))) });
  scene.dial();
  scene.run(100);
  assertEquals(scene.warnings, [`upstream-failed: ${detail}`]);
  assertEquals(counted(scene, "tcpRefusedFds", "tcpAcceptPauses", "tcpDialFailed"), [0, 0, 1]);
  assertEquals(scene.flows.map((flow) => flow.end), [end]);
});

Deno.test("upstream dial: a dialogue that throws costs its connection alone", () => {
  const routing = routingBy(byResult(() => {
    throw new Error("a mistake");
  }));
  using scene = new Scene({ routing });
  const client = scene.dial();
  scene.run(100);
  assertEquals(scene.receive(client), -ECONNRESET);
  assert(scene.warnings[0]!.includes("a mistake"), scene.warnings.join());
  assertEquals(scene.flows.map(({ end }) => end), [{ reason: "error", side: "proxy" }]);
});

Deno.test("upstream dial: the deadline is the upstream's or that of any connection, whichever comes first", () => {
  const world = withServer();
  using scene = world.scene;
  const client = scene.dial();
  scene.run(WAITS_MS + 1500);
  assertEquals(scene.receive(client), -ECONNRESET);
  assertEquals([scene.flows[0]!.end, world.closed()], [FAILED.end, 1]);
  assertGreaterOrEqual(scene.flows[0]!.durationMs, WAITS_MS - 20);
});

Deno.test("upstream dial: a client that resets ends the dialogue at once; one that has finished does not", () => {
  const world = withServer();
  using scene = world.scene;
  const resetting = scene.dial(), finishing = scene.dial();
  scene.run(50);
  const served = [scene.accept(world.server), scene.accept(world.server)];
  checked("shutdown", scene.sys.shutdown(finishing, SHUT_WR));
  scene.buffer.words[0] = 1;
  scene.buffer.words[1] = 0;
  scene.sys.setsockopt(resetting, SOL_SOCKET, SO_LINGER, scene.buffer.pointer, 8);
  scene.loopback.close(resetting);
  scene.run(50);
  assertEquals(scene.flows.map(({ end }) => end), [{ reason: "reset", side: "client" }]);
  assertEquals([world.closed(), ...counted(scene, "tcpClientResets", "tcpDialFailed")], [1, 1, 1]);
  assertLess(scene.flows[0]!.durationMs, WAITS_MS);
  for (const fd of served) scene.send(fd, "okay");
  scene.run(100);
  assertEquals(served.map((fd) => scene.text(fd)).includes("query"), true);
});

Deno.test("upstream dial: a drain waits for it, and a worker that ends aborts it", () => {
  const world = withServer();
  using scene = world.scene;
  const client = scene.dial();
  scene.run(50);
  let idle = 0;
  scene.listener.drain(() => idle++);
  assertEquals([scene.listener.open, idle], [1, 0]);
  scene.listener.close();
  assertEquals([scene.receive(client), world.closed()], [-ECONNRESET, 1]);
  assertEquals(scene.flows.map(({ end }) => end.reason), ["shutdown"]);
});

const BLOCK: BlockRoute = { kind: "block", id: 2, name: "never", how: "reset" };

Deno.test("departures: what is blocked is reset, or hears nothing until the time to connect is over", () => {
  const routing = routingBy(BLOCK);
  using scene = new Scene({ routing });
  const reset = scene.dial();
  scene.run(50);
  assertEquals(scene.receive(reset), -ECONNRESET);
  routing.current = routingBy({ ...BLOCK, how: "drop" }).current;
  const silent = scene.dial();
  scene.run(50);
  // Not even a client that ends is heard.
  checked("shutdown", scene.sys.shutdown(silent, SHUT_WR));
  scene.run(300);
  assertEquals([scene.receive(silent), scene.listener.open, scene.flows.length], [-EAGAIN, 1, 1]);
  scene.run(2000);
  assertEquals([scene.receive(silent), scene.listener.open], [-ECONNRESET, 0]);
  assertEquals(scene.flows.map(({ route, end }) => [route, end.reason, end.side]), [
    ["never", "blocked", "proxy"],
    ["never", "blocked", "proxy"],
  ]);
  assertEquals(counted(scene, "tcpBlocked", "tcpDialFailed"), [2, 0]);
});

Deno.test("departures: who cannot be kept waiting in silence is reset", () => {
  using scene = new Scene({ routing: routingBy({ ...BLOCK, how: "drop" }), filters: false });
  const client = scene.dial();
  scene.run(50);
  assertEquals([scene.receive(client), scene.listener.open], [-ECONNRESET, 0]);
  assertEquals(scene.flows.map(({ end }) => end.reason), ["blocked"]);
});

Deno.test("departures: a drain does not wait for those who are told nothing", () => {
  using scene = new Scene({ routing: routingBy({ ...BLOCK, how: "drop" }) });
  const client = scene.dial();
  scene.run(50);
  let idle = 0;
  scene.listener.drain(() => idle++);
  assertEquals([idle, scene.receive(client)], [1, -ECONNRESET]);
});

Deno.test("departures: each new connection asks the router of the day", () => {
  const asked: number[][] = [];
  const routing = routingBy(BLOCK);
  using scene = new Scene({ routing });
  routing.current = {
    only: undefined,
    choose: (network, words, clientAt, destinationAt, facts) => {
      asked.push([
        network,
        words[clientAt]! & 0xff,
        words[destinationAt + 1]!,
        facts.interfaceIndex(),
        facts.uid(),
      ]);
      return BLOCK;
    },
  };
  scene.dial();
  scene.run(50);
  // 203.0.113.1, as it lies in memory; what came by lo is this host's own. The socket that dialled has another
  // destination than is made up here, so nobody owns it.
  assertEquals(asked, [[6, 2, 0x017100cb, 0, -1]]);
  routing.current = routingBy(DIRECT_ROUTE).current;
  scene.dial();
  scene.run(50);
  assertEquals(asked.length, 1);
  scene.listener.close();
  assertEquals(scene.flows.map(({ route }) => route), ["never", "direct"]);
});
