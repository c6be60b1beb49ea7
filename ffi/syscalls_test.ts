import { parseEndpoint } from "../net/mod.ts";
import { assert, assertEquals, assertGreater, assertGreaterOrEqual } from "../tests/assert.ts";
import { Loopback } from "../tests/loopback.ts";
import {
  AF_INET,
  CLOCK_MONOTONIC_COARSE,
  F_GETPIPE_SZ,
  F_SETPIPE_SZ,
  MSG_NOSIGNAL,
  MSG_PEEK,
  MSG_TRUNC,
  O_CLOEXEC,
  O_NONBLOCK,
  RLIMIT_NOFILE,
  SHUT_WR,
  SO_ERROR,
  SO_LINGER,
  SOCK_STREAM,
  SOL_SOCKET,
  SPLICE_F_MOVE,
  SPLICE_F_NONBLOCK,
} from "./constants.ts";
import { EAGAIN, ECONNREFUSED, ECONNRESET, EINPROGRESS, EPIPE, errnoName } from "./errno.ts";
import { decodeSockaddr, encodeSockaddr } from "./sockaddr.ts";

const TEXT = new TextEncoder();

function errorOf(result: number): string {
  return result < 0 ? errnoName(-result) : `${result}`;
}

Deno.test("system calls: each answers -errno for a descriptor that is none", () => {
  using loopback = new Loopback();
  const { sys, arena } = loopback;
  const { pointer } = arena.allocate(64);
  const results: Record<string, number> = {
    bind: sys.bind(-1, pointer, 16),
    listen: sys.listen(-1, 1),
    accept4: sys.accept4(-1, null, null, 0),
    connect: sys.connect(-1, pointer, 16),
    getsockname: sys.getsockname(-1, pointer, pointer),
    getsockopt: sys.getsockopt(-1, SOL_SOCKET, SO_ERROR, pointer, pointer),
    setsockopt: sys.setsockopt(-1, SOL_SOCKET, SO_ERROR, pointer, 4),
    shutdown: sys.shutdown(-1, SHUT_WR),
    close: sys.close(-1),
    recv: sys.recv(-1, pointer, 1, 0),
    send: sys.send(-1, pointer, 1, 0),
    read: sys.read(-1, pointer, 1),
    write: sys.write(-1, pointer, 1),
    splice: sys.splice(-1, -1, 1, 0),
    fcntl: sys.fcntl(-1, F_GETPIPE_SZ, 0),
    epoll_ctl: sys.epoll_ctl(-1, 1, -1, pointer),
    epoll_wait: sys.epoll_wait(-1, pointer, 1, 0),
  };
  for (const [call, result] of Object.entries(results)) assertEquals(errorOf(result), "EBADF", call);
  assertEquals(errorOf(sys.socket(-1, SOCK_STREAM, 0)), "EAFNOSUPPORT");
  assertEquals(errorOf(sys.pipe2(pointer, -1)), "EINVAL");
  assertEquals(errorOf(sys.pipe2(null, 0)), "EFAULT");
  assertEquals(errorOf(sys.epoll_create1(-1)), "EINVAL");
  assertEquals(errorOf(sys.clock_gettime(999, pointer)), "EINVAL");
  assertEquals(errorOf(sys.getrlimit(999, pointer)), "EINVAL");
  assertEquals(errorOf(sys.setrlimit(999, pointer)), "EINVAL");
});

Deno.test("open: a file that is there and one that is not", () => {
  using loopback = new Loopback();
  const { sys, arena } = loopback;
  const path = arena.allocate(64);
  path.bytes.set(TEXT.encode("/dev/null\0"));
  const fd = sys.open(path.pointer, O_CLOEXEC, 0);
  assertGreaterOrEqual(fd, 0);
  assertEquals(sys.close(fd), 0);
  path.bytes.set(TEXT.encode("/nowhere/at/all\0"));
  assertEquals(errorOf(sys.open(path.pointer, O_CLOEXEC, 0)), "ENOENT");
});

Deno.test("bind, listen, connect, accept4, getsockname, send, recv: a connection over loopback", () => {
  using loopback = new Loopback();
  const { sys, arena } = loopback;
  const listener = loopback.listen();
  assertEquals(errorOf(sys.accept4(listener.fd, null, null, 0)), "EAGAIN");
  const dialled = loopback.connect(listener.localEndpoint().port);
  const peer = arena.allocate(28), length = arena.allocate(4);
  length.words[0] = 28;
  const accepted = loopback.own(sys.accept4(listener.fd, peer.pointer, length.pointer, O_NONBLOCK));
  assertGreater(accepted, 0);
  assertEquals(length.words[0], 16);
  const client = decodeSockaddr(peer.bytes);
  length.words[0] = 28;
  assertEquals(sys.getsockname(dialled, peer.pointer, length.pointer), 0);
  assertEquals(decodeSockaddr(peer.bytes), client);

  const buffer = arena.allocate(64);
  assertEquals(sys.recv(accepted, buffer.pointer, 64, 0), -EAGAIN);
  buffer.bytes.set(TEXT.encode("hello"));
  assertEquals(sys.send(dialled, buffer.pointer, 5, MSG_NOSIGNAL), 5);
  buffer.bytes.fill(0);
  assertEquals(sys.recv(accepted, buffer.pointer, 64, MSG_PEEK), 5);
  // Dropped without a buffer, as the relay does with what it has peeked at.
  assertEquals(sys.recv(accepted, null, 2, MSG_TRUNC), 2);
  assertEquals(sys.recv(accepted, buffer.pointer, 64, 0), 3);
  assertEquals(new TextDecoder().decode(buffer.bytes.subarray(0, 3)), "llo");
  assertEquals(sys.shutdown(dialled, SHUT_WR), 0);
  assertEquals(sys.recv(accepted, buffer.pointer, 64, 0), 0);
});

Deno.test("connect: a port where nobody listens refuses", () => {
  using loopback = new Loopback();
  const { sys, arena, sockets } = loopback;
  const listener = loopback.listen();
  const { port } = listener.localEndpoint();
  loopback.close(listener.fd);
  const address = arena.allocate(28);
  const length = encodeSockaddr(parseEndpoint(`127.0.0.1:${port}`)!, address.bytes);
  using socket = sockets.open(AF_INET, SOCK_STREAM);
  // Loopback answers at once or, having queued the answer, in a moment.
  let result = sys.connect(socket.fd, address.pointer, length);
  for (let i = 0; i < 1000 && (result === -EINPROGRESS || errorOf(result) === "EALREADY"); i++) {
    result = sys.connect(socket.fd, address.pointer, length);
  }
  assertEquals(result, -ECONNREFUSED);
});

Deno.test("setsockopt SO_LINGER 0 and close: a reset, and writing to it is an error and no signal", () => {
  using loopback = new Loopback();
  const { sys, arena } = loopback;
  const [dialled, accepted] = loopback.connectedPair();
  const linger = arena.allocate(8), buffer = arena.allocate(64);
  linger.words[0] = 1;
  assertEquals(sys.setsockopt(accepted, SOL_SOCKET, SO_LINGER, linger.pointer, 8), 0);
  loopback.close(accepted);
  assertEquals(sys.recv(dialled, buffer.pointer, 64, 0), -ECONNRESET);
  assertEquals(sys.send(dialled, buffer.pointer, 1, MSG_NOSIGNAL), -EPIPE);
  // splice has no MSG_NOSIGNAL: the process lives because SIGPIPE is ignored in it.
  const [readEnd, writeEnd] = loopback.pipe();
  assertEquals(sys.write(writeEnd, buffer.pointer, 10), 10);
  assertEquals(sys.splice(readEnd, dialled, 10, SPLICE_F_MOVE | SPLICE_F_NONBLOCK), -EPIPE);
});

Deno.test("getsockopt SO_ERROR: tells a pending error once", () => {
  using loopback = new Loopback();
  const { sys, arena } = loopback;
  const [dialled, accepted] = loopback.connectedPair();
  const value = arena.allocate(8), length = arena.allocate(4);
  value.words[0] = 1;
  sys.setsockopt(accepted, SOL_SOCKET, SO_LINGER, value.pointer, 8);
  loopback.close(accepted);
  length.words[0] = 4;
  for (const wanted of [ECONNRESET, 0]) {
    assertEquals(sys.getsockopt(dialled, SOL_SOCKET, SO_ERROR, value.pointer, length.pointer), 0);
    assertEquals(value.words[0], wanted);
  }
});

Deno.test("splice: socket to pipe to socket, byte for byte", () => {
  using loopback = new Loopback();
  const { sys, arena } = loopback;
  const [sender, from] = loopback.connectedPair(), [to, receiver] = loopback.connectedPair();
  const [readEnd, writeEnd] = loopback.pipe();
  const flags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;
  assertEquals(sys.splice(from, writeEnd, 65536, flags), -EAGAIN);
  const buffer = arena.allocate(8192);
  buffer.bytes.forEach((_, i) => buffer.bytes[i] = i * 7);
  const sent = buffer.bytes.slice();
  assertEquals(sys.send(sender, buffer.pointer, 8192, 0), 8192);
  assertEquals(sys.splice(from, writeEnd, 65536, flags), 8192);
  assertEquals(sys.splice(readEnd, to, 8192, flags), 8192);
  buffer.bytes.fill(0);
  assertEquals(sys.recv(receiver, buffer.pointer, 8192, 0), 8192);
  assertEquals(buffer.bytes, sent);
  sys.shutdown(sender, SHUT_WR);
  assertEquals(sys.splice(from, writeEnd, 65536, flags), 0);
});

Deno.test("fcntl: the size of a pipe", () => {
  using loopback = new Loopback();
  const [, writeEnd] = loopback.pipe();
  assertEquals(loopback.sys.fcntl(writeEnd, F_SETPIPE_SZ, 8192), 8192);
  assertEquals(loopback.sys.fcntl(writeEnd, F_GETPIPE_SZ, 0), 8192);
});

Deno.test("clock_gettime and getrlimit: two 64-bit words each", () => {
  using loopback = new Loopback();
  const { sys, arena } = loopback;
  const block = arena.allocate(16);
  assertEquals(sys.clock_gettime(CLOCK_MONOTONIC_COARSE, block.pointer), 0);
  const uptime = Number(Deno.readTextFileSync("/proc/uptime").split(" ")[0]);
  // Uptime counts suspended time, which the monotonic clock does not.
  assert(block.words[0]! <= uptime + 1 && block.words[2]! < 1e9, `${block.words}`);
  assertEquals(sys.getrlimit(RLIMIT_NOFILE, block.pointer), 0);
  const line = /Max open files +(\d+) +(\d+)/.exec(Deno.readTextFileSync("/proc/thread-self/limits"))!;
  assertEquals([block.words[0], block.words[2]], [Number(line[1]), Number(line[2])]);
  assertEquals(sys.setrlimit(RLIMIT_NOFILE, block.pointer), 0);
});
