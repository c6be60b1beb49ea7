/**
 * Facts about sockets, pipes and epoll that the data plane stands on, on loopback alone: docs/kernel-facts.md
 * names these tests. A fact that no longer holds fails here first, and not as a stall in a relay.
 *
 * @module
 */
import {
  AF_INET,
  archOf,
  Arena,
  type Block,
  checked,
  EAGAIN,
  EPOLL_CLOEXEC,
  EPOLL_CTL_ADD,
  EPOLLET,
  EPOLLIN,
  EPOLLRDHUP,
  F_GETPIPE_SZ,
  MSG_TRUNC,
  O_CLOEXEC,
  O_NONBLOCK,
  openSyscalls,
  setKeepalive,
  setNoDelay,
  setReusePort,
  setUserTimeout,
  SHUT_WR,
  SO_KEEPALIVE,
  SO_LINGER,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOCKADDR_IN_BYTES,
  sockaddrPort,
  type Socket,
  SocketFactory,
  SOL_SOCKET,
  SOL_TCP,
  SPLICE_F_NONBLOCK,
  TCP_KEEPIDLE,
  TCP_NODELAY,
  TCP_USER_TIMEOUT,
} from "../../ffi/mod.ts";
import { parseAddress } from "../../net/mod.ts";
import { assert, assertEquals, assertMatch, assertThrows } from "../assert.ts";

const LOOPBACK = parseAddress("127.0.0.1")!;
const ETIMEDOUT = 110, ECONNRESET = 104;

/** System calls, memory for their arguments, and connected sockets; all descriptors are closed at the end. */
class Bench implements Disposable {
  readonly sys = openSyscalls();
  readonly #arena = new Arena(4 << 20);
  readonly #sockets = new SocketFactory(this.sys, this.#arena);
  readonly #fds: number[] = [];
  readonly #length = this.allocate(4);
  readonly #value = this.allocate(8);

  allocate(bytes: number): Block {
    return this.#arena.allocate(bytes);
  }

  own(fd: number): number {
    this.#fds.push(fd);
    return fd;
  }

  /** A listening socket that `prepare` has set options on, and its port. */
  listen(prepare: (socket: Socket) => void = () => {}, port = 0): { fd: number; port: number } {
    const socket = this.#sockets.open(AF_INET, SOCK_STREAM);
    prepare(socket);
    socket.bind({ address: LOOPBACK, port });
    socket.listen(8);
    const fd = this.own(socket.release());
    const name = this.allocate(SOCKADDR_IN_BYTES);
    this.#length.words[0] = SOCKADDR_IN_BYTES;
    checked("getsockname", this.sys.getsockname(fd, name.pointer, this.#length.pointer));
    return { fd, port: sockaddrPort(name.bytes) };
  }

  /** A connection over loopback: the accepted end, and the one that connected. */
  async connect(listener = this.listen()): Promise<{ accepted: number; connected: number }> {
    const { fd } = this.#sockets.open(AF_INET, SOCK_STREAM);
    this.own(fd);
    const address = this.allocate(SOCKADDR_IN_BYTES);
    address.bytes.set([2, 0, listener.port >> 8, listener.port & 255, 127, 0, 0, 1]);
    this.sys.connect(fd, address.pointer, SOCKADDR_IN_BYTES);
    const accepted = await until(() =>
      this.sys.accept4(listener.fd, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC)
    );
    return { accepted: this.own(accepted), connected: fd };
  }

  pipe(): { readEnd: number; writeEnd: number } {
    const ends = this.allocate(8);
    checked("pipe2", this.sys.pipe2(ends.pointer, O_NONBLOCK | O_CLOEXEC));
    return { readEnd: this.own(ends.words[0]!), writeEnd: this.own(ends.words[1]!) };
  }

  getInt(fd: number, level: number, name: number): number {
    this.#length.words[0] = 4;
    checked("getsockopt", this.sys.getsockopt(fd, level, name, this.#value.pointer, this.#length.pointer));
    return this.#value.words[0]!;
  }

  setInts(fd: number, level: number, name: number, ...words: number[]): void {
    this.#value.words.set(words);
    checked("setsockopt", this.sys.setsockopt(fd, level, name, this.#value.pointer, 4 * words.length));
  }

  /** Closes a descriptor before the end. */
  close(fd: number): void {
    this.#fds.splice(this.#fds.indexOf(fd), 1);
    this.sys.close(fd);
  }

  [Symbol.dispose](): void {
    for (const fd of this.#fds) this.sys.close(fd);
  }
}

/** Asks again while the answer is EAGAIN. */
async function until(call: () => number): Promise<number> {
  for (let waitedMs = 0; waitedMs < 10_000; waitedMs += 2) {
    const result = call();
    if (result !== -EAGAIN) return result;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  throw new Error("no answer but EAGAIN in 10 s");
}

Deno.test("fact: a pipe can be opened again as /proc/self/fd/N, an eventfd cannot", () => {
  using bench = new Bench();
  const { readEnd, writeEnd } = bench.pipe();
  using again = Deno.openSync(`/proc/self/fd/${writeEnd}`, { write: true });
  again.writeSync(new Uint8Array(3));
  assertEquals(bench.sys.read(readEnd, bench.allocate(16).pointer, 16), 3);

  // int eventfd(unsigned int initval, int flags);
  const libc = Deno.dlopen("libc.so.6", { eventfd: { parameters: ["u32", "i32"], result: "i32" } });
  const eventfd = bench.own(libc.symbols.eventfd(0, O_CLOEXEC));
  libc.close();
  const error = assertThrows(() => Deno.openSync(`/proc/self/fd/${eventfd}`, { write: true }), Error);
  // ENXIO for root; for others the inode that all eventfds share, root's, says EACCES before that.
  assertMatch(error.message, /os error (6|13)\)/);
});

Deno.test("fact: accepted sockets inherit NODELAY, keepalive and TCP_USER_TIMEOUT from the listener", async () => {
  using bench = new Bench();
  const listener = bench.listen((socket) => {
    setNoDelay(socket);
    setKeepalive(socket, 77, 15, 8);
    setUserTimeout(socket, 4321);
  });
  const { accepted } = await bench.connect(listener);
  assertEquals(
    [
      bench.getInt(accepted, SOL_TCP, TCP_NODELAY),
      bench.getInt(accepted, SOL_SOCKET, SO_KEEPALIVE),
      bench.getInt(accepted, SOL_TCP, TCP_KEEPIDLE),
      bench.getInt(accepted, SOL_TCP, TCP_USER_TIMEOUT),
    ],
    [1, 1, 77, 4321],
  );
});

Deno.test("fact: one splice moves 4 KiB a free slot at most, but a slot holds more: a 64 KiB pipe takes twice that", async () => {
  using bench = new Bench();
  const { accepted, connected } = await bench.connect();
  const data = bench.allocate(1 << 20);
  // A reader that keeps up is given a larger window than the first one, which is no more than a pipe's bytes.
  for (let received = 0; received < 64 << 20;) {
    bench.sys.send(connected, data.pointer, 1 << 20, 0);
    received += await until(() => bench.sys.recv(accepted, data.pointer, 1 << 20, 0));
  }
  while (bench.sys.send(connected, data.pointer, 1 << 20, 0) > 0);
  const { writeEnd } = bench.pipe();
  assertEquals(bench.sys.fcntl(writeEnd, F_GETPIPE_SZ, 0), 65_536);
  const splice = () => bench.sys.splice(accepted, writeEnd, 1 << 20, SPLICE_F_NONBLOCK);
  assertEquals(await until(splice), 65_536);
  // Fewer than 16 slots are taken: the same pipe takes more before it is full.
  let more = 0;
  for (let moved = splice(); moved > 0; moved = splice()) more += moved;
  assert(more >= 65_536, `${more} bytes more`);
});

Deno.test("fact: recv of no buffer with MSG_TRUNC discards bytes of a stream", async () => {
  using bench = new Bench();
  const { accepted, connected } = await bench.connect();
  const out = bench.allocate(8), into = bench.allocate(8);
  out.bytes.set([1, 2, 3, 4, 5, 6, 7, 8]);
  assertEquals(bench.sys.send(connected, out.pointer, 8, 0), 8);
  assertEquals(await until(() => bench.sys.recv(accepted, null, 5, MSG_TRUNC)), 5);
  assertEquals(bench.sys.recv(accepted, into.pointer, 8, 0), 3);
  assertEquals([...into.bytes.subarray(0, 3)], [6, 7, 8]);
});

Deno.test("fact: an end of stream behind bytes is one edge with them, told by EPOLLRDHUP and never again", async () => {
  using bench = new Bench();
  const { accepted, connected } = await bench.connect();
  const data = bench.allocate(64);
  bench.sys.send(connected, data.pointer, 10, 0);
  bench.sys.shutdown(connected, SHUT_WR);
  const epoll = bench.own(bench.sys.epoll_create1(EPOLL_CLOEXEC));
  const { epollEventWords, epollDataWord } = archOf();
  const event = bench.allocate(4 * epollEventWords);
  event.words[0] = EPOLLIN | EPOLLRDHUP | EPOLLET;
  event.words[epollDataWord] = accepted;
  // Both have arrived before the socket is watched.
  await new Promise((resolve) => setTimeout(resolve, 50));
  checked("epoll_ctl", bench.sys.epoll_ctl(epoll, EPOLL_CTL_ADD, accepted, event.pointer));
  assertEquals(bench.sys.epoll_wait(epoll, event.pointer, 1, 1000), 1);
  assertEquals(event.words[0]! & (EPOLLIN | EPOLLRDHUP), EPOLLIN | EPOLLRDHUP);
  assertEquals(bench.sys.recv(accepted, data.pointer, 64, 0), 10);
  assertEquals(bench.sys.epoll_wait(epoll, event.pointer, 1, 100), 0);
  assertEquals(bench.sys.recv(accepted, data.pointer, 64, 0), 0);
});

Deno.test("fact: SO_LINGER with no time makes close a reset", async () => {
  using bench = new Bench();
  const { accepted, connected } = await bench.connect();
  const data = bench.allocate(8);
  bench.setInts(accepted, SOL_SOCKET, SO_LINGER, 1, 0);
  bench.close(accepted);
  assertEquals(await until(() => bench.sys.recv(connected, data.pointer, 8, 0)), -ECONNRESET);
});

Deno.test("fact: TCP_USER_TIMEOUT ends a connection whose reader has only stopped reading", async () => {
  using bench = new Bench();
  const { accepted, connected } = await bench.connect();
  bench.setInts(connected, SOL_TCP, TCP_USER_TIMEOUT, 500);
  const data = bench.allocate(1 << 16);
  // Nobody reads `accepted`; its host answers every probe of the closed window.
  const end = await until(() => {
    const n = bench.sys.send(connected, data.pointer, 1 << 16, 0);
    return n > 0 ? -EAGAIN : n;
  });
  assertEquals(end, -ETIMEDOUT);
  assert(bench.sys.recv(accepted, data.pointer, 1, 0) > 0);
});

Deno.test("fact: listeners with SO_REUSEPORT share a port silently; one without it is told", () => {
  using bench = new Bench();
  const { port } = bench.listen(setReusePort);
  assertEquals(bench.listen(setReusePort, port).port, port);
  assertThrows(() => Deno.listen({ hostname: "127.0.0.1", port }), Deno.errors.AddrInUse);
});
