/**
 * A stream whose other side says what a script has, in the pieces that the script has, for dialogues that are given a
 * descriptor: no socket, no clock, a thousand handshakes a second.
 *
 * @module
 */
import { type Dialogue, EAGAIN, EPOLLIN, MSG_PEEK, type Syscalls } from "../ffi/mod.ts";
import { UpstreamEnvironment } from "../upstream/environment.ts";
import { Loopback } from "./loopback.ts";

/** The descriptor, which is none. */
export const SCRIPTED_FD = 9999;

/** What comes after the last piece. */
export type Ending = "close" | "silence";

/** An environment whose one stream is scripted. */
export class ScriptedStream implements Disposable {
  readonly environment: UpstreamEnvironment;
  readonly #loopback = new Loopback();
  #pieces: Uint8Array[] = [];
  #ending: Ending = "silence";
  #available = new Uint8Array(0);
  #isClosed = false;
  #sent: number[] = [];

  constructor() {
    const sys: Syscalls = {
      ...this.#loopback.sys,
      recv: (_fd, buffer, length, flags) => this.#receive(buffer, length, flags),
      send: (_fd, buffer, length) => {
        this.#sent.push(...new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(buffer!, length)));
        return length;
      },
      setsockopt: () => 0,
    };
    this.environment = new UpstreamEnvironment({
      sys,
      arena: this.#loopback.arena,
      reactor: this.#loopback.openReactor(),
      mark: 0,
      source: "own",
      worker: { index: 0, count: 1 },
      onMemberChange: () => {},
    });
  }

  /** What was written to it. */
  get sent(): Uint8Array {
    return Uint8Array.from(this.#sent);
  }

  /** What has come and was left for those who read next. */
  get unread(): Uint8Array {
    return Uint8Array.from([...this.#available, ...this.#pieces.flatMap((piece) => [...piece])]);
  }

  /**
   * Runs a dialogue to its end. Each of its waits brings one piece more; where there is none, the ending.
   *
   * @throws when it waits on after that.
   */
  run<T>(dialogue: Dialogue<T>, pieces: readonly Uint8Array[], ending: Ending = "silence"): T {
    this.#pieces = pieces.filter(({ length }) => length > 0);
    this.#ending = ending;
    this.#available = new Uint8Array(0);
    this.#isClosed = false;
    this.#sent = [];
    let result = dialogue.next(0);
    while (!result.done) {
      if (this.#isClosed) throw new Error("it waits for a stream that has been closed");
      result = dialogue.next(this.#bringNext());
    }
    return result.value;
  }

  /** @returns events, or 0: the time has passed. */
  #bringNext(): number {
    const piece = this.#pieces.shift();
    if (piece === undefined) {
      this.#isClosed = this.#ending === "close";
      return this.#isClosed ? EPOLLIN : 0;
    }
    this.#available = Uint8Array.from([...this.#available, ...piece]);
    return EPOLLIN;
  }

  #receive(buffer: Deno.PointerValue, length: number, flags: number): number {
    const piece = this.#available.subarray(0, length);
    if (piece.length === 0) return this.#isClosed ? 0 : -EAGAIN;
    new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(buffer!, length)).set(piece);
    if ((flags & MSG_PEEK) === 0) this.#available = this.#available.slice(piece.length);
    return piece.length;
  }

  [Symbol.dispose](): void {
    this.#loopback[Symbol.dispose]();
  }
}

/** `bytes` cut before each of these offsets. */
export function split(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const at = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  return [0, ...at].map((from, i) => bytes.slice(from, at[i] ?? bytes.length));
}
