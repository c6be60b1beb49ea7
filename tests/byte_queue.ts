/**
 * Bytes in the order in which they came: the inside of a simulated socket buffer.
 *
 * @module
 */

/** A first-in first-out queue of bytes. */
export class ByteQueue {
  #memory = new Uint8Array(4096);
  #from = 0;
  #to = 0;

  get length(): number {
    return this.#to - this.#from;
  }

  push(bytes: Uint8Array): void {
    if (this.#to + bytes.length > this.#memory.length) {
      const grown = new Uint8Array(2 * (this.length + bytes.length));
      grown.set(this.#memory.subarray(this.#from, this.#to));
      this.#to = this.length;
      this.#from = 0;
      this.#memory = grown;
    }
    this.#memory.set(bytes, this.#to);
    this.#to += bytes.length;
  }

  /** A copy of the first `length` bytes, or of all there are. */
  peek(length: number): Uint8Array {
    return this.#memory.slice(this.#from, Math.min(this.#to, this.#from + length));
  }

  take(length: number): Uint8Array {
    const taken = this.peek(length);
    this.#from += taken.length;
    return taken;
  }

  clear(): void {
    this.#from = this.#to = 0;
  }
}
