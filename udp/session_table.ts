/**
 * Sessions by the endpoint of their client, found once for each datagram: so no key is made for a look-up, the
 * words of the received sockaddr are compared where they lie.
 *
 * Open addressing with linear probing, at most half full; what is removed is closed up behind, so that there are no
 * tombstones. The hash is seeded: a client cannot choose ports and addresses that collide.
 *
 * @module
 */

/** The words of a sockaddr by which an endpoint is known: family and port, then the address (IPv4: one word). */
export interface EndpointKey {
  readonly familyPort: number;
  readonly address0: number;
  readonly address1: number;
  readonly address2: number;
  readonly address3: number;
}

const LEAST_SLOTS = 256;
/** sin6_family and sin6_port as one word have AF_INET6 in their lower half. */
const AF_INET6_HALF = 10;

/** The key of the sockaddr at word `at`. */
export function endpointKey(words: Int32Array, at: number): EndpointKey {
  const familyPort = words[at]!;
  const isV6 = (familyPort & 0xffff) === AF_INET6_HALF;
  // Behind the port: sin_addr; or the flow label, then four words of address.
  return {
    familyPort,
    address0: isV6 ? words[at + 2]! : words[at + 1]!,
    address1: isV6 ? words[at + 3]! : 0,
    address2: isV6 ? words[at + 4]! : 0,
    address3: isV6 ? words[at + 5]! : 0,
  };
}

/** A hash table of whatever carries its key. */
export class SessionTable<Session extends { readonly key: EndpointKey }> {
  readonly #seed: number;
  #slots: (Session | null)[] = new Array(LEAST_SLOTS).fill(null);
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
    const isV6 = (familyPort & 0xffff) === AF_INET6_HALF;
    const a0 = isV6 ? words[at + 2]! : words[at + 1]!;
    const a1 = isV6 ? words[at + 3]! : 0;
    const a2 = isV6 ? words[at + 4]! : 0;
    const a3 = isV6 ? words[at + 5]! : 0;
    const mask = this.#slots.length - 1;
    for (let slot = this.#hash(familyPort, a0, a1, a2, a3) & mask;; slot = (slot + 1) & mask) {
      const session = this.#slots[slot]!;
      if (session === null) return undefined;
      const key = session.key;
      if (
        key.familyPort === familyPort && key.address0 === a0 && key.address1 === a1 && key.address2 === a2 &&
        key.address3 === a3
      ) return session;
    }
  }

  /** Adds a session whose client has none. */
  add(session: Session): void {
    if (2 * (this.#size + 1) > this.#slots.length) this.#resize(2 * this.#slots.length);
    this.#place(session);
    this.#size++;
  }

  /** Takes out a session that is in the table. */
  remove(session: Session): void {
    const mask = this.#slots.length - 1;
    let hole = this.#home(session) & mask;
    while (this.#slots[hole] !== session) hole = (hole + 1) & mask;
    this.#size--;
    // Whoever was pushed on past the hole moves up into it, and leaves the next one.
    for (let slot = hole;;) {
      slot = (slot + 1) & mask;
      const next = this.#slots[slot]!;
      if (next === null) break;
      const home = this.#home(next) & mask;
      const staysReachable = ((slot - home) & mask) < ((slot - hole) & mask);
      if (staysReachable) continue;
      this.#slots[hole] = next;
      hole = slot;
    }
    this.#slots[hole] = null;
    if (this.#slots.length > LEAST_SLOTS && 8 * this.#size < this.#slots.length) {
      this.#resize(this.#slots.length / 2);
    }
  }

  /** All sessions; the table must not change meanwhile. */
  *[Symbol.iterator](): Generator<Session> {
    for (const session of this.#slots) if (session !== null) yield session;
  }

  #place(session: Session): void {
    const mask = this.#slots.length - 1;
    let slot = this.#home(session) & mask;
    while (this.#slots[slot] !== null) slot = (slot + 1) & mask;
    this.#slots[slot] = session;
  }

  #resize(slots: number): void {
    const before = this.#slots;
    this.#slots = new Array(slots).fill(null);
    for (const session of before) if (session !== null) this.#place(session);
  }

  #home({ key }: Session): number {
    return this.#hash(key.familyPort, key.address0, key.address1, key.address2, key.address3);
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
