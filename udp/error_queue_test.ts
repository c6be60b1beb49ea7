import {
  AF_INET,
  AF_INET6,
  Arena,
  checked,
  decodeSockaddr,
  ECONNREFUSED,
  encodeSockaddr,
  IP_RECVERR,
  IPV6_RECVERR,
  openSyscalls,
  SO_EE_ORIGIN_ICMP,
  SO_EE_ORIGIN_ICMP6,
  SO_EE_ORIGIN_NONE,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCKADDR_IN6_BYTES,
  sockaddrFamily,
  SOL_IP,
  SOL_IPV6,
  type Syscalls,
} from "../ffi/mod.ts";
import { formatEndpoint, parseEndpoint } from "../net/mod.ts";
import { assert, assertEquals } from "../tests/assert.ts";
import { ERROR_QUEUE_BYTES, ErrorQueue } from "./error_queue.ts";

/** An unconnected socket that has sent datagrams to a port of this host that nobody listens on. */
class Refused implements Disposable {
  readonly sys: Syscalls = openSyscalls();
  readonly arena = new Arena(4096 + ERROR_QUEUE_BYTES);
  readonly fd: number;
  readonly #remote: Uint8Array;

  constructor(family: 4 | 6, payloads: readonly Uint8Array[]) {
    const { sys, arena } = this;
    const type = SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    const address = arena.allocate(SOCKADDR_IN6_BYTES), value = arena.allocate(4);
    const open = () => checked("socket", sys.socket(family === 4 ? AF_INET : AF_INET6, type, 0));
    const length = encodeSockaddr(parseEndpoint(family === 4 ? "127.0.0.1:0" : "[::1]:0")!, address.bytes);
    // A port that was free a moment ago.
    const closed = open();
    checked("bind", sys.bind(closed, address.pointer, length));
    value.words[0] = SOCKADDR_IN6_BYTES;
    checked("getsockname", sys.getsockname(closed, address.pointer, value.pointer));
    sys.close(closed);
    this.#remote = address.bytes;
    this.fd = open();
    value.words[0] = 1;
    const [level, name] = family === 4 ? [SOL_IP, IP_RECVERR] : [SOL_IPV6, IPV6_RECVERR];
    checked("setsockopt", sys.setsockopt(this.fd, level, name, value.pointer, 4));
    const message = arena.allocate(56), vector = arena.allocate(16), payload = arena.allocate(2048);
    message.words.set([arena.addressLow(address.offset), arena.addressHigh, length], 0);
    message.words.set([arena.addressLow(vector.offset), arena.addressHigh, 1], 4);
    for (const bytes of payloads) {
      payload.bytes.set(bytes);
      vector.words.set([arena.addressLow(payload.offset), arena.addressHigh, bytes.length]);
      // The error of the datagram before is reported once, instead of sending.
      for (let attempt = 0, sent = -1; sent < 0 && attempt < 3; attempt++) {
        sent = sys.sendmsg(this.fd, message.pointer, 0);
      }
    }
  }

  get remote(): string {
    return formatEndpoint(decodeSockaddr(this.#remote)!);
  }

  [Symbol.dispose](): void {
    this.sys.close(this.fd);
  }
}

for (const family of [4, 6] as const) {
  Deno.test(`error_queue: IPv${family}: says who refused which datagram, and quotes it`, () => {
    const first = Uint8Array.from({ length: 300 }, (_, i) => i * 3);
    using refused = new Refused(family, [first, Uint8Array.of(7)]);
    const queue = new ErrorQueue(refused.sys, refused.arena);
    const quoted = () =>
      refused.arena.bytes.slice(queue.payloadOffset, queue.payloadOffset + queue.payloadLength);

    assert(queue.read(refused.fd));
    assertEquals(queue.errno, ECONNREFUSED);
    assertEquals(
      [queue.origin, queue.type, queue.code, queue.info],
      family === 4 ? [SO_EE_ORIGIN_ICMP, 3, 3, 0] : [SO_EE_ORIGIN_ICMP6, 1, 4, 0],
    );
    assertEquals(formatEndpoint(decodeSockaddr(queue.destination)!), refused.remote);
    assertEquals(formatEndpoint(decodeSockaddr(queue.offender)!), family === 4 ? "127.0.0.1:0" : "[::1]:0");
    assertEquals(quoted(), first);

    assert(queue.read(refused.fd));
    assertEquals(quoted(), Uint8Array.of(7));

    assert(!queue.read(refused.fd));
    assertEquals(sockaddrFamily(queue.offender), 0);
  });
}

Deno.test("error_queue: of an entry whose control data was cut off, no part is believed that may be missing", () => {
  // struct cmsghdr and struct sock_extended_err take 32 bytes, the offender 16 more.
  for (const [controlBytes, origin] of [[40, SO_EE_ORIGIN_ICMP], [24, SO_EE_ORIGIN_NONE]] as const) {
    using refused = new Refused(4, [Uint8Array.of(1, 2, 3)]);
    const sys: Syscalls = {
      ...refused.sys,
      recvmsg(fd, message, flags) {
        const words = new Int32Array(Deno.UnsafePointerView.getArrayBuffer(message!, 56));
        words[10] = controlBytes;
        return refused.sys.recvmsg(fd, message, flags);
      },
    };
    const queue = new ErrorQueue(sys, refused.arena);
    assert(queue.read(refused.fd));
    assertEquals(queue.origin, origin);
    assertEquals(queue.errno, origin === SO_EE_ORIGIN_NONE ? 0 : ECONNREFUSED);
    assertEquals(sockaddrFamily(queue.offender), 0);
    assertEquals(queue.payloadLength, 3);
    assertEquals(formatEndpoint(decodeSockaddr(queue.destination)!), refused.remote);
  }
});
