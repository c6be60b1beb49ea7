import { AF_INET6, archOf, Reactor, SOCK_STREAM, SyscallError, type Syscalls } from "../ffi/mod.ts";
import { ANY_V6 } from "../net/mod.ts";
import { COUNTERS, counterSlot } from "../dataplane/stats.ts";
import { assert, assertEquals, assertThrows } from "../tests/assert.ts";
import { Loopback } from "../tests/loopback.ts";
import { ClientLimit } from "./client_limit.ts";
import { TcpListener } from "./listener.ts";
import type { TcpSettings } from "./settings.ts";
import type { TcpEnvironment } from "./worker_context.ts";

const SETTINGS: TcpSettings = {
  mode: "redirect",
  port: 0,
  source: "own",
  bypassMark: 0,
  maxConnections: 10,
  maxConnectionsPerClient: 2,
  connectTimeoutMs: 1000,
  idleTimeoutMs: 0,
  halfClosedTimeoutMs: 0,
  keepaliveSeconds: 0,
  userTimeoutMs: 0,
  maxPipes: 4,
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
  return {
    sys,
    arena: loopback.arena,
    reactor,
    settings: { ...SETTINGS, port },
    counters: {
      values: new Float64Array(COUNTERS.length),
      slots: Object.fromEntries(COUNTERS.map((name) => [name, counterSlot(name)])) as Record<
        typeof COUNTERS[number],
        number
      >,
    },
    openConnections: new Int32Array(new SharedArrayBuffer(4)),
    clientLimit: new ClientLimit(new SharedArrayBuffer(8 * 64), SETTINGS.maxConnectionsPerClient),
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

Deno.test("listener: who dials its port directly is reset, and counted", () => {
  using loopback = new Loopback();
  const { sys, open } = watched(loopback.sys);
  const reactor = new Reactor(sys, loopback.arena, archOf());
  // A free port, which is known before the listener is there.
  const probe = loopback.listen();
  const { port } = probe.localEndpoint();
  loopback.close(probe.fd);
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
