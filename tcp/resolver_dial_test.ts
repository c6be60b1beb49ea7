import {
  AF_INET,
  archOf,
  checked,
  decodeSockaddr,
  EAGAIN,
  ECONNRESET,
  encodeSockaddr,
  Reactor,
  SO_ORIGINAL_DST,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  type Socket,
  SOL_IP,
  Timer,
} from "../ffi/mod.ts";
import { type Endpoint, formatEndpoint, parseEndpoint } from "../net/mod.ts";
import { COUNTERS, counterSlot } from "../dataplane/stats.ts";
import { assert, assertEquals, assertGreaterOrEqual, assertLessOrEqual } from "../tests/assert.ts";
import { Loopback } from "../tests/loopback.ts";
import { directRouting } from "../tests/direct_routing.ts";
import { tcpCounters } from "../tests/tcp_counters.ts";
import { makeCarrier } from "./carrier.ts";
import type { ConnectionEnd } from "../flow/connection_end.ts";
import { TcpListener } from "./listener.ts";

interface Flow {
  readonly destination: string;
  readonly bytesUp: number;
  readonly durationMs: number;
  readonly end: ConnectionEnd;
}

/** Ends a loop that would have no reason to end. */
class StopAfter extends Timer {
  constructor(readonly reactor: Reactor, ms: number) {
    super();
    reactor.timers.schedule(this, ms);
  }
  override onTimer(): void {
    this.reactor.stop();
  }
}

const ENOENT = 2;
const DIALLED = "203.0.113.1:53";

/** A listener whose connections all seem to have been on their way to one destination. */
class Scene implements Disposable {
  readonly loopback = new Loopback();
  readonly reactor: Reactor;
  readonly listener: TcpListener;
  readonly flows: Flow[] = [];
  readonly openConnections = new Int32Array(new SharedArrayBuffer(4));
  readonly counters = new Float64Array(COUNTERS.length);
  readonly buffer = this.loopback.arena.allocate(64);
  readonly #open = new Set<number>();
  readonly #port: number;
  #jumpedSeconds = 0;

  constructor(resolvers: readonly Endpoint[], dialled = DIALLED) {
    const { loopback } = this;
    const { sys } = loopback;
    const opened = (fd: number): number => {
      if (fd >= 0) this.#open.add(fd);
      return fd;
    };
    const watched: typeof sys = {
      ...sys,
      socket: (...args) => opened(sys.socket(...args)),
      accept4: (...args) => opened(sys.accept4(...args)),
      close: (fd) => {
        assert(this.#open.delete(fd), `close of ${fd}, which is not open`);
        return sys.close(fd);
      },
      getsockopt: (fd, level, name, value, length) => {
        if (level !== SOL_IP || name !== SO_ORIGINAL_DST) {
          return sys.getsockopt(fd, level, name, value, length);
        }
        const bytes = new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(value!, 16));
        encodeSockaddr(parseEndpoint(dialled)!, bytes);
        return 0;
      },
      // No descriptor in reserve, which would be one more to account for.
      open: () => -ENOENT,
    };
    const probe = loopback.listen();
    this.#port = probe.localEndpoint().port;
    loopback.close(probe.fd);
    const clock_gettime: typeof sys.clock_gettime = (clock, time) => {
      const result = sys.clock_gettime(clock, time);
      // tv_sec of struct timespec.
      new Int32Array(Deno.UnsafePointerView.getArrayBuffer(time!, 16))[0]! += this.#jumpedSeconds;
      return result;
    };
    this.reactor = new Reactor({ ...sys, clock_gettime }, loopback.arena, archOf());
    const counters = tcpCounters(this.counters);
    this.listener = new TcpListener({
      sys: watched,
      arena: loopback.arena,
      reactor: this.reactor,
      settings: {
        mode: "redirect",
        port: this.#port,
        ownPorts: [this.#port],
        direction: undefined,
        dns: true,
        // Has no meaning for these, and would fail without privilege.
        source: "keep",
        listenerMark: 0,
        dialMark: 0,
        maxConnections: 10,
        maxConnectionsPerClient: 0,
        connectTimeoutMs: 1000,
        idleTimeoutMs: 0,
        halfClosedTimeoutMs: 0,
        keepaliveSeconds: 0,
        userTimeoutMs: 0,
      },
      resolvers,
      routing: directRouting(),
      carrier: makeCarrier(watched, loopback.arena, counters, 0),
      counters,
      openConnections: this.openConnections,
      clientLimit: undefined,
      onFlow: (_client, destination, _local, bytesUp, _bytesDown, durationMs, end) => {
        this.flows.push({
          destination: formatEndpoint(decodeSockaddr(destination)!),
          bytesUp,
          durationMs,
          end,
        });
      },
      onWarning: () => {},
    });
  }

  /** Intercepts a connection that sends five bytes. */
  dial(): number {
    const client = this.loopback.connect(this.#port);
    this.buffer.bytes.set(new TextEncoder().encode("query"));
    assertEquals(this.loopback.sys.send(client, this.buffer.pointer, 5, 0), 5);
    return client;
  }

  run(ms: number): void {
    new StopAfter(this.reactor, ms);
    this.reactor.run();
  }

  /** Lets time pass, and has one turn. */
  jump(seconds: number): void {
    this.#jumpedSeconds += seconds;
    this.run(0);
  }

  receive(fd: number): number {
    return this.loopback.sys.recv(fd, this.buffer.pointer, 64, 0);
  }

  /** What has reached a resolver: its bytes, or undefined when nobody dialled it. */
  heardBy(resolver: Socket): string | undefined {
    const fd = this.loopback.sys.accept4(resolver.fd, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd === -EAGAIN) return undefined;
    this.loopback.own(checked("accept4", fd));
    const length = this.receive(fd);
    return new TextDecoder().decode(this.buffer.bytes.slice(0, Math.max(0, length)));
  }

  [Symbol.dispose](): void {
    this.listener.close();
    this.reactor.close();
    assertEquals(this.#open.size, 0, "descriptors left open");
    assertEquals([this.openConnections[0], this.counters[counterSlot("tcpOpenNow")]], [0, 0]);
    this.loopback[Symbol.dispose]();
  }
}

function listen(scene: { loopback: Loopback }): { socket: Socket; endpoint: Endpoint } {
  const socket = scene.loopback.listen();
  return { socket, endpoint: socket.localEndpoint() };
}

/** A port of loopback where nobody listens. */
function refusing(loopback: Loopback): Endpoint {
  const socket = loopback.listen();
  const endpoint = socket.localEndpoint();
  loopback.close(socket.fd);
  return endpoint;
}

/** A listener whose queue is full: SYNs to it are dropped without a word. */
function silent(loopback: Loopback): Endpoint {
  const socket = loopback.sockets.open(AF_INET, SOCK_STREAM);
  loopback.own(socket.fd);
  socket.bind(parseEndpoint("127.0.0.1:0")!);
  socket.listen(0);
  const endpoint = socket.localEndpoint();
  loopback.connect(endpoint.port);
  return endpoint;
}

Deno.test("resolver dial: the first resolver is dialled, and the record tells what the client had dialled", () => {
  using servers = new Loopback();
  const first = listen({ loopback: servers }), second = listen({ loopback: servers });
  using scene = new Scene([first.endpoint, second.endpoint]);
  const client = scene.dial();
  scene.run(200);
  assertEquals([scene.heardBy(first.socket), scene.heardBy(second.socket)], ["query", undefined]);
  assertEquals(scene.receive(client), -EAGAIN);
  scene.loopback.close(client);
  // The far end, which heardBy has accepted, is closed with the scene: the relay ends by a shutdown.
  scene.listener.close();
  assertEquals(scene.flows.map(({ destination, bytesUp }) => [destination, bytesUp]), [[DIALLED, 5]]);
});

Deno.test("resolver dial: other ports go where they were going", () => {
  using servers = new Loopback();
  const resolver = listen({ loopback: servers }), server = listen({ loopback: servers });
  using scene = new Scene([resolver.endpoint], formatEndpoint(server.endpoint));
  // --source keep would bind the client's address.
  scene.dial();
  scene.run(200);
  assertEquals(scene.heardBy(resolver.socket), undefined);
});

Deno.test("resolver dial: a resolver that refuses is skipped at once", () => {
  using servers = new Loopback();
  const second = listen({ loopback: servers });
  using scene = new Scene([refusing(servers), refusing(servers), second.endpoint]);
  scene.dial();
  scene.run(200);
  assertEquals(scene.heardBy(second.socket), "query");
  assertEquals(scene.counters[counterSlot("tcpDialFailed")], 0);
});

Deno.test("resolver dial: a resolver that does not answer is skipped after two seconds", () => {
  using servers = new Loopback();
  const second = listen({ loopback: servers });
  using scene = new Scene([silent(servers), second.endpoint]);
  scene.dial();
  scene.run(1700);
  assertEquals(scene.heardBy(second.socket), undefined);
  scene.run(500);
  assertEquals(scene.heardBy(second.socket), "query");
  scene.listener.close();
  assertGreaterOrEqual(scene.flows[0]!.durationMs, 1900);
});

Deno.test("resolver dial: for ten seconds, others do not wait for a resolver that has failed", () => {
  using servers = new Loopback();
  const second = listen({ loopback: servers });
  using scene = new Scene([silent(servers), second.endpoint]);
  const dial = (): number => {
    const client = scene.dial();
    scene.run(100);
    return client;
  };
  dial();
  scene.jump(2);
  scene.run(100);
  assertEquals(scene.heardBy(second.socket), "query");
  dial();
  assertEquals(scene.heardBy(second.socket), "query");
  scene.jump(10);
  dial();
  assertEquals(scene.heardBy(second.socket), undefined);
  scene.jump(2);
  scene.run(100);
  assertEquals(scene.heardBy(second.socket), "query");
  // When the others fail too, it is the one that is left.
  servers.close(second.socket.fd);
  assertEquals(scene.receive(dial()), -EAGAIN);
});

Deno.test("resolver dial: when all refuse, the client is reset", () => {
  using servers = new Loopback();
  using scene = new Scene([refusing(servers), refusing(servers)]);
  const client = scene.dial();
  scene.run(200);
  assertEquals(scene.receive(client), -ECONNRESET);
  assertEquals(scene.flows.map(({ destination, end }) => [destination, end.reason]), [[DIALLED, "refused"]]);
  assertEquals([scene.listener.open, scene.counters[counterSlot("tcpDialFailed")]], [0, 1]);
});

Deno.test("resolver dial: when none answers, the last has the ordinary time to connect", () => {
  using servers = new Loopback();
  using scene = new Scene([silent(servers), silent(servers)]);
  const client = scene.dial();
  scene.run(3500);
  assertEquals(scene.receive(client), -ECONNRESET);
  assertEquals(scene.flows.map(({ end }) => end), [{ reason: "connect-timeout", side: "upstream" }]);
  assertLessOrEqual(scene.flows[0]!.durationMs, 3400);
});

Deno.test("resolver dial: one that cannot even be dialled is skipped, and when none can, the client is reset", () => {
  using servers = new Loopback();
  const second = listen({ loopback: servers });
  // Broadcast: connect answers ENETUNREACH for TCP.
  const impossible = parseEndpoint("255.255.255.255:53")!;
  using scene = new Scene([impossible, second.endpoint]);
  scene.dial();
  scene.run(200);
  assertEquals(scene.heardBy(second.socket), "query");
  using hopeless = new Scene([impossible, impossible]);
  const client = hopeless.dial();
  hopeless.run(200);
  assertEquals(hopeless.receive(client), -ECONNRESET);
  assertEquals(hopeless.flows.map(({ end }) => end.reason), ["unreachable"]);
});

Deno.test("resolver dial: a drain waits for it, and a worker that ends resets its client", () => {
  using servers = new Loopback();
  using scene = new Scene([silent(servers), silent(servers)]);
  const client = scene.dial();
  scene.run(200);
  let idle = 0;
  scene.listener.drain(() => idle++);
  assertEquals([scene.listener.open, idle], [1, 0]);
  scene.run(3500);
  assertEquals([scene.listener.open, idle], [0, 1]);
  assertEquals(scene.receive(client), -ECONNRESET);
  using ending = new Scene([silent(servers), silent(servers)]);
  const other = ending.dial();
  ending.run(200);
  ending.listener.close();
  assertEquals(ending.receive(other), -ECONNRESET);
  assertEquals(ending.flows.map(({ end }) => end.reason), ["shutdown"]);
});
