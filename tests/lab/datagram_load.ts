/**
 * Numbered datagrams of many flows, each of which says what it is: both ends of a load make them from a flow and a
 * number, and know every one that is missing, doubled, changed or somebody else's.
 *
 * @module
 */
import type { Block } from "../../ffi/mod.ts";

/** Which way a datagram goes. */
export const REQUEST = 0x5eed0001, ANSWER = 0x5eed0002;

/** kind, flow, number, length: a word each. */
const HEADER_WORDS = 4;
/** The shortest: the header alone. */
const SHORTEST = 4 * HEADER_WORDS;
/** What one unfragmented packet holds, IPv6's 20 bytes more of header allowed for. */
const UNFRAGMENTED = 1452;
/** RFC 768's 65,535 without the headers of UDP and IPv4. */
const LONGEST = 65_507;
/** One in so many may be of any length. */
const LONG_ONE_IN = 256;

/** Bytes of one, which depend on what it is alone: mostly unfragmented, some up to the longest there is. */
export function loadBytes(kind: number, flow: number, number: number): number {
  const draw = mix(mix(kind, flow), number);
  const [which, size] = [draw >>> 24, draw & 0xffffff];
  const longest = which % LONG_ONE_IN === 0 ? LONGEST : UNFRAGMENTED;
  return SHORTEST + size % (longest - SHORTEST + 1);
}

/** Writes one. @returns its bytes. */
export function writeLoad(into: Block, kind: number, flow: number, number: number): number {
  const { words } = into;
  const bytes = loadBytes(kind, flow, number);
  words[0] = kind;
  words[1] = flow;
  words[2] = number;
  words[3] = bytes;
  let x = mix(flow, number) | 1;
  const end = (bytes + 3) >> 2;
  for (let i = HEADER_WORDS; i < end; i++) {
    x = next(x);
    words[i] = x;
  }
  return bytes;
}

/** Whether a datagram of so many bytes is, to the last one, the one that its header says it is. */
export function isWhole(from: Block, bytes: number): boolean {
  const { words } = from;
  const [kind, flow, number] = [words[0]!, words[1]!, words[2]!];
  if (bytes < SHORTEST || words[3] !== bytes || bytes !== loadBytes(kind, flow, number)) return false;
  let x = mix(flow, number) | 1;
  const whole = bytes >> 2;
  for (let i = HEADER_WORDS; i < whole; i++) {
    x = next(x);
    if (words[i] !== x) return false;
  }
  const rest = next(x);
  for (let at = whole << 2; at < bytes; at++) {
    if (from.bytes[at] !== (rest >>> 8 * (at & 3) & 0xff)) return false;
  }
  return true;
}

/** xorshift32 (Marsaglia 2003). */
function next(x: number): number {
  x ^= x << 13;
  x ^= x >>> 17;
  return x ^ x << 5;
}

/** Spreads two numbers over 32 bits (the finalizer of MurmurHash3). */
function mix(a: number, b: number): number {
  let h = Math.imul(a, 0x9e3779b1) ^ b;
  h = Math.imul(h ^ h >>> 16, 0x85ebca6b);
  h = Math.imul(h ^ h >>> 13, 0xc2b2ae35);
  return h ^ h >>> 16;
}

/** Which numbers of which flow have been seen. */
export class SeenNumbers {
  readonly #flows = new Map<number, Uint8Array>();

  /** @param numbers how many a flow has at most. */
  constructor(readonly numbers: number) {}

  /** @returns false when it has been seen before. */
  add(flow: number, number: number): boolean {
    let bits = this.#flows.get(flow);
    if (bits === undefined) this.#flows.set(flow, bits = new Uint8Array((this.numbers + 7) >> 3));
    const bit = 1 << (number & 7);
    if ((bits[number >> 3]! & bit) !== 0) return false;
    bits[number >> 3]! |= bit;
    return true;
  }
}
