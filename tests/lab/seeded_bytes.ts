/**
 * Pseudo-random bytes that both ends of a test can make from a seed, so that a transfer of any size is checked
 * without being kept. The same seed gives the same bytes however they are cut into pieces.
 *
 * @module
 */
import { createHash } from "node:crypto";

const BLOCK_BYTES = 64 * 1024;

/** A stream of bytes that depends on the seed alone. */
export class SeededBytes {
  readonly #words = new Uint32Array(BLOCK_BYTES / 4);
  readonly #block = new Uint8Array(this.#words.buffer);
  #state: number;
  #offset = BLOCK_BYTES;

  constructor(seed: number) {
    // xorshift stays at zero once it is there; the odd factor spreads small seeds over all 32 bits.
    this.#state = Math.imul(seed + 1, 0x9e3779b1) || 1;
  }

  /** The next bytes: at least one, at most `limit`. The view is valid until the next call. */
  next(limit: number): Uint8Array<ArrayBuffer> {
    if (this.#offset === BLOCK_BYTES) this.#refill();
    const start = this.#offset;
    this.#offset = Math.min(BLOCK_BYTES, start + limit);
    return this.#block.subarray(start, this.#offset);
  }

  #refill(): void {
    let x = this.#state;
    for (let i = 0; i < this.#words.length; i++) {
      // xorshift32 (Marsaglia 2003): full period over the non-zero words.
      x ^= x << 13;
      x ^= x >>> 17;
      x ^= x << 5;
      this.#words[i] = x;
    }
    this.#state = x;
    this.#offset = 0;
  }
}

/** Sizes of writes, 1 to 65536 bytes and mostly odd, that depend on the seed alone. */
export class RaggedSizes {
  readonly #bytes: SeededBytes;

  constructor(seed: number) {
    this.#bytes = new SeededBytes(seed ^ 0x5bd1e995);
  }

  /** Small and large sizes are both common: the number of bits is drawn first. */
  next(): number {
    const [bits, low, high] = [this.#byte(), this.#byte(), this.#byte()];
    return 1 + ((high << 8 | low) & ((1 << bits % 17) - 1));
  }

  #byte(): number {
    return this.#bytes.next(1)[0]!;
  }
}

/** SHA-256, in hex, of the first `bytes` bytes that a seed gives. */
export function seededSha256(seed: number, bytes: number): string {
  const hash = createHash("sha256");
  const source = new SeededBytes(seed);
  for (let left = bytes; left > 0;) {
    const piece = source.next(left);
    hash.update(piece);
    left -= piece.length;
  }
  return hash.digest("hex");
}
