import {
  AF_INET,
  AF_INET6,
  archOf,
  EACCES,
  EAGAIN,
  ECONNABORTED,
  EPERM,
  Reactor,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SyscallError,
  type Syscalls,
  Timer,
} from "../ffi/mod.ts";
import { ANY_V6 } from "../net/mod.ts";
import { counterSlot } from "../dataplane/stats.ts";
import { assert, assertEquals, assertLessOrEqual, assertThrows } from "../tests/assert.ts";
import { Loopback } from "../tests/loopback.ts";
import { directRouting } from "../tests/direct_routing.ts";
import { tcpCounters } from "../tests/tcp_counters.ts";
import { makeCarrier } from "./carrier.ts";
import { ClientLimit } from "../flow/mod.ts";
import { TcpListener } from "./listener.ts";
import type { TcpSettings } from "./settings.ts";
import type { TcpEnvironment } from "./worker_context.ts";

const SETTINGS: TcpSettings = {
  mode: "redirect",
  port: 0,
  ownPorts: [0],
  direction: undefined,
  dns: true,
  source: "own",
  listenerMark: 0,
  dialMark: 0,
  maxConnections: 10,
  maxConnectionsPerClient: 2,
  connectTimeoutMs: 1000,
  idleTimeoutMs: 0,
  halfClosedTimeoutMs: 0,
  keepaliveSeconds: 0,
  userTimeoutMs: 0,
};

/** The real system calls, and which descriptors they have opened and not closed. */
function watched(sys: Syscalls): { sys: Syscalls; open: Set<number> } {
  const open = new Set<number>();
  const opened = (fd: number): number => {
    if (fd >= 0) open.add(fd);
    return fd;
  };
  return {
    open,
    sys: {
      ...sys,
      socket: (...args) => opened(sys.socket(...args)),
      accept4: (...args) => opened(sys.accept4(...args)),
      open: (...args) => opened(sys.open(...args)),
      epoll_create1: (...args) => opened(sys.epoll_create1(...args)),
      close: (fd) => {
        assert(open.delete(fd), `close of ${fd}, which is not open`);
        return sys.close(fd);
      },
    },
  };
}

function environment(loopback: Loopback, sys: Syscalls, reactor: Reactor, port: number): TcpEnvironment {
  const counters = tcpCounters();
  return {
    sys,
    arena: loopback.arena,
    reactor,
    settings: { ...SETTINGS, port, ownPorts: [port] },
    resolvers: [],
    routing: directRouting(),
    carrier: makeCarrier(sys, loopback.arena, counters, 4),
    counters,
    openConnections: new Int32Array(new SharedArrayBuffer(4)),
    clientLimit: new ClientLimit(new SharedArrayBuffer(8 * 64), SETTINGS.maxConnectionsPerClient, 0x5eed),
    onFlow: undefined,
    onWarning: () => {},
  };
}

Deno.test("listener: a port that is taken is an error, and leaves nothing open", () => {
  using loopback = new Loopback();
  using other = loopback.sockets.open(AF_INET6, SOCK_STREAM);
  other.bind({ address: ANY_V6, port: 0 });
  other.listen(1);
  const { sys, open } = watched(loopback.sys);
  const reactor = new Reactor(sys, loopback.arena, archOf());
  const before = open.size;
  const { port } = other.localEndpoint();
  assertThrows(
    () => new TcpListener(environment(loopback, sys, reactor, port)),
    SyscallError,
    "bind: EADDRINUSE",
  );
  assertEquals(open.size, before);
  reactor.close();
});

Deno.test("listener: closed, nothing of it stays open", () => {
  using loopback = new Loopback();
  const { sys, open } = watched(loopback.sys);
  const reactor = new Reactor(sys, loopback.arena, archOf());
  const listener = new TcpListener(environment(loopback, sys, reactor, 0));
  assertEquals(listener.open, 0);
  listener.close();
  reactor.close();
  assertEquals(open.size, 0);
});

Deno.test("listener: a worker that cannot watch its listener leaves nothing open", () => {
  using loopback = new Loopback();
  const { sys, open } = watched(loopback.sys);
  const reactor = new Reactor({ ...sys, epoll_ctl: () => -12 }, loopback.arena, archOf());
  const before = open.size;
  assertThrows(
    () => new TcpListener(environment(loopback, sys, reactor, 0)),
    SyscallError,
    "epoll_ctl: ENOMEM",
  );
  assertEquals(open.size, before);
  reactor.close();
});

/** A port that can be named before the listener is there. */
function freePort(loopback: Loopback): number {
  const probe = loopback.listen();
  const { port } = probe.localEndpoint();
  loopback.close(probe.fd);
  return port;
}

Deno.test("listener: who dials its port directly is reset, and counted", () => {
  using loopback = new Loopback();
  const { sys, open } = watched(loopback.sys);
  const reactor = new Reactor(sys, loopback.arena, archOf());
  const port = freePort(loopback);
  const env = environment(loopback, sys, reactor, port);
  const warnings: string[] = [];
  const listener = new TcpListener({ ...env, onWarning: (warning) => warnings.push(warning) });
  const client = loopback.connect(port);
  reactor.defer({ onDeferred: () => reactor.defer({ onDeferred: () => reactor.stop() }) });
  reactor.run();
  assertEquals(loopback.sys.recv(client, loopback.arena.allocate(8).pointer, 8, 0), -104, "ECONNRESET");
  assertEquals([env.counters.values[counterSlot("tcpRefusedLoop")], warnings], [1, ["loop"]]);
  assertEquals([listener.open, env.openConnections[0]], [0, 0]);
  listener.close();
  reactor.close();
  assertEquals(open.size, 0);
});

Deno.test("listener: a queue that is never empty leaves the connections their turns", () => {
  using loopback = new Loopback();
  const port = freePort(loopback);
  const turns: number[] = [];
  let accepted = 0;
  const { sys, open } = watched({
    ...loopback.sys,
    accept4: (fd, address, length, flags) => {
      accepted++;
      const client = loopback.sys.accept4(fd, address, length, flags);
      return client >= 0 ? client : loopback.sys.socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    },
    epoll_wait: (...args) => {
      turns.push(accepted);
      accepted = 0;
      if (turns.length === 20) reactor.stop();
      // Each turn finds an event of the listener too, beside what was put off.
      loopback.connect(port);
      return loopback.sys.epoll_wait(...args);
    },
  });
  const reactor = new Reactor(sys, loopback.arena, archOf());
  const listener = new TcpListener(environment(loopback, sys, reactor, port));
  reactor.run();
  // Once for the event and once for what was put off: 64 each.
  assertLessOrEqual(Math.max(...turns), 2 * 64);
  assertLessOrEqual(64, turns.at(-1)!);
  listener.close();
  reactor.close();
  assertEquals(open.size, 0);
});

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

Deno.test("listener: an error of accept that stays is one error a pause, and the queue is served after it", () => {
  using loopback = new Loopback();
  const port = freePort(loopback);
  let refusing = true, calls = 0;
  const { sys, open } = watched({
    ...loopback.sys,
    accept4: (...args) => {
      calls++;
      return refusing ? -EPERM : loopback.sys.accept4(...args);
    },
  });
  const reactor = new Reactor(sys, loopback.arena, archOf());
  const env = environment(loopback, sys, reactor, port);
  const warnings: string[] = [];
  const listener = new TcpListener({
    ...env,
    onWarning: (warning, detail) => warnings.push(`${warning}: ${detail}`),
  });
  const counters = (...names: ("tcpAcceptErrors" | "tcpAcceptPauses" | "tcpRefusedLoop")[]) =>
    names.map((name) => env.counters.values[counterSlot(name)]);
  const buffer = loopback.arena.allocate(8);
  const client = loopback.connect(port);
  new StopAfter(reactor, 1000);
  reactor.run();
  // At once, and after each quarter of a second; ticks and a busy machine make it fewer, never more.
  assert(calls >= 2 && calls <= 5, `${calls} calls`);
  assertEquals(counters("tcpAcceptErrors", "tcpAcceptPauses"), [calls, calls]);
  assertEquals(warnings, Array(calls).fill("accept-error: accept4: EPERM: accepting pauses"));
  assertEquals(loopback.sys.recv(client, buffer.pointer, 8, 0), -EAGAIN);
  refusing = false;
  new StopAfter(reactor, 500);
  reactor.run();
  assertEquals(counters("tcpRefusedLoop"), [1]);
  assertEquals(loopback.sys.recv(client, buffer.pointer, 8, 0), -104, "ECONNRESET");
  listener.close();
  reactor.close();
  assertEquals(open.size, 0);
});

for (const [name, errno] of Object.entries({ EACCES, ECONNABORTED })) {
  Deno.test(`listener: drain ends although accept answers ${name} for ever`, () => {
    using loopback = new Loopback();
    let calls = 0;
    const { sys, open } = watched({
      ...loopback.sys,
      accept4: () => {
        // More than a queue can hold.
        assert(++calls <= 65535, "a loop without end");
        return -errno;
      },
    });
    const reactor = new Reactor(sys, loopback.arena, archOf());
    const listener = new TcpListener(environment(loopback, sys, reactor, 0));
    let idle = 0;
    listener.drain(() => idle++);
    assertEquals(idle, 1);
    listener.close();
    reactor.close();
    assertEquals(open.size, 0);
  });
}
