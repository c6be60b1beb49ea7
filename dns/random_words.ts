/**
 * Random 16-bit numbers that nobody can guess, drawn in stock: one call of the generator for thousands of them.
 *
 * @module
 */

const STOCK = 4096;

/** A stock of them. */
export class RandomWords {
  readonly #words = new Uint16Array(STOCK);
  #used = STOCK;

  /** 0 to 65535. */
  next(): number {
    if (this.#used === STOCK) {
      crypto.getRandomValues(this.#words);
      this.#used = 0;
    }
    return this.#words[this.#used++]!;
  }
}
