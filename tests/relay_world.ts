/**
 * Connections of the real relay (Connection, HalfPipe, PipePool, Reactor) over the simulated kernel, and the two
 * peers of each: what they have sent, what has reached them, and what must be true of both.
 *
 * @module
 */
import { archOf, Arena, ETIMEDOUT, Reactor } from "../ffi/mod.ts";
import { Connection } from "../tcp/connection.ts";
import type { PipePool } from "../tcp/pipe_pool.ts";
import type { TcpSettings } from "../tcp/settings.ts";
import type { ConnectionEnd } from "../flow/connection_end.ts";
import { CARRIER_BYTES, makeCarrier } from "../tcp/carrier.ts";
import { CONTEXT_BYTES, TcpContext } from "../tcp/worker_context.ts";
import { COUNTERS, counterSlot } from "../dataplane/stats.ts";
import { assert, assertEquals, assertGreaterOrEqual, assertLessOrEqual } from "./assert.ts";
import { FakeKernel } from "./fake_kernel.ts";
import { FakeSocket } from "./fake_socket.ts";
import { directRouting } from "./direct_routing.ts";
import { tcpCounters } from "./tcp_counters.ts";

/** Timeouts of the relay under test. */
export const CONNECT_TIMEOUT_MS = 3_000, IDLE_TIMEOUT_MS = 10_000, HALF_CLOSED_TIMEOUT_MS = 5_000;
/** Age at which the relay asks for keepalive probes of a destination. */
export const KEEPALIVE_SECONDS = 4;

const SETTINGS: TcpSettings = {
  mode: "tproxy",
  port: 7870,
  ownPorts: [7870],
  direction: undefined,
  dns: true,
  source: "own",
  listenerMark: 0,
  dialMark: 0,
  maxConnections: 100,
  maxConnectionsPerClient: 0,
  connectTimeoutMs: CONNECT_TIMEOUT_MS,
  idleTimeoutMs: IDLE_TIMEOUT_MS,
  halfClosedTimeoutMs: HALF_CLOSED_TIMEOUT_MS,
  keepaliveSeconds: KEEPALIVE_SECONDS,
  userTimeoutMs: 0,
};

/** Byte number `position` of a stream: no two streams are alike, and no stretch of one repeats soon. */
function fill(stream: number, position: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0, at = position; i < length; i++, at++) {
    bytes[i] = at * 167 + (at >> 8) * 59 + (at >> 16) * 83 + stream * 101;
  }
  return bytes;
}

/** Whoever is at the other end of one of the relay's sockets. */
export class Peer {
  sent = 0;
  received = 0;
  finished = false;
  /** Finished before it died, and every byte had been taken from the socket by then. */
  finishedInTime = false;
  diedOf = 0;
  /** Died before the relay had any event of its socket: accepted or not, to the relay it never was. */
  diedUnseen = false;

  constructor(readonly socket: FakeSocket, readonly stream: number) {}

  send(length: number): void {
    if (this.finished || !this.socket.isAlive) return;
    this.socket.peerSends(fill(this.stream, this.sent, length));
    this.sent += length;
  }

  finish(): void {
    if (!this.socket.isAlive) return;
    this.finished = true;
    this.socket.peerFinishes();
  }

  die(error: number): void {
    if (!this.socket.isAlive) return;
    this.finishedInTime = this.finished && this.socket.isDrained;
    this.diedOf = error;
    this.diedUnseen = this.socket.eventMs === 0;
    this.socket.peerDies(error);
  }

  /** Reads, and holds what it got against what `from` has sent. */
  read(length: number, from: Peer): void {
    const bytes = this.socket.peerReads(length);
    assertEquals(
      bytes,
      fill(from.stream, this.received, bytes.length),
      `stream ${from.stream} at ${this.received}`,
    );
    this.received += bytes.length;
    assertGreaterOrEqual(from.sent, this.received);
  }
}

/** One connection under test. */
export class Flow {
  readonly connection: Connection;
  connected = false;
  end: ConnectionEnd | undefined;
  endMs = 0;
  ownerToldOfEnd = 0;

  constructor(
    readonly world: RelayWorld,
    readonly client: Peer,
    readonly upstream: Peer,
  ) {
    upstream.socket.connect();
    const { context, kernel } = world;
    const [clientFd, upstreamFd] = [kernel.install(client.socket), kernel.install(upstream.socket)];
    const addresses = { client: new Uint8Array(28), destination: new Uint8Array(28) };
    world.flowOf.set(addresses.client, this);
    this.connection = new Connection(
      context,
      world,
      clientFd,
      upstreamFd,
      -1,
      addresses,
      false,
      world.reactor.now,
      undefined,
    );
    this.connection.start();
  }

  get isOpen(): boolean {
    return this.end === undefined;
  }

  get isHealthy(): boolean {
    return this.isOpen && this.client.diedOf === 0 && this.upstream.diedOf === 0;
  }

  accept(): void {
    if (this.connected || !this.upstream.socket.isAlive) return;
    this.connected = true;
    this.upstream.socket.peerAccepts();
  }

  /** Everything that was sent has arrived, and with it every end of stream. */
  assertDelivered(): void {
    for (const [from, to] of [[this.client, this.upstream], [this.upstream, this.client]] as const) {
      if (to.diedOf !== 0) continue;
      assertEquals(to.received, from.sent, `stream ${from.stream}: bytes that arrived, of those sent`);
      if (from.finished) assert(to.socket.peerSeesEnd, `stream ${from.stream}: no end of stream`);
    }
  }

  /** What is written in the flow record is what the peers have seen. */
  assertEndIsTrue(): void {
    const { end, client, upstream } = this;
    assert(end !== undefined, `streams ${client.stream} and ${upstream.stream} have not ended`);
    assertEquals(this.ownerToldOfEnd, 1);
    const died = [client, upstream].filter((peer) => peer.diedOf !== 0);
    if (end.reason === "closed") {
      for (const peer of died) {
        assert(peer.finishedInTime, `stream ${peer.stream} died and was called closed`);
      }
      this.assertDelivered();
      return;
    }
    for (const peer of [client, upstream]) {
      assertEquals(peer.socket.closed, "reset", `stream ${peer.stream}: ended by ${end.reason}`);
    }
    const blamed = end.side === "client" ? client : upstream;
    switch (end.reason) {
      case "reset":
        // Whatever it died of, a later send finds a broken pipe; but it must have died.
        assert(blamed.diedOf !== 0);
        break;
      case "lost":
        assertEquals(blamed.diedOf, ETIMEDOUT);
        break;
      case "refused":
        assert(upstream.diedUnseen);
        break;
      case "connect-timeout":
        assert(upstream.socket.eventMs === 0 || (upstream.diedUnseen && upstream.diedOf === ETIMEDOUT));
        break;
      case "idle-timeout":
        this.#assertSilentFor(IDLE_TIMEOUT_MS);
        break;
      case "upstream-failed":
        // Its upstream's fault, of which neither side of it knew.
        assertEquals(died, []);
        break;
      case "half-closed-timeout":
        assert(client.finished || upstream.finished);
        this.#assertSilentFor(HALF_CLOSED_TIMEOUT_MS);
        break;
      default:
        throw new Error(`ended by ${end.reason}, for which there was no cause`);
    }
  }

  /**
   * A timeout came when it was due, as far as the clock did not jump over that; timers have whole seconds. Bytes that
   * were queued for a peer, and those that it took without an event, put it off by one look each.
   */
  assertEndedInTime(clockRanFromMs: number): void {
    const reason = this.end!.reason;
    if (reason !== "idle-timeout" && reason !== "half-closed-timeout") return;
    const timeoutMs = reason === "idle-timeout" ? IDLE_TIMEOUT_MS : HALF_CLOSED_TIMEOUT_MS;
    const looks = this.client.socket.bytesGiven + this.upstream.socket.bytesGiven > 0 ? 3 : 1;
    const due = Math.max(clockRanFromMs, this.#eventMs() + timeoutMs);
    assertLessOrEqual(this.endMs, due + (looks - 1) * timeoutMs + looks * 1_400);
  }

  #eventMs(): number {
    return Math.max(this.client.socket.eventMs, this.upstream.socket.eventMs);
  }

  #assertSilentFor(timeoutMs: number): void {
    // Activity is stamped in ticks of 100 ms.
    assertGreaterOrEqual(this.endMs - this.#eventMs(), timeoutMs - 100);
  }
}

/** A worker's worth of relay. */
export class RelayWorld {
  readonly kernel = new FakeKernel(archOf());
  readonly reactor: Reactor;
  readonly context: TcpContext;
  readonly pipes: PipePool;
  readonly flows: Flow[] = [];
  readonly flowOf = new Map<Uint8Array, Flow>();
  readonly counters = new Float64Array(COUNTERS.length);

  constructor(readonly maxPipes: number) {
    const arena = new Arena(CONTEXT_BYTES + CARRIER_BYTES + 16 * 1024);
    const counters = tcpCounters(this.counters);
    const carrier = makeCarrier(this.kernel, arena, counters, maxPipes);
    this.pipes = carrier.pipes;
    this.reactor = new Reactor(this.kernel, arena, archOf());
    this.context = new TcpContext({
      sys: this.kernel,
      arena,
      reactor: this.reactor,
      settings: SETTINGS,
      carrier,
      resolvers: [],
      routing: directRouting(),
      counters,
      openConnections: new Int32Array(1),
      clientLimit: undefined,
      onFlow: (client, _destination, _local, bytesUp, bytesDown, _durationMs, end) => {
        const flow = this.flowOf.get(client)!;
        flow.end = end;
        flow.endMs = this.kernel.nowMs;
        assertEquals(bytesUp, flow.upstream.socket.bytesGiven);
        assertEquals(bytesDown, flow.client.socket.bytesGiven);
      },
      onWarning: () => {},
    });
  }

  openFlow(receiveCapacity: number, sendCapacity: number): void {
    const stream = 2 * this.flows.length;
    const socket = () => new FakeSocket(receiveCapacity, sendCapacity);
    this.flows.push(new Flow(this, new Peer(socket(), stream), new Peer(socket(), stream + 1)));
  }

  onConnectionEnd(connection: Connection): void {
    this.flows.find((flow) => flow.connection === connection)!.ownerToldOfEnd++;
  }

  /** Bytes taken and not handed over are in pipes, of which there are not too many: none is lost, none twice. */
  assertBytesAccountedFor(): void {
    assertLessOrEqual(this.pipes.count, this.maxPipes);
    assertEquals(this.counters[counterSlot("pipesNow")], this.pipes.count);
    const held = this.flows.filter((flow) => flow.isOpen).reduce(
      (sum, { client, upstream }) =>
        sum + client.socket.bytesTaken - upstream.socket.bytesGiven +
        upstream.socket.bytesTaken - client.socket.bytesGiven,
      0,
    );
    assertEquals(this.kernel.bytesInPipes, held, "bytes in pipes");
  }

  /** Everything is given back once every connection has ended. */
  assertNothingLeft(): void {
    assertEquals(this.reactor.timers.size, 0, "timers");
    assertEquals(
      this.kernel.openDescriptors,
      1 + 2 * this.pipes.count,
      "descriptors: epoll and pipes",
    );
    this.pipes.close();
    assertEquals(
      this.kernel.openDescriptors,
      1,
      "descriptors when the pool is closed: a pipe was not given back",
    );
    assertEquals(this.pipes.count, 0);
  }
}
