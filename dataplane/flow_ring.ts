/**
 * Records of finished flows on their way from a worker to the control plane: a bounded ring in shared memory.
 *
 * One writer (the worker), one reader (the control plane), neither ever waits: when the ring is full the record
 * is dropped and the writer says so, for the caller to count. Records have a fixed size, so no byte of one is
 * ever looked at before the index that publishes it.
 *
 * @module
 */
import { addressFromBytes, type Endpoint, type Protocol, unmapV4 } from "../net/mod.ts";

/** Why a flow ended. `side` in {@linkcode FlowEnd} says whose doing it was. */
export const END_REASONS = [
  /** Both directions reached their end of stream. */
  "closed",
  /** A reset. */
  "reset",
  /** The destination refused the connection (RST to our SYN). */
  "refused",
  /** The destination, its host or its network cannot be reached (ICMP, no route). */
  "unreachable",
  /** No answer within the connect timeout. */
  "connect-timeout",
  /** Nothing carried for the idle timeout. */
  "idle-timeout",
  /** One direction closed and the other carried nothing for the half-closed timeout. */
  "half-closed-timeout",
  /** Retransmissions or keepalive probes went unanswered (ETIMEDOUT). */
  "lost",
  /** A limit of ours, or a lack of file descriptors, stood in the way; or a UDP session made room for a newer one. */
  "limit",
  /** We were stopping and the drain timeout had passed. */
  "shutdown",
  /** Any other error of a socket. */
  "error",
  /** The upstream's server cannot be reached, closed within the handshake, or does not speak the protocol. */
  "upstream-failed",
  /** The upstream's server takes neither our name nor our password. */
  "upstream-auth",
  /** The upstream's server does not let us go there. */
  "denied",
  /** The policy blocks such flows. */
  "blocked",
] as const;
/** Why a flow ended. */
export type EndReason = (typeof END_REASONS)[number];

/** Whose doing the end was. */
export const END_SIDES = ["client", "upstream", "proxy"] as const;
/** Whose doing the end was. */
export type EndSide = (typeof END_SIDES)[number];

/** How a flow ended. The side of `closed` is the one whose end of stream came first. */
export interface FlowEnd {
  /** What happened. */
  readonly reason: EndReason;
  /** Where it happened first. */
  readonly side: EndSide;
}

/** Of a pod's connections: those to it, or those from it. */
export type FlowDirection = "inbound" | "outbound";
/** As records carry them: 0 for a flow that is no pod's. */
const DIRECTIONS: readonly (FlowDirection | undefined)[] = [undefined, "inbound", "outbound"];

/** What all flows of one listener have in common. */
export interface FlowKind {
  /** IPPROTO_TCP or IPPROTO_UDP. */
  readonly protocol: number;
  readonly direction: FlowDirection | undefined;
}

/** By which upstream a flow left. */
export interface RouteNumber {
  /** Of the routing that it was chosen from. */
  readonly generation: number;
  /** Its number there. */
  readonly id: number;
}

/** Of a flow that no router was asked for: DNS that resolvers of ours answer, connections to a pod. */
export const NO_ROUTE = 0xff;

/** As {@linkcode FlowRingWriter.write} takes it: both numbers in one. */
export function routeWord(generation: number, id: number): number {
  return generation << 8 | id;
}

/** One finished flow. */
export interface FlowRecord {
  readonly protocol: Protocol;
  /** Absent where it is no pod's. */
  readonly direction: FlowDirection | undefined;
  readonly client: Endpoint;
  readonly destination: Endpoint;
  /** Our socket towards the destination: the source address and port that the server sees; absent when none was bound. */
  readonly local: Endpoint | undefined;
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** Datagrams that were passed on; 0 for TCP. */
  readonly datagramsUp: number;
  readonly datagramsDown: number;
  readonly durationMs: number;
  readonly end: FlowEnd;
  /** Absent where no router was asked. */
  readonly route: RouteNumber | undefined;
}

/** Header: two Int32 indexes (records written, records read; modulo 2^32), and the reader-asleep flag. */
const HEADER_BYTES = 64;
const WRITTEN = 0, READ = 1, ASLEEP = 2;

/*
 * A record, offsets in bytes:
 *   0  u8 protocol, u8 reason, u8 side, u8 1 when there is a local endpoint, u8 direction, u8 route, u16 generation
 *   8  f64 bytesUp        16 f64 bytesDown
 *  24  f64 datagramsUp    32 f64 datagramsDown    40 f64 durationMs
 *  48  client, 68 destination, 88 local: u16 port, u8 family, u8 zero, 16 bytes address
 */
const RECORD_BYTES = 112;
const ROUTE_AT = 5, GENERATION_AT = 6;
const CLIENT_AT = 48, DESTINATION_AT = 68, LOCAL_AT = 88;

/** Bytes of shared memory for a ring of `records` (a power of two). */
export function flowRingBytes(records: number): number {
  return HEADER_BYTES + records * RECORD_BYTES;
}

/** What both ends share: the indexes and the slots. */
class RingView {
  protected readonly index: Int32Array;
  protected readonly bytes: Uint8Array;
  protected readonly data: DataView;
  protected readonly mask: number;
  constructor(memory: SharedArrayBuffer) {
    const records = (memory.byteLength - HEADER_BYTES) / RECORD_BYTES;
    if (!Number.isInteger(Math.log2(records))) {
      throw new RangeError(`flow ring: ${records} records found, a power of two wanted`);
    }
    this.index = new Int32Array(memory, 0, 3);
    this.bytes = new Uint8Array(memory);
    this.data = new DataView(memory);
    this.mask = records - 1;
  }
  protected slotAt(position: number): number {
    return HEADER_BYTES + (position & this.mask) * RECORD_BYTES;
  }
}

/** An endpoint as the data plane holds it: `sockaddr_in` or `sockaddr_in6` bytes. */
export type SockaddrBytes = Uint8Array;

/** The worker's end. */
export class FlowRingWriter extends RingView {
  /**
   * Appends one record.
   *
   * @param route of {@linkcode routeWord}, or {@linkcode NO_ROUTE}.
   * @returns "written", "wake" (written, and the reader sleeps: send it a message), or "dropped" (full).
   */
  write(
    kind: FlowKind,
    client: SockaddrBytes,
    destination: SockaddrBytes,
    local: SockaddrBytes | undefined,
    bytesUp: number,
    bytesDown: number,
    datagramsUp: number,
    datagramsDown: number,
    durationMs: number,
    end: FlowEnd,
    route: number,
  ): "written" | "wake" | "dropped" {
    const written = this.index[WRITTEN]!;
    if (((written - Atomics.load(this.index, READ)) | 0) > this.mask) return "dropped";
    const at = this.slotAt(written);
    this.bytes[at] = kind.protocol;
    this.bytes[at + 1] = END_REASONS.indexOf(end.reason);
    this.bytes[at + 2] = END_SIDES.indexOf(end.side);
    this.bytes[at + 3] = local === undefined ? 0 : 1;
    this.bytes[at + 4] = DIRECTIONS.indexOf(kind.direction);
    this.bytes[at + ROUTE_AT] = route;
    this.data.setUint16(at + GENERATION_AT, route >>> 8);
    this.data.setFloat64(at + 8, bytesUp);
    this.data.setFloat64(at + 16, bytesDown);
    this.data.setFloat64(at + 24, datagramsUp);
    this.data.setFloat64(at + 32, datagramsDown);
    this.data.setFloat64(at + 40, durationMs);
    this.writeEndpoint(at + CLIENT_AT, client);
    this.writeEndpoint(at + DESTINATION_AT, destination);
    if (local !== undefined) this.writeEndpoint(at + LOCAL_AT, local);
    Atomics.store(this.index, WRITTEN, (written + 1) | 0);
    return Atomics.exchange(this.index, ASLEEP, 0) === 1 ? "wake" : "written";
  }

  private writeEndpoint(at: number, sockaddr: SockaddrBytes): void {
    // sockaddr_in: family (host order, 2 on Linux) at 0, port at 2 (network order), address at 4.
    // sockaddr_in6: family 10 at 0, port at 2, flow label at 4, address at 8. See netinet/in.h.
    const isV4 = sockaddr[0] === 2;
    this.bytes[at] = sockaddr[2]!;
    this.bytes[at + 1] = sockaddr[3]!;
    this.bytes[at + 2] = isV4 ? 4 : 6;
    const from = isV4 ? 4 : 8, length = isV4 ? 4 : 16;
    for (let i = 0; i < length; i++) this.bytes[at + 4 + i] = sockaddr[from + i]!;
  }
}

/** The control plane's end. */
export class FlowRingReader extends RingView {
  /**
   * Takes every record that has been written. Afterwards the writer's next record answers "wake".
   */
  *drain(): Generator<FlowRecord> {
    for (;;) {
      const read = this.index[READ]!;
      if (read === Atomics.load(this.index, WRITTEN)) {
        if (Atomics.load(this.index, ASLEEP) === 1) return;
        Atomics.store(this.index, ASLEEP, 1);
        continue; // A record may have come in between the look and the flag.
      }
      const record = this.recordAt(this.slotAt(read));
      Atomics.store(this.index, READ, (read + 1) | 0);
      yield record;
    }
  }

  private recordAt(at: number): FlowRecord {
    return {
      protocol: this.bytes[at] === IPPROTO_TCP ? "tcp" : "udp",
      direction: DIRECTIONS[this.bytes[at + 4]!],
      client: this.endpointAt(at + CLIENT_AT),
      destination: this.endpointAt(at + DESTINATION_AT),
      local: this.bytes[at + 3] === 1 ? this.endpointAt(at + LOCAL_AT) : undefined,
      bytesUp: this.data.getFloat64(at + 8),
      bytesDown: this.data.getFloat64(at + 16),
      datagramsUp: this.data.getFloat64(at + 24),
      datagramsDown: this.data.getFloat64(at + 32),
      durationMs: this.data.getFloat64(at + 40),
      end: { reason: END_REASONS[this.bytes[at + 1]!]!, side: END_SIDES[this.bytes[at + 2]!]! },
      route: this.routeAt(at),
    };
  }

  private routeAt(at: number): RouteNumber | undefined {
    const id = this.bytes[at + ROUTE_AT]!;
    return id === NO_ROUTE ? undefined : { generation: this.data.getUint16(at + GENERATION_AT), id };
  }

  private endpointAt(at: number): Endpoint {
    const length = this.bytes[at + 2] === 4 ? 4 : 16;
    return {
      // A dual-stack listener names IPv4 peers ::ffff:a.b.c.d; the flow was IPv4.
      address: unmapV4(addressFromBytes(this.bytes.slice(at + 4, at + 4 + length))),
      port: this.data.getUint16(at),
    };
  }
}

/** Protocol numbers as records carry them (IANA). */
export const IPPROTO_TCP = 6;
/** Protocol numbers as records carry them (IANA). */
export const IPPROTO_UDP = 17;
