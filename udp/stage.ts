/**
 * Memory for datagrams that cannot be sent from where they lie: those that have waited, and those that the kernel has
 * merged and that need a header each.
 *
 * @module
 */
import type { Arena, Block } from "../ffi/mod.ts";

/** The longest datagram with its header, and as many usual ones as a batch has. */
const STAGE_BYTES = 160 * 1024;

/** Arena bytes that a stage takes. */
export const STAGE_ARENA_BYTES = STAGE_BYTES + 64;

/** Handed out from its beginning to its end, and then all of it again. */
export class Stage {
  readonly #block: Block;
  #used = 0;

  constructor(arena: Arena) {
    this.#block = arena.allocate(STAGE_BYTES);
  }

  /** Whether so many bytes are left. */
  hasRoom(bytes: number): boolean {
    return this.#used + bytes <= STAGE_BYTES;
  }

  /** The next `bytes` of it. @returns where in the arena they begin. */
  take(bytes: number): number {
    const at = this.#block.offset + this.#used;
    this.#used += bytes;
    return at;
  }

  /** What was handed out has been sent. */
  clear(): void {
    this.#used = 0;
  }
}
