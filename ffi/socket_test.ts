import { ANY_V6, formatEndpoint, parseEndpoint } from "../net/mod.ts";
import { assertEquals, assertGreater, assertThrows } from "../tests/assert.ts";
import { Loopback } from "../tests/loopback.ts";
import {
  AF_INET,
  AF_INET6,
  IPV6_V6ONLY,
  SO_KEEPALIVE,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SOCK_STREAM,
  SOL_IPV6,
  SOL_SOCKET,
  SOL_TCP,
  TCP_KEEPCNT,
  TCP_KEEPIDLE,
  TCP_KEEPINTVL,
  TCP_NODELAY,
  TCP_USER_TIMEOUT,
} from "./constants.ts";
import { EADDRINUSE, isSyscallError, SyscallError } from "./errno.ts";
import {
  setDualStack,
  setKeepalive,
  setNoDelay,
  setReuseAddress,
  setReusePort,
  setUserTimeout,
  type Socket,
  SocketFactory,
} from "./socket.ts";

function optionOf(loopback: Loopback, socket: Socket, level: number, name: number): number {
  const value = loopback.arena.allocate(4), length = loopback.arena.allocate(4);
  length.words[0] = 4;
  assertEquals(loopback.sys.getsockopt(socket.fd, level, name, value.pointer, length.pointer), 0);
  return value.words[0]!;
}

Deno.test("socket: bound, listening, and its own name", () => {
  using loopback = new Loopback();
  const { port, address } = loopback.listen().localEndpoint();
  assertEquals(address.text, "127.0.0.1");
  assertGreater(port, 0);
});

Deno.test("socket: an address in use is an error with its name", () => {
  using loopback = new Loopback();
  const taken = loopback.listen().localEndpoint();
  using socket = loopback.sockets.open(AF_INET, SOCK_STREAM);
  const error = assertThrows(() => socket.bind(taken), SyscallError, "bind: EADDRINUSE");
  assertEquals(isSyscallError(error, EADDRINUSE), true);
});

Deno.test("socket: each option arrives where the kernel keeps it", () => {
  using loopback = new Loopback();
  using socket = loopback.sockets.open(AF_INET, SOCK_STREAM);
  setReuseAddress(socket);
  setReusePort(socket);
  setNoDelay(socket);
  setKeepalive(socket, 60, 15, 8);
  setUserTimeout(socket, 30_000);
  const wanted: [number, number, number][] = [
    [SOL_SOCKET, SO_REUSEADDR, 1],
    [SOL_SOCKET, SO_REUSEPORT, 1],
    [SOL_TCP, TCP_NODELAY, 1],
    [SOL_SOCKET, SO_KEEPALIVE, 1],
    [SOL_TCP, TCP_KEEPIDLE, 60],
    [SOL_TCP, TCP_KEEPINTVL, 15],
    [SOL_TCP, TCP_KEEPCNT, 8],
    [SOL_TCP, TCP_USER_TIMEOUT, 30_000],
  ];
  for (const [level, name, value] of wanted) {
    assertEquals(optionOf(loopback, socket, level, name), value, `option ${level}/${name}`);
  }
});

Deno.test("socket: a dual-stack listener takes IPv4 as well", () => {
  using loopback = new Loopback();
  using socket = loopback.sockets.open(AF_INET6, SOCK_STREAM);
  setDualStack(socket);
  assertEquals(optionOf(loopback, socket, SOL_IPV6, IPV6_V6ONLY), 0);
  socket.bind({ address: ANY_V6, port: 0 });
  socket.listen(1);
  const { port } = socket.localEndpoint();
  const dialled = loopback.connect(port);
  const peer = loopback.arena.allocate(28), length = loopback.arena.allocate(4);
  length.words[0] = 28;
  assertEquals(loopback.sys.getsockname(dialled, peer.pointer, length.pointer), 0);
  const accepted = loopback.own(loopback.sys.accept4(socket.fd, null, null, 0));
  assertGreater(accepted, 0);
});

Deno.test("socket: an unknown option names itself", () => {
  using loopback = new Loopback();
  using socket = loopback.sockets.open(AF_INET, SOCK_STREAM);
  const error = assertThrows(
    () => socket.setInt(SOL_TCP, 9999, 1, "TCP_NONSENSE"),
    SyscallError,
    "(TCP_NONSENSE)",
  );
  assertEquals(error.code, "ENOPROTOOPT");
});

Deno.test("socket: closed once, and not at all when released", () => {
  using loopback = new Loopback();
  // Counted and not tried: a number that is free again may be another test's descriptor by now.
  const closed: number[] = [];
  const close = (fd: number) => {
    closed.push(fd);
    return loopback.sys.close(fd);
  };
  const sockets = new SocketFactory({ ...loopback.sys, close }, loopback.arena);
  const socket = sockets.open(AF_INET, SOCK_STREAM);
  const { fd } = socket;
  socket[Symbol.dispose]();
  socket[Symbol.dispose]();
  assertEquals([socket.fd, closed], [-1, [fd]]);
  const released = sockets.open(AF_INET, SOCK_STREAM);
  loopback.own(released.release());
  released[Symbol.dispose]();
  assertEquals(closed, [fd]);
});

Deno.test("socket: an endpoint survives bind and getsockname", () => {
  using loopback = new Loopback();
  using socket = loopback.sockets.open(AF_INET, SOCK_STREAM);
  socket.bind(parseEndpoint("127.0.0.53:0")!);
  assertEquals(formatEndpoint(socket.localEndpoint()).startsWith("127.0.0.53:"), true);
});
