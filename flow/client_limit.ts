/**
 * How many flows (TCP connections, or UDP sessions) each client has, counted over all workers in shared memory.
 *
 * An open-addressed table of (key, count) pairs, see client_key.ts. A flow remembers the slot it was counted in
 * and gives back that slot, whatever key is in it by then; so a slot whose count has fallen to zero may be taken
 * over by another client at any moment, and no lock is needed.
 *
 * @module
 */
import { clientKey } from "./client_key.ts";

/** How far from its home a key may lie. */
const MAX_PROBES = 32;

/** The client has as many flows as it may have. */
export const REFUSED = -1;
/** The table is full of other clients: the flow is not counted. */
export const UNCOUNTED = -2;

/** The table as one worker sees it. */
export class ClientLimit {
  readonly #cells: Int32Array;
  readonly #mask: number;
  readonly #limit: number;
  readonly #seed: number;
  readonly #share: Int32Array | undefined;

  /**
   * @param memory pairs of Int32 (key, count), zeroed at first; a power of two of them.
   * @param limit flows a client may have.
   * @param seed of the keys: the same in all workers, and known to nobody else.
   * @param share where this worker's part of each count is noted, an Int32 each; for {@linkcode giveBackShare}.
   */
  constructor(memory: SharedArrayBuffer, limit: number, seed: number, share?: SharedArrayBuffer) {
    this.#cells = new Int32Array(memory);
    this.#share = share && new Int32Array(share);
    this.#mask = this.#cells.length / 2 - 1;
    this.#limit = limit;
    this.#seed = seed;
    if (!Number.isInteger(Math.log2(this.#cells.length)) || this.#mask < 0) {
      throw new RangeError(`client table: ${memory.byteLength / 8} pairs found, a power of two wanted`);
    }
  }

  /**
   * Counts one more flow of a client.
   *
   * @param sockaddr the client's address, as `sockaddr_in` or `sockaddr_in6` bytes.
   * @returns the slot to give back when the flow ends, REFUSED or UNCOUNTED.
   */
  acquire(sockaddr: Uint8Array): number {
    const key = clientKey(sockaddr, this.#seed);
    for (let probe = 0; probe < MAX_PROBES; probe++) {
      const slot = (key + probe) & this.#mask;
      const found = Atomics.load(this.#cells, 2 * slot);
      if (found === key) return this.#count(slot, key);
      if (found === 0) {
        const before = Atomics.compareExchange(this.#cells, 2 * slot, 0, key);
        if (before === 0 || before === key) return this.#count(slot, key);
      }
    }
    return this.#takeOver(key);
  }

  /** Gives back what `acquire` returned. */
  release(slot: number): void {
    if (slot < 0) return;
    Atomics.sub(this.#cells, 2 * slot + 1, 1);
    if (this.#share !== undefined) this.#share[slot]!--;
  }

  #count(slot: number, key: number): number {
    const before = Atomics.add(this.#cells, 2 * slot + 1, 1);
    // Another worker may have taken the slot over between the look at its key and the count.
    const stillOurs = Atomics.load(this.#cells, 2 * slot) === key;
    if (stillOurs && before < this.#limit) {
      if (this.#share !== undefined) this.#share[slot]!++;
      return slot;
    }
    Atomics.sub(this.#cells, 2 * slot + 1, 1);
    return stillOurs ? REFUSED : UNCOUNTED;
  }

  /** Every place is another client's: takes one that has no flow now. */
  #takeOver(key: number): number {
    for (let probe = 0; probe < MAX_PROBES; probe++) {
      const slot = (key + probe) & this.#mask;
      const found = Atomics.load(this.#cells, 2 * slot);
      if (Atomics.load(this.#cells, 2 * slot + 1) !== 0) continue;
      const before = Atomics.compareExchange(this.#cells, 2 * slot, found, key);
      if (before !== found && before !== key) continue;
      // The slot's last client may have come back at this very moment: its flows are not this one's.
      const taken = this.#count(slot, key);
      return taken === REFUSED && before === found ? UNCOUNTED : taken;
    }
    return UNCOUNTED;
  }
}

/** Gives back what a worker that is no more had counted in the table. */
export function giveBackShare(memory: SharedArrayBuffer, share: SharedArrayBuffer): void {
  const cells = new Int32Array(memory), counts = new Int32Array(share);
  for (const [slot, count] of counts.entries()) {
    if (count === 0) continue;
    counts[slot] = 0;
    Atomics.sub(cells, 2 * slot + 1, count);
  }
}
