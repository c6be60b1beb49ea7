import fc from "fast-check";
import {
  AF_INET,
  encodeSockaddr,
  HEADROOM_BYTES,
  MSG_DONTWAIT,
  SO_RCVBUF,
  SOCK_DGRAM,
  SOL_SOCKET,
} from "../ffi/mod.ts";
import type { DatagramFraming } from "../flow/mod.ts";
import { parseEndpoint } from "../net/mod.ts";
import { assertEquals } from "../tests/assert.ts";
import { Loopback } from "../tests/loopback.ts";
import { Carriage, UDP_BYTES } from "./carriage.ts";
import { Inbox, INBOX_BYTES } from "./inbox.ts";
import { PathSender } from "./path_sender.ts";
import type { UdpCounterName } from "./settings.ts";

const HEADER_BYTES = 7, MAX_HEADER_BYTES = 20;
/** Room for the largest datagrams of all kinds. */
const PAYLOAD_BYTES = 65_000;

/** A path that leads to a socket on loopback, each datagram with a header of the port it is for. */
class Site implements Disposable {
  readonly #io = new Loopback(UDP_BYTES + INBOX_BYTES + PAYLOAD_BYTES + 64 * 1024);
  readonly #inbox = new Inbox(this.#io.arena, 0);
  readonly #payload = this.#io.arena.allocate(HEADROOM_BYTES + PAYLOAD_BYTES);
  readonly #name = this.#io.arena.allocate(28);
  readonly #receiver = this.#io.sockets.open(AF_INET, SOCK_DGRAM);
  readonly context: Carriage;
  readonly sender: PathSender;
  readonly lost: number[] = [];

  constructor() {
    const { arena, sys } = this.#io;
    this.#io.own(this.#receiver.fd);
    this.#receiver.bind(parseEndpoint("127.0.0.1:0")!);
    this.#receiver.setInt(SOL_SOCKET, SO_RCVBUF, 1 << 20, "SO_RCVBUF");
    const socket = this.#io.sockets.open(AF_INET, SOCK_DGRAM);
    this.#io.own(socket.fd);
    const length = encodeSockaddr(this.#receiver.localEndpoint(), this.#name.bytes);
    assertEquals(sys.connect(socket.fd, this.#name.pointer, length), 0);
    this.context = new Carriage({
      sys,
      arena,
      reactor: this.#io.openReactor(),
      settings: {
        port: 1,
        firstPort: 1,
        workers: 1,
        source: "own",
        bypassMark: 0,
        replyMark: 0,
        dontFragmentMark: 0,
        filter: "endpoint",
        idleTimeoutMs: 1000,
        refreshInbound: false,
        maxSessions: 1,
        maxSessionsPerClient: 0,
        maxReplySockets: 1,
      },
      routing: { current: { only: undefined, choose: () => NOWHERE } },
      counters: { values: new Float64Array(1), slots: {} as Record<UdpCounterName, number> },
      clientLimit: undefined,
      onFlow: undefined,
      onWarning: () => {},
    });
    const framing: DatagramFraming = {
      maxHeaderBytes: MAX_HEADER_BYTES,
      framesAnswers: false,
      writeHeader(_clientAt, destinationAt, headerAt) {
        const { bytes } = arena;
        bytes.fill(0xee, headerAt, headerAt + HEADER_BYTES);
        bytes.copyWithin(headerAt, destinationAt + 2, destinationAt + 4);
        return HEADER_BYTES;
      },
      readHeader: () => -1,
    };
    const observer = {
      onSendError: () => false,
      onLost: (datagrams: number) => void this.lost.push(datagrams),
    };
    const path = { fd: socket.fd, isV4: true, isConnected: true, framing, dscp: undefined };
    this.sender = new PathSender(this.context, observer, path);
  }

  /** Sends what the kernel would have merged, for that port; each part has bytes of its own. */
  send(port: number, length: number, segmentBytes: number): void {
    const at = this.#payload.offset + HEADROOM_BYTES;
    const step = segmentBytes === 0 ? length : segmentBytes;
    for (let i = 0; i < length; i++) this.#io.arena.bytes[at + i] = Math.floor(i / step);
    this.#setPort(port);
    this.sender.send(0, this.#name.offset, 0, at, length, segmentBytes);
    this.context.flushOutboxes();
  }

  sendWaiting(port: number, length: number): void {
    this.#setPort(port);
    const payload = new Uint8Array(length);
    const destination = this.#name.bytes.slice();
    this.sender.sendWaiting(0, { destination, payload, trafficClass: 0, dontFragment: false });
  }

  /** What has arrived: the port in its header, whether the rest of that is whole, and the payload's length and bytes. */
  received(): [port: number, isWhole: boolean, length: number, fill: number | undefined][] {
    const found: [number, boolean, number, number | undefined][] = [];
    for (;;) {
      const count = this.#inbox.receive(this.#io.sys, this.#receiver.fd, MSG_DONTWAIT);
      if (count < 0) return found;
      for (let i = 0; i < count; i++) {
        const at = this.#inbox.payloadAt(i), length = this.#inbox.payloadLength(i);
        const bytes = this.#io.arena.bytes.subarray(at, at + length);
        const rest = bytes.subarray(HEADER_BYTES);
        const isWhole = bytes.subarray(2, HEADER_BYTES).every((byte) => byte === 0xee) &&
          rest.every((byte) => byte === rest[0]);
        found.push([bytes[0]! << 8 | bytes[1]!, isWhole, rest.length, rest[0]]);
      }
    }
  }

  [Symbol.dispose](): void {
    this.context.answers.close();
    this.context.undelivered.close();
    this.#io[Symbol.dispose]();
  }

  #setPort(port: number): void {
    this.#name.bytes.set([port >> 8, port & 0xff], 2);
  }
}

const NOWHERE = { kind: "block", id: 0, name: "nowhere", how: "drop" } as const;

Deno.test("path sender: each datagram has its header, however many the kernel has merged", () => {
  using site = new Site();
  const some = fc.tuple(
    fc.integer({ min: 1, max: 65_535 }),
    fc.integer({ min: 0, max: 60_000 }),
    fc.constantFrom(0, 1, 2, 3),
    fc.integer({ min: 300, max: 2_000 }),
  );
  fc.assert(
    fc.property(some, ([port, length, kind, size]) => {
      // Small ones too, more than a message may have.
      const segment = kind === 0 ? 0 : kind === 1 ? Math.ceil(size / 100) : size;
      const bytes = kind === 1 ? Math.min(length, 150 * segment) : length;
      site.send(port, bytes, bytes === 0 ? 0 : segment);
      const wanted: [number, boolean, number, number | undefined][] = [];
      const step = segment === 0 || bytes === 0 ? Math.max(bytes, 1) : segment;
      for (let at = 0; at < Math.max(bytes, 1); at += step) {
        const size = Math.min(step, bytes - at);
        wanted.push([port, true, size, size === 0 ? undefined : at / step]);
      }
      assertEquals(site.received(), wanted);
      assertEquals([site.lost, site.sender.headerBytes], [[], HEADER_BYTES]);
    }),
    { numRuns: 150 },
  );
});

Deno.test("path sender: those that have waited leave in order, more than fit at once", () => {
  using site = new Site();
  const lengths = Array.from({ length: 150 }, (_, i) => i % 50 === 49 ? 60_000 : i * 7 % 1_400);
  for (const [i, length] of lengths.entries()) {
    site.sendWaiting(1 + i, length);
    if (i % 10 !== 9) continue;
    site.context.flushOutboxes();
    const wanted = lengths.slice(i - 9, i + 1).map((
      size,
      n,
    ) => [i - 8 + n, true, size, size === 0 ? undefined : 0]);
    assertEquals(site.received(), wanted as ReturnType<Site["received"]>);
  }
});
