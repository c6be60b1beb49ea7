/**
 * The DNS forwarder on the real kernel's loopback, with resolvers that do what a test says and a clock that jumps. No
 * privilege: clients are sockaddrs, and what would be sent to them is kept.
 *
 * @module
 */
import {
  AF_INET,
  AF_INET6,
  archOf,
  Arena,
  checked,
  CLOCK_MONOTONIC_COARSE,
  decodeSockaddr,
  EAGAIN,
  encodeSockaddr,
  MSG_DONTWAIT,
  openSyscalls,
  Reactor,
  ReceiveBatch,
  SendBatch,
  SOCK_DGRAM,
  SOCKADDR_IN6_BYTES,
  SOCKADDR_IN_BYTES,
  type Socket,
  SocketFactory,
  type Syscalls,
} from "../ffi/mod.ts";
import { DNS_BYTES, type DnsCounterName, type DnsEnvironment, DnsForwarder } from "../dns/mod.ts";
import { type Endpoint, formatEndpoint, parseEndpoint } from "../net/mod.ts";
import { assert, assertEquals } from "./assert.ts";

const PAYLOAD_BYTES = 65_536;

const SLOTS: Readonly<Record<DnsCounterName, number>> = {
  dnsQueries: 0,
  dnsAnswers: 1,
  dnsPendingNow: 2,
  dnsRetries: 3,
  dnsProbes: 4,
  dnsTimeouts: 5,
  dnsRefused: 6,
  dnsUnanswered: 7,
  dnsEvicted: 8,
  dnsMalformed: 9,
  dnsMismatched: 10,
  dnsSendDrops: 11,
};

/** A query as a stub resolver sends it. */
export function makeQuery(
  id: number,
  name: string,
  options: { type?: number; tail?: Uint8Array } = {},
): Uint8Array {
  const { type = 1, tail = new Uint8Array() } = options;
  const labels = name.split(".").flatMap((label) => [label.length, ...new TextEncoder().encode(label)]);
  const header = [id >> 8, id & 0xff, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0];
  return Uint8Array.of(...header, ...labels, 0, type >> 8, type & 0xff, 0, 1, ...tail);
}

/** The answer to a query: the same with the QR bit, and what a resolver would have added. */
export function makeAnswer(query: Uint8Array, data: Uint8Array = new Uint8Array()): Uint8Array {
  const answer = new Uint8Array(query.length + data.length);
  answer.set(query);
  answer.set(data, query.length);
  answer[2]! |= 0x80;
  return answer;
}

/** The transaction id of a message. */
export function idOf(message: Uint8Array): number {
  return message[0]! << 8 | message[1]!;
}

/** A datagram, and the endpoint at its other end. */
export interface Datagram {
  readonly bytes: Uint8Array;
  readonly peer: Endpoint;
}

/** What a client gets. */
export interface Reply {
  readonly client: string;
  readonly source: string;
  readonly bytes: Uint8Array;
  readonly tos: number;
}

/** A UDP socket of loopback that a test plays the resolver with. */
export class TestResolver {
  readonly endpoint: Endpoint;
  readonly #world: DnsWorld;
  readonly socket: Socket;

  constructor(world: DnsWorld, at: string) {
    const endpoint = parseEndpoint(at)!;
    this.#world = world;
    this.socket = world.sockets.open(endpoint.address.family === 4 ? AF_INET : AF_INET6, SOCK_DGRAM);
    this.socket.bind(endpoint);
    this.endpoint = this.socket.localEndpoint();
  }

  /** Everything that has arrived. */
  receive(): Datagram[] {
    return this.#world.receive(this.socket.fd);
  }

  send(bytes: Uint8Array, to: Endpoint): void {
    this.#world.send(this.socket.fd, bytes, to);
  }

  /** Answers everything that has arrived, each with its own question. @returns how many. */
  answerAll(): number {
    const queries = this.receive();
    for (const { bytes, peer } of queries) this.send(makeAnswer(bytes), peer);
    return queries.length;
  }

  /** Closes its port. */
  stop(): void {
    this.socket[Symbol.dispose]();
  }
}

/** A forwarder and everything around it. */
export class DnsWorld implements Disposable {
  readonly arena = new Arena(
    DNS_BYTES + 64 * 1024 + 4 * PAYLOAD_BYTES + ReceiveBatch.bytes(1, PAYLOAD_BYTES, 0),
  );
  readonly counters = new Float64Array(Object.keys(SLOTS).length);
  readonly warnings: string[] = [];
  readonly replies: Reply[] = [];
  readonly sockets: SocketFactory;
  readonly reactor: Reactor;
  readonly #real: Syscalls = openSyscalls();
  readonly #resolvers: TestResolver[] = [];
  readonly #received: ReceiveBatch;
  readonly #toSend: SendBatch;
  readonly #payload = this.arena.allocate(PAYLOAD_BYTES);
  readonly #name = this.arena.allocate(SOCKADDR_IN6_BYTES);
  readonly #mark = this.arena.allocate(1);
  readonly #marker: Socket;
  /** Descriptors of the forwarder. */
  readonly #open = new Set<number>();
  #forwarder: DnsForwarder | undefined;
  #jumpedMs = 0;
  /** What the next calls of socket(2) by the forwarder answer instead. */
  socketError = 0;

  constructor() {
    this.sockets = new SocketFactory(this.#real, this.arena);
    this.#received = new ReceiveBatch(this.arena, 1, PAYLOAD_BYTES, 0);
    this.#toSend = new SendBatch(this.arena, 1, 0);
    this.#marker = this.sockets.open(AF_INET, SOCK_DGRAM);
    this.#marker.bind(parseEndpoint("127.0.0.1:0")!);
    this.reactor = new Reactor(this.#watched(), this.arena, archOf());
  }

  /** Opens a resolver, on a free port of 127.0.0.1 unless told otherwise. */
  openResolver(at = "127.0.0.1:0"): TestResolver {
    const resolver = new TestResolver(this, at);
    this.#resolvers.push(resolver);
    return resolver;
  }

  /** Starts the forwarder. */
  start(resolvers: readonly Endpoint[]): DnsForwarder {
    const environment: DnsEnvironment = {
      sys: this.#watched(),
      arena: this.arena,
      reactor: this.reactor,
      resolvers,
      bypassMark: 0,
      replies: {
        reply: (client, source, at, length, tos) => {
          this.replies.push({
            client: formatEndpoint(decodeSockaddr(client)!),
            source: formatEndpoint(decodeSockaddr(source)!),
            bytes: this.arena.bytes.slice(at, at + length),
            tos,
          });
        },
      },
      counters: {
        values: this.counters,
        slots: SLOTS,
      },
      onWarning: (warning, detail) => this.warnings.push(`${warning}: ${detail}`),
    };
    return this.#forwarder = new DnsForwarder(environment);
  }

  /**
   * Waits until what has been sent so far has arrived. Loopback delivers within the system call, but for when the
   * kernel puts that off; then it is done in the order in which it was sent, and a datagram of our own tells.
   */
  #settle(): void {
    this.#mark.bytes[0]!++;
    const fd = this.#marker.fd, { port } = this.#marker.localEndpoint();
    this.send(fd, this.#mark.bytes.slice(0, 1), parseEndpoint(`127.0.0.1:${port}`)!);
    const deadline = performance.now() + 5_000;
    while (this.#real.recv(fd, this.#mark.pointer, 1, MSG_DONTWAIT) !== 1) {
      assert(performance.now() < deadline, "loopback does not deliver");
    }
  }

  /** Intercepts a datagram. */
  ask(bytes: Uint8Array, client = "192.0.2.7:40000", dialled = "203.0.113.53:53"): void {
    const sockaddr = (endpoint: string) => {
      const into = new Uint8Array(SOCKADDR_IN6_BYTES);
      encodeSockaddr(parseEndpoint(endpoint)!, into);
      return into;
    };
    this.#payload.bytes.set(bytes);
    this.#forwarder!.onDatagram(sockaddr(client), sockaddr(dialled), this.#payload.offset, bytes.length);
    // As the listener's next batch does.
    this.#payload.bytes.fill(0xee, 0, bytes.length);
  }

  /** One turn of the loop, without waiting. */
  turn(): void {
    this.#settle();
    this.reactor.defer({ onDeferred: () => this.reactor.stop() });
    this.reactor.run();
  }

  /** Lets time pass, and has one turn and what follows from it. */
  advance(ms: number): void {
    this.#jumpedMs += ms;
    this.turn();
    this.turn();
  }

  count(name: DnsCounterName): number {
    return this.counters[SLOTS[name]]!;
  }

  counts(...names: DnsCounterName[]): number[] {
    return names.map((name) => this.count(name));
  }

  /** Descriptors that the forwarder holds. */
  get openDescriptors(): number {
    return this.#open.size;
  }

  receive(fd: number): Datagram[] {
    this.#settle();
    const datagrams: Datagram[] = [];
    for (;;) {
      const count = this.#received.receive(this.#real, fd, MSG_DONTWAIT);
      if (count === -EAGAIN) return datagrams;
      checked("recvmmsg", count);
      const at = this.#received.payloadAt(0), name = this.#received.nameAt(0);
      datagrams.push({
        bytes: this.arena.bytes.slice(at, at + this.#received.payloadLength(0)),
        peer: decodeSockaddr(this.arena.bytes.subarray(name, name + SOCKADDR_IN6_BYTES))!,
      });
    }
  }

  send(fd: number, bytes: Uint8Array, to: Endpoint): void {
    encodeSockaddr(to, this.#name.bytes);
    this.#payload.bytes.set(bytes);
    this.#toSend.clear();
    const nameLength = to.address.family === 4 ? SOCKADDR_IN_BYTES : SOCKADDR_IN6_BYTES;
    this.#toSend.begin(this.#name.offset, nameLength);
    this.#toSend.append(this.#payload.offset, bytes.length);
    checked("sendmmsg", this.#toSend.send(this.#real, fd, 0, this.#toSend.length, 0));
  }

  [Symbol.dispose](): void {
    this.#forwarder?.close();
    this.reactor.close();
    this.#marker[Symbol.dispose]();
    for (const resolver of this.#resolvers) resolver.stop();
    assertEquals(this.#open.size, 0, "descriptors of the forwarder");
    assertEquals(this.reactor.timers.size, 0, "timers");
    assertEquals(this.count("dnsPendingNow"), 0);
  }

  #watched(): Syscalls {
    return {
      ...this.#real,
      socket: (...args) => {
        if (this.socketError !== 0) return -this.socketError;
        const fd = this.#real.socket(...args);
        if (fd >= 0) this.#open.add(fd);
        return fd;
      },
      close: (fd) => {
        // The reactor's own descriptor passes here too.
        assert(this.#open.delete(fd) || fd >= 0);
        return this.#real.close(fd);
      },
      clock_gettime: (clock, time) => {
        assertEquals(clock, CLOCK_MONOTONIC_COARSE);
        const result = this.#real.clock_gettime(clock, time);
        const words = new Int32Array(Deno.UnsafePointerView.getArrayBuffer(time!, 16));
        const ms = words[0]! * 1000 + words[2]! / 1e6 + this.#jumpedMs;
        words[0] = Math.floor(ms / 1000);
        words[2] = Math.round((ms % 1000) * 1e6);
        return result;
      },
    };
  }
}
