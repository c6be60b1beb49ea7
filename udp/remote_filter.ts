/**
 * Which remotes a session takes datagrams from, where not from all (RFC 4787, section 5): those that its client has
 * written to.
 *
 * @module
 */
import { AF_INET } from "../ffi/mod.ts";

/** Remotes remembered for one session; the one that was added first is forgotten first. */
const MAX_REMOTES = 512;
/** Words that tell one remote: the port, or 0, and the address (one word of it for IPv4). */
const ENTRY_WORDS = 5;

/** The remotes of one session. */
export class RemoteFilter {
  readonly #withPort: boolean;
  #entries = new Int32Array(4 * ENTRY_WORDS);
  #count = 0;
  #oldest = 0;
  readonly #wanted = new Int32Array(ENTRY_WORDS);

  /** @param kind whether the port counts, or the address alone. */
  constructor(kind: "address" | "address-port") {
    this.#withPort = kind === "address-port";
  }

  /** The client has written to the sockaddr at word `at`. */
  add(words: Int32Array, at: number): void {
    if (this.has(words, at)) return;
    if (this.#count === MAX_REMOTES) {
      this.#entries.set(this.#wanted, this.#oldest * ENTRY_WORDS);
      this.#oldest = (this.#oldest + 1) % MAX_REMOTES;
      return;
    }
    if (this.#count * ENTRY_WORDS === this.#entries.length) {
      const larger = new Int32Array(2 * this.#entries.length);
      larger.set(this.#entries);
      this.#entries = larger;
    }
    this.#entries.set(this.#wanted, this.#count++ * ENTRY_WORDS);
  }

  /** Whether the client has written to the sockaddr at word `at`. */
  has(words: Int32Array, at: number): boolean {
    const wanted = this.#wanted, entries = this.#entries;
    const isV4 = (words[at]! & 0xffff) === AF_INET;
    wanted[0] = this.#withPort ? words[at]! : 0;
    wanted[1] = isV4 ? words[at + 1]! : words[at + 2]!;
    for (let i = 2; i < ENTRY_WORDS; i++) wanted[i] = isV4 ? 0 : words[at + 1 + i]!;
    // From the last one on: most sessions have few remotes, and speak with the newest.
    for (let entry = (this.#count - 1) * ENTRY_WORDS; entry >= 0; entry -= ENTRY_WORDS) {
      let i = 0;
      while (i < ENTRY_WORDS && entries[entry + i] === wanted[i]) i++;
      if (i === ENTRY_WORDS) return true;
    }
    return false;
  }
}
