/**
 * One block of memory a worker owns for as long as it lives, and hands out in pieces at start-up.
 *
 * The garbage collector cannot see an address that is stored inside a C struct: a buffer whose only mention is
 * such an address is freed while the kernel still writes to it. Everything whose address is stored or passed
 * is therefore cut from this one object, which the reactor keeps hold of. Nothing is ever given back.
 *
 * @module
 */

/** A piece of the arena: the same bytes as views for JavaScript and as a pointer for C. */
export interface Block {
  /** Bytes from the start of the arena. */
  readonly offset: number;
  readonly length: number;
  /** Address of the first byte, made once (making one costs 260 ns). */
  readonly pointer: Deno.PointerValue;
  readonly bytes: Uint8Array;
  /** The same as 32-bit words, where offset and length allow: every block is aligned to 64 bytes. */
  readonly words: Int32Array;
}

/** Cache line: no two blocks share one. */
const ALIGNMENT = 64;

/** Addresses in one such span have the same upper half. */
const SPAN = 2 ** 32;

/** Memory for everything that C sees. */
export class Arena {
  /** All of it, by offset. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** All of it as 32-bit words: the word at a block's offset is `offset >> 2`. */
  readonly words: Int32Array<ArrayBuffer>;
  /** Upper half of every address in the arena, signed, as it is stored in a struct. */
  readonly addressHigh: number;
  readonly #memory: ArrayBuffer;
  readonly #base: bigint;
  readonly #baseLow: number;
  #used: number;

  /** @param capacity bytes in all; asking for more later is a mistake in the sum, and throws. */
  constructor(capacity: number) {
    this.#memory = new ArrayBuffer((capacity + ALIGNMENT + 3) & -4);
    this.#base = addressOf(this.#memory);
    // Two blocks that live at once cannot cross the same boundary.
    if (crossesSpan(this.#base, capacity)) {
      const crossing = this.#memory;
      this.#memory = new ArrayBuffer(crossing.byteLength);
      this.#base = addressOf(this.#memory);
    }
    this.bytes = new Uint8Array(this.#memory);
    this.words = new Int32Array(this.#memory);
    this.addressHigh = Number(BigInt.asIntN(32, this.#base >> 32n));
    this.#baseLow = Number(BigInt.asIntN(32, this.#base));
    // The allocator aligns to 16 only: skip to the first cache line.
    this.#used = Number(-this.#base & BigInt(ALIGNMENT - 1));
  }

  /** Lower half of the address of a byte, signed, as it is stored in a struct. */
  addressLow(offset: number): number {
    return this.#baseLow + offset | 0;
  }

  /**
   * Cuts off the next piece, zeroed.
   *
   * @throws {RangeError} when the arena is used up.
   */
  allocate(length: number): Block {
    const offset = this.#used;
    const padded = (length + ALIGNMENT - 1) & -ALIGNMENT;
    if (offset + padded > this.#memory.byteLength) {
      throw new RangeError(
        `arena: ${length} bytes wanted, ${
          this.#memory.byteLength - offset
        } of ${this.#memory.byteLength} left`,
      );
    }
    this.#used += padded;
    return {
      offset,
      length,
      pointer: this.pointerAt(offset),
      bytes: new Uint8Array(this.#memory, offset, length),
      words: new Int32Array(this.#memory, offset, length >> 2),
    };
  }

  /** Address of a byte of the arena. Costs 260 ns: for start-up and rare paths. */
  pointerAt(offset: number): Deno.PointerValue {
    return Deno.UnsafePointer.create(this.#base + BigInt(offset));
  }
}

function addressOf(memory: ArrayBuffer): bigint {
  return Deno.UnsafePointer.value(Deno.UnsafePointer.of(new Uint8Array(memory)));
}

function crossesSpan(base: bigint, length: number): boolean {
  return Number(base % BigInt(SPAN)) + length + ALIGNMENT > SPAN;
}
