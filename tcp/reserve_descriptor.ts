/**
 * A descriptor kept for the moment when there are none left: without it a waiting connection could be neither
 * accepted nor refused, and would hang until the client gives up.
 *
 * @module
 */
import { type Arena, type Block, O_CLOEXEC, type Syscalls } from "../ffi/mod.ts";

const PATH = new TextEncoder().encode("/dev/null\0");

/** One open descriptor that can be let go and taken again. */
export class ReserveDescriptor {
  readonly #sys: Syscalls;
  readonly #path: Block;
  #fd = -1;

  constructor(sys: Syscalls, arena: Arena) {
    this.#sys = sys;
    this.#path = arena.allocate(PATH.length);
    this.#path.bytes.set(PATH);
    this.take();
  }

  /** Opens it, if it is not open; that may fail, and is then tried the next time. */
  take(): void {
    if (this.#fd < 0) this.#fd = Math.max(-1, this.#sys.open(this.#path.pointer, O_CLOEXEC, 0));
  }

  /** Closes it: one descriptor is free now. */
  letGo(): void {
    if (this.#fd >= 0) this.#sys.close(this.#fd);
    this.#fd = -1;
  }
}
