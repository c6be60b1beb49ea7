import {
  AF_INET,
  AF_INET6,
  EAGAIN,
  ECONNREFUSED,
  EINVAL,
  EMSGSIZE,
  encodeSockaddr,
  ENOBUFS,
  IP_RECVTOS,
  IPV6_RECVTCLASS,
  isSyscallError,
  MSG_DONTWAIT,
  SOCK_DGRAM,
  type Socket,
  SOL_IP,
  SOL_IPV6,
  type Syscalls,
} from "../ffi/mod.ts";
import { parseAddress } from "../net/mod.ts";
import { assert, assertEquals } from "../tests/assert.ts";
import { Loopback } from "../tests/loopback.ts";
import { BATCH, Inbox, INBOX_BYTES } from "./inbox.ts";
import { NAMELESS, Outbox, OUTBOX_BYTES, type SendObserver } from "./outbox.ts";

const LOCALHOST = { 4: parseAddress("127.0.0.1")!, 6: parseAddress("::1")! } as const;

interface Adding {
  readonly trafficClass?: number;
  readonly segmentBytes?: number;
  /** Another socket than the usual one. */
  readonly from?: number;
  readonly headerBytes?: number;
  /** To where the socket is connected. */
  readonly nameless?: boolean;
}

/** A sender's outbox and two receivers, over loopback. */
class Site implements Disposable {
  readonly io = new Loopback(INBOX_BYTES + OUTBOX_BYTES + 512 * 1024);
  readonly inbox = new Inbox(this.io.arena, 0);
  readonly receivers: [Socket, Socket];
  /** Where the sockaddrs of the receivers lie. */
  readonly names: [number, number];
  readonly errors: number[] = [];
  /** Errors that are returned instead of sending, one for each call; 0: it sends. */
  failures: number[] = [];
  calls = 0;
  readonly outbox: Outbox;
  /** What the observer was told to be lost: datagrams and bytes. */
  readonly lost: [number, number] = [0, 0];
  readonly #sender: Socket;
  readonly #observer: SendObserver = {
    onSendError: (errno) => {
      this.errors.push(errno);
      return this.#retries;
    },
    onLost: (datagrams, bytes) => {
      this.lost[0] += datagrams;
      this.lost[1] += bytes;
    },
  };
  #retries = false;
  readonly #payloads = this.io.arena.allocate(256 * 1024);
  #used = 0;

  constructor(readonly family: 4 | 6) {
    const failing = <Args extends unknown[]>(send: (...args: Args) => number) => (...args: Args) => {
      this.calls++;
      const errno = this.failures.shift() ?? 0;
      return errno === 0 ? send(...args) : -errno;
    };
    const { sendmsg, sendmmsg } = this.io.sys;
    const sys: Syscalls = { ...this.io.sys, sendmsg: failing(sendmsg), sendmmsg: failing(sendmmsg) };
    this.outbox = new Outbox(sys, this.io.arena, family, false);
    this.#sender = this.#open();
    this.receivers = [this.#open(), this.#open()];
    this.names = [this.#nameOf(this.receivers[0]), this.#nameOf(this.receivers[1])];
  }

  /** Adds a datagram of `length` bytes, all of them `fill`. */
  add(
    to: 0 | 1,
    length: number,
    fill: number,
    { trafficClass = 0, segmentBytes = 0, from, headerBytes = 0, nameless = false }: Adding = {},
  ): void {
    const at = this.#payloads.offset + this.#used;
    this.#used += length;
    this.io.arena.bytes.fill(fill, at, at + length);
    this.outbox.add(
      from ?? this.#sender.fd,
      this.#observer,
      nameless ? NAMELESS : this.names[to],
      0,
      trafficClass,
      at,
      length,
      segmentBytes,
      headerBytes,
    );
  }

  /** @param retries what the observer answers. */
  flush(retries = false): void {
    this.#retries = retries;
    this.outbox.flush();
    this.#used = 0;
  }

  /** What has arrived: bytes, the byte that fills it, the traffic class. */
  received(at: 0 | 1): [length: number, fill: number | undefined, trafficClass: number][] {
    const found: [number, number | undefined, number][] = [];
    for (;;) {
      const count = this.inbox.receive(this.io.sys, this.receivers[at].fd, MSG_DONTWAIT);
      if (count === -EAGAIN) return found;
      assert(count > 0);
      for (let i = 0; i < count; i++) {
        this.inbox.look(i);
        const length = this.inbox.payloadLength(i), payloadAt = this.inbox.payloadAt(i);
        const bytes = this.io.arena.bytes.subarray(payloadAt, payloadAt + length);
        assert(bytes.every((byte) => byte === bytes[0]));
        found.push([length, bytes[0], this.inbox.trafficClass]);
      }
    }
  }

  [Symbol.dispose](): void {
    this.io[Symbol.dispose]();
  }

  #open(): Socket {
    const socket = this.io.sockets.open(this.family === 4 ? AF_INET : AF_INET6, SOCK_DGRAM);
    this.io.own(socket.fd);
    socket.bind({ address: LOCALHOST[this.family], port: 0 });
    if (this.family === 4) socket.setInt(SOL_IP, IP_RECVTOS, 1, "IP_RECVTOS");
    else socket.setInt(SOL_IPV6, IPV6_RECVTCLASS, 1, "IPV6_RECVTCLASS");
    return socket;
  }

  #nameOf(socket: Socket): number {
    const block = this.io.arena.allocate(28);
    encodeSockaddr(socket.localEndpoint(), block.bytes);
    return block.offset;
  }
}

function outboxTest(name: string, body: (site: Site) => void): void {
  for (const family of [4, 6] as const) {
    Deno.test(`outbox: ${name}, IPv${family}`, () => {
      try {
        using site = new Site(family);
        body(site);
      } catch (error) {
        // A machine without IPv6 on loopback cannot show it.
        if (!(family === 6 && isSyscallError(error) && error.syscall === "bind")) throw error;
      }
    });
  }
}

outboxTest("a run of datagrams arrives as it was, in one call", (site) => {
  for (let i = 0; i < BATCH; i++) site.add(0, 100, i);
  site.flush();
  assertEquals(site.received(0), Array.from({ length: BATCH }, (_, i) => [100, i, 0]));
  assertEquals([site.calls, site.outbox.sentDatagrams, site.outbox.sentBytes], [1, BATCH, 100 * BATCH]);
  assert(site.outbox.isEmpty);
});

outboxTest(
  "lengths, destinations and traffic classes mixed: each datagram is what it was, in order",
  (site) => {
    site.add(0, 100, 1);
    site.add(0, 100, 2);
    site.add(0, 40, 3);
    site.add(0, 40, 4);
    site.add(0, 0, 5);
    site.add(0, 0, 6);
    site.add(0, 41, 7);
    site.add(1, 41, 8);
    site.add(0, 41, 9, { trafficClass: 0xb9 });
    site.add(0, 41, 10, { trafficClass: 0xb9 });
    site.add(0, 41, 11);
    site.add(0, 8000, 12);
    site.add(0, 8000, 13);
    site.flush();
    assertEquals(site.received(0), [
      [100, 1, 0],
      [100, 2, 0],
      [40, 3, 0],
      [40, 4, 0],
      [0, undefined, 0],
      [0, undefined, 0],
      [41, 7, 0],
      [41, 9, 0xb9],
      [41, 10, 0xb9],
      [41, 11, 0],
      [8000, 12, 0],
      [8000, 13, 0],
    ]);
    assertEquals(site.received(1), [[41, 8, 0]]);
    assertEquals([site.outbox.sentDatagrams, site.outbox.lostDatagrams], [13, 0]);
  },
);

outboxTest("what was received as one leaves as the datagrams it was made of", (site) => {
  site.add(0, 1000, 1, { segmentBytes: 300, trafficClass: 2 });
  site.add(0, 300, 2, { segmentBytes: 300 });
  site.flush();
  assertEquals(site.received(0), [[300, 1, 2], [300, 1, 2], [300, 1, 2], [100, 1, 2], [300, 2, 0]]);
  assertEquals([site.outbox.sentDatagrams, site.outbox.sentBytes], [5, 1300]);
});

outboxTest("more than a message may hold becomes several", (site) => {
  for (let i = 0; i < 9; i++) site.add(0, 9000, i);
  site.flush();
  assertEquals(
    site.received(0).map(([length, fill]) => [length, fill]),
    Array.from({ length: 9 }, (_, i) => [9000, i]),
  );
});

for (const errno of [EINVAL, EMSGSIZE]) {
  outboxTest(`a kernel that refuses to cut (${errno}) gets the datagrams one by one`, (site) => {
    for (let i = 0; i < 5; i++) site.add(0, 100, i, { trafficClass: 4 });
    site.add(0, 700, 9, { segmentBytes: 300, trafficClass: 1 });
    site.failures = [errno, 0, 0, 0, 0, 0, errno];
    site.flush();
    assertEquals(site.received(0), [
      ...Array.from({ length: 5 }, (_, i) => [100, i, 4] as [number, number, number]),
      [300, 9, 1],
      [300, 9, 1],
      [100, 9, 1],
    ]);
    assertEquals([site.outbox.sentDatagrams, site.outbox.sentBytes, site.errors.length], [8, 1200, 0]);
  });
}

outboxTest("headers are sent and not counted, as messages and one by one", (site) => {
  for (let i = 0; i < 3; i++) site.add(0, 100, i, { headerBytes: 10 });
  site.flush();
  assertEquals(site.received(0).map(([length]) => length), [100, 100, 100]);
  assertEquals([site.outbox.sentDatagrams, site.outbox.sentBytes, site.calls], [3, 270, 1]);
  site.add(0, 210, 1, { segmentBytes: 100, headerBytes: 10 });
  // Cut here, of which the second one is lost.
  site.failures = [EINVAL, 0, ENOBUFS];
  site.flush();
  assertEquals(site.received(0).map(([length]) => length), [100, 10]);
  assertEquals([site.outbox.sentDatagrams, site.outbox.sentBytes, site.lost], [2, 90, [1, 90]]);
});

outboxTest("what has no name goes to where its socket is connected", (site) => {
  const { io, receivers } = site;
  const socket = io.sockets.open(site.family === 4 ? AF_INET : AF_INET6, SOCK_DGRAM);
  io.own(socket.fd);
  const name = io.arena.allocate(28);
  const length = encodeSockaddr(receivers[1].localEndpoint(), name.bytes);
  assertEquals(io.sys.connect(socket.fd, name.pointer, length), 0);
  for (let i = 0; i < 3; i++) site.add(0, 100, i, { from: socket.fd, nameless: true });
  site.add(0, 30, 4);
  site.failures = [EINVAL];
  site.flush();
  assertEquals(site.received(1).map(([length, fill]) => [length, fill]), [[100, 0], [100, 1], [100, 2]]);
  assertEquals(site.received(0).map(([length]) => length), [30]);
});

outboxTest("it is full when one inbox would have no more", (site) => {
  for (let i = 0; i < BATCH; i++) {
    assert(!site.outbox.isFull);
    site.add(i % 2 as 0 | 1, 10, i);
  }
  assert(site.outbox.isFull);
  site.flush();
  assert(!site.outbox.isFull);
});

outboxTest("an error of an earlier datagram costs none of these", (site) => {
  site.add(0, 10, 1);
  site.add(1, 20, 2);
  site.failures = [ECONNREFUSED];
  site.flush(true);
  assertEquals([site.received(0).length, site.received(1).length, site.outbox.lostDatagrams], [1, 1, 0]);
  assertEquals(site.errors, [ECONNREFUSED]);
});

outboxTest("an error that stays costs the one datagram it is about, and no loop", (site) => {
  site.add(0, 10, 1);
  site.add(1, 20, 2);
  site.failures = [ECONNREFUSED, ECONNREFUSED];
  site.flush(true);
  assertEquals([site.received(0).length, site.received(1).length, site.outbox.lostDatagrams], [0, 1, 1]);
});

outboxTest("a full queue costs one message, a full buffer the rest, and all is counted", (site) => {
  site.add(0, 10, 1);
  site.add(0, 10, 1);
  site.add(1, 20, 2);
  site.failures = [ENOBUFS];
  site.flush(true);
  assertEquals([site.received(0).length, site.received(1).length, site.outbox.lostDatagrams], [0, 1, 2]);
  site.add(0, 10, 1);
  site.add(0, 10, 1);
  site.add(1, 20, 2);
  site.failures = [EAGAIN];
  site.flush(true);
  assertEquals([site.outbox.sentDatagrams, site.outbox.lostDatagrams, site.errors], [0, 3, []]);
});
