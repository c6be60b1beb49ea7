/**
 * How long to wait before the next try: longer after each one, short again after a success that lasted.
 *
 * @module
 */
const FIRST_MS = 100;
const LONGEST_MS = 10_000;
/** What lived so long was a success, and its end a new trouble. */
const LASTING_MS = 30_000;

/** The waits of one thing that is tried again and again. */
export class BackOff {
  #nextMs = FIRST_MS;

  /**
   * @param livedMs how long the last try held.
   * @returns milliseconds to wait before the next one.
   */
  next(livedMs: number): number {
    if (livedMs >= LASTING_MS) this.#nextMs = FIRST_MS;
    const wait = this.#nextMs;
    this.#nextMs = Math.min(2 * wait, LONGEST_MS);
    return wait;
  }
}
