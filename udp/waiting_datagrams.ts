/**
 * Datagrams of a client that wait until the path of an upstream has been opened: a bounded queue, in memory of its own.
 *
 * @module
 */

/** What waits for one session at most; nothing is lost below that. */
export const MAX_WAITING = 256;
export const MAX_WAITING_BYTES = 256 * 1024;
/** What waits for all sessions of a worker at most; also of empty ones a memory holds only so many. */
export const MAX_WORKER_BYTES = 16 << 20;
/** What one takes beside its payload, as measured with a million. */
export const OBJECT_BYTES = 1024;

/** What waits in all of a worker's queues. */
export interface WaitingBytes {
  bytes: number;
}

/** One datagram. */
export interface WaitingDatagram {
  /** sockaddr bytes. */
  readonly destination: Uint8Array;
  readonly payload: Uint8Array;
  readonly trafficClass: number;
  readonly dontFragment: boolean;
}

/** One session's. */
export class WaitingDatagrams {
  readonly #all: WaitingBytes;
  readonly #queue: WaitingDatagram[] = [];
  #bytes = 0;

  constructor(all: WaitingBytes) {
    this.#all = all;
  }

  /** Whether there is room for a datagram of that length. */
  hasRoom(length: number): boolean {
    return this.#queue.length < MAX_WAITING && this.#bytes + length <= MAX_WAITING_BYTES &&
      this.#all.bytes + OBJECT_BYTES + length <= MAX_WORKER_BYTES;
  }

  /** Queues a datagram that there is room for. */
  push(datagram: WaitingDatagram): void {
    this.#queue.push(datagram);
    this.#bytes += datagram.payload.length;
    this.#all.bytes += OBJECT_BYTES + datagram.payload.length;
  }

  /** Takes all, the first one first. */
  drain(): WaitingDatagram[] {
    this.#all.bytes -= this.#queue.length * OBJECT_BYTES + this.#bytes;
    this.#bytes = 0;
    return this.#queue.splice(0);
  }
}
