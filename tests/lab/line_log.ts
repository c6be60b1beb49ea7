/**
 * The lines a process has printed so far, and waiting for one that is still to come.
 *
 * @module
 */
import { DeadlineError, within } from "./deadline.ts";

/** Reads a stream to its end as it comes and keeps its lines. */
export class LineLog {
  readonly lines: string[] = [];
  /** Settles when the stream has ended. */
  readonly ended: Promise<void>;
  #isEnded = false;
  #change = Promise.withResolvers<void>();

  constructor(stream: ReadableStream<Uint8Array>) {
    this.ended = this.#collect(stream);
  }

  async #collect(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    let partial = "";
    try {
      for await (const chunk of stream) {
        const pieces = (partial + decoder.decode(chunk, { stream: true })).split("\n");
        partial = pieces.pop()!;
        this.lines.push(...pieces);
        if (pieces.length > 0) this.#wake();
      }
    } finally {
      if (partial !== "") this.lines.push(partial);
      this.#isEnded = true;
      this.#wake();
    }
  }

  #wake(): void {
    this.#change.resolve();
    this.#change = Promise.withResolvers();
  }

  /**
   * The first line, from line `from` on, for which `pick` gives something other than undefined: printed already
   * or still to come.
   *
   * @throws {DeadlineError} after `timeoutMs`. @throws {Error} when the stream ends without such a line.
   */
  async waitFor<T>(
    pick: (line: string, index: number) => T | undefined,
    timeoutMs: number,
    from = 0,
  ): Promise<T> {
    const deadline = performance.now() + timeoutMs;
    for (let index = from;;) {
      for (; index < this.lines.length; index++) {
        const picked = pick(this.lines[index]!, index);
        if (picked !== undefined) return picked;
      }
      if (this.#isEnded) throw new Error(`the output ended without the line waited for:\n${this.tail()}`);
      try {
        await within(this.#change.promise, Math.max(0, deadline - performance.now()), "line");
      } catch (error) {
        if (!(error instanceof DeadlineError)) throw error;
        throw new DeadlineError(`no such line within ${timeoutMs} ms; the output so far:\n${this.tail()}`);
      }
    }
  }

  /** Everything so far, each line with its end. */
  text(): string {
    return this.lines.map((line) => `${line}\n`).join("");
  }

  /** The last lines, for error messages. */
  tail(count = 20): string {
    return this.lines.slice(-count).join("\n");
  }
}
