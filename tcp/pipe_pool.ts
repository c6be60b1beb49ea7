/**
 * Pipes for splice and for what a sink would not take: borrowed only while bytes are in flight, so that ten
 * thousand idle connections hold none.
 *
 * The pool always tries to have one pipe to spare: a relay that copies must know, before it takes bytes from a
 * socket, that there is somewhere to put the rest.
 *
 * @module
 */
import { type Arena, type Block, F_GETPIPE_SZ, O_CLOEXEC, O_NONBLOCK, type Syscalls } from "../ffi/mod.ts";

/** One pipe, empty whenever it is in the pool. */
export interface Pipe {
  readonly readEnd: number;
  readonly writeEnd: number;
}

/**
 * Capacity every pipe has, and so the most bytes a half pipe takes at once: the kernel's default of 16 pages
 * (pipe(7)). Past fs.pipe-user-pages-soft an unprivileged user gets two pages, which is of no use here.
 */
export const PIPE_BYTES = 65536;

/** Pipes kept open while nobody needs them. */
const MAX_FREE = 16;

/** The pipes of one worker. */
export class PipePool {
  readonly #sys: Syscalls;
  readonly #ends: Block;
  readonly #maxPipes: number;
  readonly #free: Pipe[] = [];
  #count = 0;

  constructor(sys: Syscalls, arena: Arena, maxPipes: number) {
    this.#sys = sys;
    this.#ends = arena.allocate(8);
    this.#maxPipes = maxPipes;
    this.#open();
  }

  /** Pipes that exist, lent or free. */
  get count(): number {
    return this.#count;
  }

  /** Whether `borrow` will succeed. */
  hasSpare(): boolean {
    return this.#free.length > 0;
  }

  /** An empty pipe, or null at the limit, without descriptors, or past the user's share of pipe memory. */
  borrow(): Pipe | null {
    const pipe = this.#free.pop();
    if (this.#free.length === 0) this.#open();
    return pipe ?? this.#free.pop() ?? null;
  }

  /** Takes back a pipe that is empty. */
  giveBack(pipe: Pipe): void {
    if (this.#free.length < MAX_FREE) this.#free.push(pipe);
    else this.#close(pipe);
  }

  /** Takes back a pipe that still holds bytes nobody wants. */
  discard(pipe: Pipe): void {
    this.#close(pipe);
    if (this.#free.length === 0) this.#open();
  }

  /** Closes every free pipe. */
  close(): void {
    for (const pipe of this.#free.splice(0)) this.#close(pipe);
  }

  #open(): void {
    if (this.#count >= this.#maxPipes) return;
    if (this.#sys.pipe2(this.#ends.pointer, O_NONBLOCK | O_CLOEXEC) < 0) return;
    const pipe = { readEnd: this.#ends.words[0]!, writeEnd: this.#ends.words[1]! };
    this.#count++;
    if (this.#sys.fcntl(pipe.writeEnd, F_GETPIPE_SZ, 0) >= PIPE_BYTES) this.#free.push(pipe);
    else this.#close(pipe);
  }

  #close(pipe: Pipe): void {
    this.#sys.close(pipe.readEnd);
    this.#sys.close(pipe.writeEnd);
    this.#count--;
  }
}
