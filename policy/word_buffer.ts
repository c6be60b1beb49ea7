/**
 * Words that are written one piece behind the other, until it is known how many there are.
 *
 * @module
 */

/** Grows as it is written. */
export class WordBuffer {
  /** Its memory; another one after {@linkcode WordBuffer.reserve}. */
  words: Uint32Array = new Uint32Array(1024);
  length = 0;

  /** Room for so many more, of zeros. @returns where it begins. */
  reserve(count: number): number {
    const at = this.length;
    this.length += count;
    if (this.length > this.words.length) {
      const words = new Uint32Array(Math.max(this.length, 2 * this.words.length));
      words.set(this.words);
      this.words = words;
    }
    return at;
  }
}
