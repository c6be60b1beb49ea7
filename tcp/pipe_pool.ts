/**
 * Pipes for splice and for what a sink would not take: borrowed only while bytes are in flight, so that ten
 * thousand idle connections hold none.
 *
 * A relay that copies asks for a spare pipe before it takes bytes from a socket: there must be somewhere to put
 * the rest. Asking is also how the pool recovers when pipes could not be had for a while.
 *
 * @module
 */
import {
  type Arena,
  type Block,
  F_GETPIPE_SZ,
  F_SETPIPE_SZ,
  O_CLOEXEC,
  O_NONBLOCK,
  type Syscalls,
} from "../ffi/mod.ts";

/** One pipe, empty whenever it is in the pool. */
export interface Pipe {
  readonly readEnd: number;
  readonly writeEnd: number;
  readonly isLarge: boolean;
}

/**
 * What every pipe holds at least, and so the most that may be left over from a copy: the kernel's default of 16
 * pages (pipe(7)). Past fs.pipe-user-pages-soft an unprivileged user gets two pages, which is of no use here.
 */
export const PIPE_BYTES = 65536;

/** What the first few pipes hold: the most an unprivileged user may ask for (fs.pipe-max-size). */
export const LARGE_PIPE_BYTES = 1024 * 1024;

/**
 * A large pipe saved the C reference up to a third of its CPU time a byte: a page of a socket mostly holds 4 KiB.
 * Four workers with so many leave a quarter of the 64 MiB of pipes that an unprivileged user may have.
 */
const LARGE_PIPES = 12;

/** Pipes kept open while nobody needs them. */
const MAX_FREE = 16;

/** The pipes of one worker. */
export class PipePool {
  readonly #sys: Syscalls;
  readonly #ends: Block;
  readonly #maxPipes: number;
  readonly #onChange: (pipes: number) => void;
  readonly #free: Pipe[] = [];
  #count = 0;
  #largeCount = 0;

  /** @param onChange told by how much the number of pipes, lent or free, has changed. */
  constructor(sys: Syscalls, arena: Arena, maxPipes: number, onChange: (pipes: number) => void) {
    this.#sys = sys;
    this.#ends = arena.allocate(8);
    this.#maxPipes = maxPipes;
    this.#onChange = onChange;
  }

  /** Pipes that exist, lent or free. */
  get count(): number {
    return this.#count;
  }

  /** Whether `borrow` will succeed; opens a pipe if need be. */
  hasSpare(): boolean {
    if (this.#free.length === 0) this.#open();
    return this.#free.length > 0;
  }

  /** An empty pipe, or null at the limit, without descriptors, or past the user's share of pipe memory. */
  borrow(): Pipe | null {
    return this.hasSpare() ? this.#free.pop()! : null;
  }

  /** Takes back a pipe that is empty. */
  giveBack(pipe: Pipe): void {
    if (this.#free.length < MAX_FREE) this.#free.push(pipe);
    else this.#close(pipe);
  }

  /** Takes back a pipe that still holds bytes nobody wants. */
  discard(pipe: Pipe): void {
    this.#close(pipe);
  }

  /** Closes every free pipe. */
  close(): void {
    for (const pipe of this.#free.splice(0)) this.#close(pipe);
  }

  #open(): void {
    if (this.#count >= this.#maxPipes) return;
    if (this.#sys.pipe2(this.#ends.pointer, O_NONBLOCK | O_CLOEXEC) < 0) return;
    const [readEnd, writeEnd] = [this.#ends.words[0]!, this.#ends.words[1]!];
    const isLarge = this.#largeCount < LARGE_PIPES &&
      this.#sys.fcntl(writeEnd, F_SETPIPE_SZ, LARGE_PIPE_BYTES) >= LARGE_PIPE_BYTES;
    const pipe = { readEnd, writeEnd, isLarge };
    this.#count++;
    if (isLarge) this.#largeCount++;
    this.#onChange(1);
    if (this.#sys.fcntl(writeEnd, F_GETPIPE_SZ, 0) >= PIPE_BYTES) this.#free.push(pipe);
    else this.#close(pipe);
  }

  #close(pipe: Pipe): void {
    this.#sys.close(pipe.readEnd);
    this.#sys.close(pipe.writeEnd);
    this.#count--;
    if (pipe.isLarge) this.#largeCount--;
    this.#onChange(-1);
  }
}
