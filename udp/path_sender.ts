/**
 * Puts datagrams of one client on the path of an upstream, each with the path's header in front. A single datagram gets
 * it where it lies; those that the kernel has merged are copied apart and leave as one message again, as do those that
 * had to wait.
 *
 * @module
 */
import { HEADROOM_BYTES, SOCKADDR_IN6_BYTES } from "../ffi/mod.ts";
import type { DatagramFraming } from "../flow/mod.ts";
import type { Carriage } from "./carriage.ts";
import { MAX_MESSAGE_BYTES, MAX_SEGMENTS, NAMELESS, type Outbox, type SendObserver } from "./outbox.ts";
import { withCodepoint } from "./traffic_class.ts";
import type { WaitingDatagram } from "./waiting_datagrams.ts";

/** A sockaddr, and what aligns what follows. */
const NAME_BYTES = SOCKADDR_IN6_BYTES + 4;

/** A path, and the socket that leads to it. */
export interface SenderPath {
  readonly fd: number;
  /** Of which family the socket is. */
  readonly isV4: boolean;
  /** Whether the socket is connected, and so sends to nowhere else. */
  readonly isConnected: boolean;
  readonly framing: DatagramFraming | undefined;
  /** Codepoint of what is sent; undefined: the client's. */
  readonly dscp: number | undefined;
}

/** One session's. */
export class PathSender {
  /** Bytes of the header of the last datagram: of all, since destinations are of the client's family. */
  headerBytes = 0;
  readonly path: SenderPath;
  readonly #context: Carriage;
  readonly #observer: SendObserver;
  readonly #outbox: Outbox;

  constructor(context: Carriage, observer: SendObserver, path: SenderPath) {
    this.path = path;
    this.#context = context;
    this.#observer = observer;
    this.#outbox = path.isV4 ? context.outbox4 : context.outbox6;
  }

  /**
   * Sends a datagram, or several that were received as one. There is {@linkcode HEADROOM_BYTES} in front of it.
   *
   * @param clientAt where the client's sockaddr lies, `destinationAt`: that of where it is going.
   */
  send(
    clientAt: number,
    destinationAt: number,
    trafficClass: number,
    payloadAt: number,
    length: number,
    segmentBytes: number,
  ): void {
    const { framing } = this.path;
    if (framing === undefined) {
      this.#add(destinationAt, trafficClass, payloadAt, length, segmentBytes);
    } else if (segmentBytes === 0 || segmentBytes >= length) {
      this.#writeHeader(framing, clientAt, destinationAt, payloadAt);
      const header = this.headerBytes;
      this.#add(destinationAt, trafficClass, payloadAt - header, length + header, 0);
    } else {
      this.#sendMerged(framing, clientAt, destinationAt, trafficClass, payloadAt, length, segmentBytes);
    }
  }

  /** Sends a datagram that has waited. */
  sendWaiting(clientAt: number, { destination, payload, trafficClass }: WaitingDatagram): void {
    const context = this.#context, { stage, arena } = context;
    const bytes = NAME_BYTES + HEADROOM_BYTES + payload.length + 3 & -4;
    if (this.#outbox.isFull || !stage.hasRoom(bytes)) context.flushOutboxes();
    const nameAt = stage.take(bytes), payloadAt = nameAt + NAME_BYTES + HEADROOM_BYTES;
    arena.bytes.set(destination, nameAt);
    arena.bytes.set(payload, payloadAt);
    this.send(clientAt, nameAt, trafficClass, payloadAt, payload.length, 0);
  }

  #sendMerged(
    framing: DatagramFraming,
    clientAt: number,
    destinationAt: number,
    trafficClass: number,
    payloadAt: number,
    length: number,
    segmentBytes: number,
  ): void {
    const context = this.#context, { stage, arena: { bytes } } = context;
    const most = Math.floor(MAX_MESSAGE_BYTES / (segmentBytes + framing.maxHeaderBytes));
    const step = Math.max(1, Math.min(MAX_SEGMENTS, most)) * segmentBytes;
    for (let from = 0; from < length; from += step) {
      // One inbox has room in the outbox for one message a datagram, and the stage for one message.
      context.flushOutboxes();
      const start = stage.take(0) + HEADROOM_BYTES;
      const end = Math.min(from + step, length);
      let to = start;
      for (let at = from; at < end; at += segmentBytes) {
        const size = Math.min(segmentBytes, end - at);
        to += framing.writeHeader(clientAt, destinationAt, to);
        if (at === from) this.headerBytes = to - start;
        bytes.copyWithin(to, payloadAt + at, payloadAt + at + size);
        to += size;
      }
      this.#add(destinationAt, trafficClass, start, to - start, segmentBytes + this.headerBytes);
    }
    context.flushOutboxes();
  }

  /** Writes the header right in front of the payload. How long it is, is known when it has been written. */
  #writeHeader(framing: DatagramFraming, clientAt: number, destinationAt: number, payloadAt: number): void {
    const at = payloadAt - framing.maxHeaderBytes;
    const length = this.headerBytes = framing.writeHeader(clientAt, destinationAt, at);
    if (length < framing.maxHeaderBytes) {
      this.#context.arena.bytes.copyWithin(payloadAt - length, at, at + length);
    }
  }

  #add(
    destinationAt: number,
    trafficClass: number,
    at: number,
    length: number,
    segmentBytes: number,
  ): void {
    const { fd, isConnected, dscp } = this.path;
    const nameAt = isConnected ? NAMELESS : destinationAt;
    this.#outbox.add(
      fd,
      this.#observer,
      nameAt,
      0,
      withCodepoint(trafficClass, dscp),
      at,
      length,
      segmentBytes,
      this.headerBytes,
    );
  }
}
