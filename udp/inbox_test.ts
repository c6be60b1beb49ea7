import fc from "fast-check";
import {
  AF_INET,
  AF_INET6,
  CMSGHDR_BYTES,
  cmsgSpace,
  decodeSockaddr,
  encodeSockaddr,
  IP_RECVORIGDSTADDR,
  IP_RECVTOS,
  IP_TOS,
  IPV6_RECVORIGDSTADDR,
  IPV6_RECVTCLASS,
  MMSGHDR_BYTES,
  MSG_DONTWAIT,
  MSG_TRUNC,
  SO_MARK,
  SOCK_DGRAM,
  SOCKADDR_IN6_BYTES,
  SOCKADDR_IN_BYTES,
  type Socket,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
  SOL_UDP,
  type Syscalls,
  UDP_GRO,
} from "../ffi/mod.ts";
import { formatEndpoint, parseAddress } from "../net/mod.ts";
import { assert, assertEquals } from "../tests/assert.ts";
import { Loopback } from "../tests/loopback.ts";
import { BATCH, countSegments, Inbox, INBOX_BYTES } from "./inbox.ts";

// Words of struct mmsghdr.
const HEADER_WORDS = MMSGHDR_BYTES / 4;
const IOVEC = 4, CONTROL = 8, CONTROL_LENGTH = 10, FLAGS = 12, MESSAGE_LENGTH = 14;
const IOVEC_LENGTH = 2;
/** What an inbox has for the control messages of one datagram. */
const CONTROL_BYTES = 4 * cmsgSpace(4) + cmsgSpace(20) + cmsgSpace(SOCKADDR_IN6_BYTES);

const LOCALHOST = { 4: parseAddress("127.0.0.1")!, 6: parseAddress("::1")! } as const;
const SOCKADDR_BYTES = { 4: SOCKADDR_IN_BYTES, 6: SOCKADDR_IN6_BYTES } as const;

/** The headers of a call of recvmmsg. */
function headersAt(pointer: Deno.PointerValue, count: number): Int32Array {
  return new Int32Array(Deno.UnsafePointerView.getArrayBuffer(pointer!, count * MMSGHDR_BYTES));
}

/** Memory that two words of a struct point to. */
function memoryAt(words: Int32Array, at: number, bytes: number): ArrayBuffer {
  const address = BigInt(words[at + 1]!) << 32n | BigInt(words[at]! >>> 0);
  return Deno.UnsafePointerView.getArrayBuffer(Deno.UnsafePointer.create(address)!, bytes);
}

/** A socket with the listener's options, over loopback. */
class Site implements Disposable {
  readonly io = new Loopback(INBOX_BYTES + 64 * 1024);
  readonly inbox = new Inbox(this.io.arena, 0x04000000);
  readonly receiver: Socket;
  readonly #sender: Socket;
  readonly #payload = this.io.arena.allocate(4096);

  constructor(readonly family: 4 | 6) {
    this.receiver = this.#open();
    this.#sender = this.#open();
    const name = this.io.arena.allocate(SOCKADDR_IN6_BYTES);
    const length = encodeSockaddr(this.receiver.localEndpoint(), name.bytes);
    assertEquals(this.io.sys.connect(this.#sender.fd, name.pointer, length), 0);
    if (family === 4) {
      this.receiver.setInt(SOL_IP, IP_RECVTOS, 1, "IP_RECVTOS");
      this.receiver.setInt(SOL_IP, IP_RECVORIGDSTADDR, 1, "IP_RECVORIGDSTADDR");
    } else {
      this.receiver.setInt(SOL_IPV6, IPV6_RECVTCLASS, 1, "IPV6_RECVTCLASS");
      this.receiver.setInt(SOL_IPV6, IPV6_RECVORIGDSTADDR, 1, "IPV6_RECVORIGDSTADDR");
    }
  }

  send(length: number): void {
    assertEquals(this.io.sys.send(this.#sender.fd, this.#payload.pointer, length, 0), length);
  }

  /** Receives with headers that were changed before, the arrays of which the kernel fills less. */
  receive(change: (headers: Int32Array) => void = () => {}): number {
    const sys: Syscalls = {
      ...this.io.sys,
      recvmmsg: (fd, pointer, count, flags) => {
        change(headersAt(pointer, count));
        return this.io.sys.recvmmsg(fd, pointer, count, flags);
      },
    };
    return this.inbox.receive(sys, this.receiver.fd, MSG_DONTWAIT);
  }

  /** The destination that the inbox tells of the datagram it looks at. */
  destination(): string | undefined {
    const { destinationAt } = this.inbox;
    if (destinationAt < 0) return undefined;
    const sockaddr = this.io.arena.bytes.slice(destinationAt, destinationAt + SOCKADDR_BYTES[this.family]);
    return formatEndpoint(decodeSockaddr(sockaddr)!);
  }

  [Symbol.dispose](): void {
    this.io[Symbol.dispose]();
  }

  #open(): Socket {
    const socket = this.io.sockets.open(this.family === 4 ? AF_INET : AF_INET6, SOCK_DGRAM);
    this.io.own(socket.fd);
    socket.bind({ address: LOCALHOST[this.family], port: 0 });
    return socket;
  }
}

for (const family of [4, 6] as const) {
  Deno.test(`inbox: IPv${family}: a payload that was cut off is said to be, and those beside it not`, () => {
    using site = new Site(family);
    const here = formatEndpoint(site.receiver.localEndpoint());
    for (let i = 0; i < 3; i++) site.send(300);
    const count = site.receive((headers) => {
      const iovec = new Int32Array(memoryAt(headers, HEADER_WORDS + IOVEC, 16));
      iovec[IOVEC_LENGTH] = 100;
    });
    assertEquals(count, 3);
    const found = [0, 1, 2].map((i) => {
      site.inbox.look(i);
      return [site.inbox.truncated, site.inbox.controlTruncated, site.destination()];
    });
    assertEquals(found, [[false, false, here], [true, false, here], [false, false, here]]);
  });

  // With each length up to that of all there is to tell: TOS or traffic class, then the destination.
  const complete = cmsgSpace(4) + cmsgSpace(SOCKADDR_BYTES[family]);
  const unpadded = cmsgSpace(4) + CMSGHDR_BYTES + SOCKADDR_BYTES[family];
  for (let room = 0; room <= complete; room += 4) {
    Deno.test(`inbox: IPv${family}: of control data cut off at ${room} bytes no part is taken for the whole`, () => {
      using site = new Site(family);
      const here = formatEndpoint(site.receiver.localEndpoint());
      // What lies there from before is no destination of this one.
      site.send(1);
      assertEquals(site.receive(), 1);
      for (let i = 0; i < 2; i++) site.send(1);
      assertEquals(site.receive((headers) => headers[CONTROL_LENGTH] = room), 2);
      site.inbox.look(0);
      assertEquals(
        [site.inbox.controlTruncated, site.destination()],
        room < unpadded ? [true, undefined] : [false, here],
      );
      site.inbox.look(1);
      assertEquals([site.inbox.controlTruncated, site.destination()], [false, here]);
    });
  }
}

/** Levels and types that an inbox knows, and others. */
const KINDS = [
  [SOL_IP, IP_TOS],
  [SOL_IP, IP_RECVORIGDSTADDR],
  [SOL_IPV6, IPV6_RECVORIGDSTADDR],
  [SOL_UDP, UDP_GRO],
  [SOL_SOCKET, SO_MARK],
  [SOL_SOCKET, 77],
] as const;

Deno.test("inbox: whatever control data says, nothing outside of it is taken from it", () => {
  using io = new Loopback(INBOX_BYTES + 64 * 1024);
  const inbox = new Inbox(io.arena, 0x04000000);
  const message = fc.tuple(
    // Its length: one that it could have, or nonsense in either half.
    fc.oneof(fc.integer({ min: 15, max: 48 }), fc.integer({ min: 15, max: 48 }), fc.integer()),
    fc.oneof(fc.constant(0), fc.constant(0), fc.integer()),
    fc.constantFrom(...KINDS),
    fc.array(fc.integer(), { maxLength: 8 }),
  );
  const datagram = fc.record({
    messages: fc.array(message, { maxLength: 6 }),
    controlLength: fc.integer({ min: 0, max: CONTROL_BYTES }),
    flags: fc.integer(),
    length: fc.nat(65_536),
  });
  const words = (messages: (readonly [number, number, readonly [number, number], number[]])[]) =>
    messages.flatMap(([low, high, [level, type], data]) => [
      ...[low, high, level, type],
      // As far as its length says, so that the next one is found.
      ...Array.from({ length: low > 16 && low <= 48 ? (low - 9 >> 3) * 2 : 0 }, (_, i) => data[i] ?? i),
    ]).slice(0, CONTROL_BYTES / 4);
  fc.assert(
    fc.property(fc.array(datagram, { minLength: 1, maxLength: BATCH }), (datagrams) => {
      const recvmmsg = (_fd: number, pointer: Deno.PointerValue, size: number) => {
        const headers = headersAt(pointer, size);
        for (const [i, { messages, controlLength, flags, length }] of datagrams.entries()) {
          const at = i * HEADER_WORDS;
          new Int32Array(memoryAt(headers, at + CONTROL, CONTROL_BYTES)).set(words(messages));
          headers[at + CONTROL_LENGTH] = controlLength;
          headers[at + FLAGS] = flags;
          headers[at + MESSAGE_LENGTH] = length;
        }
        return datagrams.length;
      };
      assertEquals(inbox.receive({ ...io.sys, recvmmsg }, -1, 0), datagrams.length);
      for (const [i, { controlLength, flags, length }] of datagrams.entries()) {
        inbox.look(i);
        assertEquals(inbox.truncated, (flags & MSG_TRUNC) !== 0);
        const { destinationAt, trafficClass, segmentBytes } = inbox;
        const data = inbox.controlAt(i) + CMSGHDR_BYTES, end = inbox.controlAt(i) + controlLength;
        const isWhole = destinationAt >= data && destinationAt + SOCKADDR_IN_BYTES <= end;
        assert(destinationAt === -1 || isWhole, `destination at ${destinationAt}, ${data} to ${end}`);
        assert(trafficClass >= 0 && trafficClass <= 0xff);
        assert(segmentBytes >= 0 && segmentBytes <= 0xffff);
        assert(countSegments(length, segmentBytes) >= 0);
      }
    }),
    { numRuns: 300 },
  );
});
