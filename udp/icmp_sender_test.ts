import {
  AF_INET,
  AF_INET6,
  AF_UNSPEC,
  Arena,
  ECONNREFUSED,
  EHOSTUNREACH,
  EMFILE,
  encodeSockaddr,
  EPERM,
  openSyscalls,
  type Syscalls,
} from "../ffi/mod.ts";
import { parseEndpoint } from "../net/mod.ts";
import { assert, assertEquals, assertMatch } from "../tests/assert.ts";
import type { QuotedDatagram } from "./icmp_error.ts";
import { ICMP_SENDER_BYTES, IcmpSender } from "./icmp_sender.ts";

function about(client: string, remote: string): QuotedDatagram {
  const [to, from] = [new Uint8Array(28), new Uint8Array(28)];
  encodeSockaddr(parseEndpoint(remote)!, to);
  encodeSockaddr(parseEndpoint(client)!, from);
  return { client: from, remote: to, offset: 0, length: 0, sentLength: 0 };
}

const V4 = about("192.0.2.2:40000", "203.0.113.5:53");
const V6 = about("[2001:db8::2]:40000", "[2001:db8::5]:53");

/** A sender whose sockets are told of here and go nowhere. */
class World {
  readonly calls: string[] = [];
  readonly unavailable: string[] = [];
  suppressed = 0;
  /** Given to the next socket(2) calls, in order; then descriptors. */
  readonly failures: number[] = [];
  readonly sender: IcmpSender;

  constructor(mark = 0x0300_0000) {
    const sys: Syscalls = {
      ...openSyscalls(),
      socket: (domain) => {
        this.calls.push(`socket ${domain}`);
        return this.failures.shift() ?? 1000 + domain;
      },
      setsockopt: (fd) => this.#note(`setsockopt ${fd}`),
      connect: (fd, address) => {
        const family = new Deno.UnsafePointerView(address!).getUint16();
        return this.#note(`connect ${fd} ${family}`);
      },
      getsockname: (fd) => this.#note(`getsockname ${fd}`),
      sendmsg: (fd) => this.#note(`sendmsg ${fd}`),
      close: (fd) => this.#note(`close ${fd}`),
    };
    this.sender = new IcmpSender(sys, new Arena(ICMP_SENDER_BYTES), {
      mark,
      now: () => 1,
      onUnavailable: (detail) => this.unavailable.push(detail),
      onSuppressed: () => this.suppressed++,
    });
  }

  #note(call: string): number {
    this.calls.push(call);
    return 0;
  }
}

Deno.test("icmp_sender: opens a socket for the first error of a family, marks it, keeps it", () => {
  const world = new World();
  assert(world.sender.unreachable(ECONNREFUSED, V4));
  assert(world.sender.unreachable(EHOSTUNREACH, V4));
  world.sender.close();
  const fd = 1000 + AF_INET;
  assertEquals(
    world.calls,
    [`socket ${AF_INET}`, `setsockopt ${fd}`, `sendmsg ${fd}`, `sendmsg ${fd}`, `close ${fd}`],
  );
});

Deno.test("icmp_sender: asks for this host's own IPv6 address, and leaves the socket unconnected", () => {
  const world = new World(0);
  assert(world.sender.tooBig(1400, V6));
  const fd = 1000 + AF_INET6;
  assertEquals(world.calls, [
    `socket ${AF_INET6}`,
    `connect ${fd} ${AF_INET6}`,
    `getsockname ${fd}`,
    `connect ${fd} ${AF_UNSPEC}`,
    `sendmsg ${fd}`,
  ]);
});

Deno.test("icmp_sender: without CAP_NET_RAW it says so once and does nothing from then on", () => {
  const world = new World();
  world.failures.push(-EPERM);
  assert(!world.sender.unreachable(ECONNREFUSED, V4));
  assert(!world.sender.unreachable(ECONNREFUSED, V4));
  assert(!world.sender.tooBig(1400, V6));
  assertEquals(world.calls, [`socket ${AF_INET}`]);
  assertEquals(world.unavailable.length, 1);
  assertMatch(world.unavailable[0]!, /EPERM.*CAP_NET_RAW/);
  world.sender.close();
  assertEquals(world.calls.length, 1);
});

Deno.test("icmp_sender: without a descriptor this error is not sent, and the next one is tried again", () => {
  const world = new World();
  world.failures.push(-EMFILE);
  assert(!world.sender.unreachable(ECONNREFUSED, V4));
  assert(world.sender.unreachable(ECONNREFUSED, V4));
  assertEquals(world.unavailable, []);
});

Deno.test("icmp_sender: too many errors for a client are suppressed and counted, but path MTU discovery is not", () => {
  const world = new World();
  let sent = 0;
  for (let i = 0; i < 100; i++) if (world.sender.unreachable(ECONNREFUSED, V4)) sent++;
  assertEquals([sent, world.suppressed], [20, 80]);
  for (let i = 0; i < 100; i++) assert(world.sender.tooBig(1400, V4));
  assertEquals(world.suppressed, 80);
});

Deno.test("icmp_sender: what clients are not told is not sent and not counted", () => {
  const world = new World();
  // Time exceeded, a local error, and an error number that says nothing of the destination.
  assert(!world.sender.relay({ type: 11, code: 0, info: 0 }, undefined, V4));
  assert(!world.sender.relay({ type: 0, code: 0, info: 1400 }, undefined, V4));
  assert(!world.sender.unreachable(EMFILE, V4));
  assertEquals([world.calls.length, world.suppressed], [0, 0]);
});
