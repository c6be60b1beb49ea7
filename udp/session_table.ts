/**
 * Sessions by the endpoint of their client, found once for each datagram: so no key is made for a look-up, the
 * words of the received sockaddr are compared where they lie, with words that lie side by side. In a worker with
 * thousands of sessions each line of memory that is touched has to be fetched, and costs more than the hash.
 *
 * Open addressing with linear probing, at most three quarters full; what is removed is closed up behind, so that there are no
 * tombstones. The hash is seeded: a client cannot choose many ports and addresses that collide.
 *
 * @module
 */
import { AF_INET6 } from "../ffi/mod.ts";

/** The words of a sockaddr by which an endpoint is known: family and port, then the address (IPv4: one word). */
export interface EndpointKey {
  readonly familyPort: number;
  readonly address0: number;
  readonly address1: number;
  readonly address2: number;
  readonly address3: number;
}

const LEAST_SLOTS = 256;
/** Words of a slot: those of its key, and padding to half a cache line. An empty one has no family. */
const SLOT_SHIFT = 3;

/** Whether a sockaddr that begins with this word is an IPv6 one. */
function isV6(familyPort: number): boolean {
  return (familyPort & 0xffff) === AF_INET6;
}

/** The port in the first word of a sockaddr. */
export function portOf(familyPort: number): number {
  return (familyPort >>> 16 & 0xff) << 8 | familyPort >>> 24;
}

/** The key of the sockaddr at word `at`. */
export function endpointKey(words: Int32Array, at: number): EndpointKey {
  const familyPort = words[at]!;
  const long = isV6(familyPort);
  // Behind the port: sin_addr; or the flow label, then four words of address.
  return {
    familyPort,
    address0: long ? words[at + 2]! : words[at + 1]!,
    address1: long ? words[at + 3]! : 0,
    address2: long ? words[at + 4]! : 0,
    address3: long ? words[at + 5]! : 0,
  };
}

/** Writes the sockaddr that has this key to word `at`: seven words. */
export function writeEndpoint(key: EndpointKey, words: Int32Array, at: number): void {
  const long = isV6(key.familyPort);
  words[at] = key.familyPort;
  words[at + 1] = long ? 0 : key.address0;
  words[at + 2] = long ? key.address0 : 0;
  words[at + 3] = key.address1;
  words[at + 4] = key.address2;
  words[at + 5] = key.address3;
  words[at + 6] = 0;
}

/** A hash table of whatever is its own key. */
export class SessionTable<Session extends EndpointKey> {
  readonly #seed: number;
  #keys = new Int32Array(LEAST_SLOTS << SLOT_SHIFT);
  #sessions: (Session | null)[] = new Array(LEAST_SLOTS).fill(null);
  #size = 0;

  /** @param seed 32 bits that nobody can guess. */
  constructor(seed: number) {
    this.#seed = seed;
  }

  get size(): number {
    return this.#size;
  }

  /** The session of the client whose sockaddr is at word `at`. */
  find(words: Int32Array, at: number): Session | undefined {
    const familyPort = words[at]!;
    const long = isV6(familyPort);
    const slot = this.#search(
      familyPort,
      long ? words[at + 2]! : words[at + 1]!,
      long ? words[at + 3]! : 0,
      long ? words[at + 4]! : 0,
      long ? words[at + 5]! : 0,
    );
    return this.#sessions[slot] ?? undefined;
  }

  /** The session that has this key. */
  get(key: EndpointKey): Session | undefined {
    return this.#sessions[this.#slotFor(key)] ?? undefined;
  }

  /** Puts a session in the place of the one that has the same key. */
  replace(session: Session): void {
    this.#sessions[this.#slotFor(session)] = session;
  }

  /** Adds a session whose client has none. */
  add(session: Session): void {
    if (4 * (this.#size + 1) > 3 * this.#sessions.length) this.#resize(2 * this.#sessions.length);
    this.#place(session);
    this.#size++;
  }

  /** Takes out a session that is in the table. */
  remove(session: Session): void {
    const mask = this.#sessions.length - 1;
    let hole = this.#slotFor(session);
    this.#size--;
    // Whoever was pushed on past the hole moves up into it, and leaves the next one.
    for (let slot = (hole + 1) & mask;; slot = (slot + 1) & mask) {
      if (this.#keys[slot << SLOT_SHIFT] === 0) break;
      const staysReachable = ((slot - this.#home(slot)) & mask) < ((slot - hole) & mask);
      if (staysReachable) continue;
      this.#keys.copyWithin(hole << SLOT_SHIFT, slot << SLOT_SHIFT, (slot + 1) << SLOT_SHIFT);
      this.#sessions[hole] = this.#sessions[slot]!;
      hole = slot;
    }
    this.#sessions[hole] = null;
    this.#keys[hole << SLOT_SHIFT] = 0;
    if (this.#sessions.length > LEAST_SLOTS && 8 * this.#size < this.#sessions.length) {
      this.#resize(this.#sessions.length / 2);
    }
  }

  /** All sessions; the table must not change meanwhile. */
  *[Symbol.iterator](): Generator<Session> {
    for (const session of this.#sessions) if (session !== null) yield session;
  }

  /** The slot that has this key, or the empty one where it would be. */
  #search(familyPort: number, a0: number, a1: number, a2: number, a3: number): number {
    const keys = this.#keys, mask = this.#sessions.length - 1;
    for (let slot = this.#hash(familyPort, a0, a1, a2, a3) & mask;; slot = (slot + 1) & mask) {
      const at = slot << SLOT_SHIFT;
      if (keys[at] === 0) return slot;
      if (
        keys[at] === familyPort && keys[at + 1] === a0 && keys[at + 2] === a1 && keys[at + 3] === a2 &&
        keys[at + 4] === a3
      ) return slot;
    }
  }

  #slotFor(key: EndpointKey): number {
    return this.#search(key.familyPort, key.address0, key.address1, key.address2, key.address3);
  }

  #place(session: Session): void {
    const { familyPort, address0, address1, address2, address3 } = session;
    const slot = this.#slotFor(session);
    const keys = this.#keys, at = slot << SLOT_SHIFT;
    keys[at] = familyPort;
    keys[at + 1] = address0;
    keys[at + 2] = address1;
    keys[at + 3] = address2;
    keys[at + 4] = address3;
    this.#sessions[slot] = session;
  }

  #resize(slots: number): void {
    const before = this.#sessions;
    this.#keys = new Int32Array(slots << SLOT_SHIFT);
    this.#sessions = new Array(slots).fill(null);
    for (const session of before) if (session !== null) this.#place(session);
  }

  /** Where the session in this slot would be if it were alone. */
  #home(slot: number): number {
    const keys = this.#keys, at = slot << SLOT_SHIFT;
    const hash = this.#hash(keys[at]!, keys[at + 1]!, keys[at + 2]!, keys[at + 3]!, keys[at + 4]!);
    return hash & (this.#sessions.length - 1);
  }

  /** Rounds of MurmurHash3's block function and its finalizer. */
  #hash(a: number, b: number, c: number, d: number, e: number): number {
    let hash = mix(this.#seed, a);
    hash = mix(hash, b);
    hash = mix(hash, c);
    hash = mix(hash, d);
    hash = mix(hash, e);
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    return hash ^ (hash >>> 16);
  }
}

function mix(hash: number, word: number): number {
  const block = Math.imul(word, 0xcc9e2d51);
  const mixed = hash ^ Math.imul(block << 15 | block >>> 17, 0x1b873593);
  return Math.imul(mixed << 13 | mixed >>> 19, 5) + 0xe6546b64 | 0;
}
