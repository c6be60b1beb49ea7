/**
 * Prefixes reduced to the fewest that hold the same addresses: what interval sets and ipsets want, which refuse
 * elements that overlap.
 *
 * @module
 */
import { addressBytes, addressFromBytes } from "./address.ts";
import type { Prefix } from "./prefix.ts";

/** A prefix with the bytes of its address, which is all the work is done on. */
interface Block {
  readonly bytes: Uint8Array;
  readonly length: number;
  /** What it was given as; undefined for one that was joined of two. */
  readonly given: Prefix | undefined;
}

/**
 * The same addresses in the fewest prefixes: none holds another, and two halves of a prefix have become it.
 * IPv4 first, in each family in ascending order, so equal sets of addresses give equal results.
 */
export function mergePrefixes(prefixes: readonly Prefix[]): Prefix[] {
  return [
    ...mergeFamily(prefixes.filter(({ family }) => family === 4)),
    ...mergeFamily(prefixes.filter(({ family }) => family === 6)),
  ];
}

function mergeFamily(prefixes: readonly Prefix[]): Prefix[] {
  const blocks = prefixes.map(blockOf).sort(compareBlocks);
  // Disjoint, in order, and no two neighbours are halves of one.
  const merged: Block[] = [];
  for (let block of blocks) {
    const last = merged.at(-1);
    // What holds a block comes before it, so only the last one can.
    if (last !== undefined && shareBits(last, block, last.length)) continue;
    for (let half = merged.at(-1); half !== undefined && areHalves(half, block); half = merged.at(-1)) {
      merged.pop();
      block = { bytes: half.bytes, length: half.length - 1, given: undefined };
    }
    merged.push(block);
  }
  return merged.map(prefixOfBlock);
}

function blockOf(prefix: Prefix): Block {
  const { family, text, length } = prefix;
  return { bytes: addressBytes({ family, text: text.slice(0, text.indexOf("/")) }), length, given: prefix };
}

function prefixOfBlock({ bytes, length, given }: Block): Prefix {
  if (given !== undefined) return given;
  const { family, text } = addressFromBytes(bytes);
  return { family, text: `${text}/${length}`, length };
}

/** By first address; of two with the same one the longer prefix is held by the shorter, and comes after it. */
function compareBlocks(a: Block, b: Block): number {
  for (let i = 0; i < a.bytes.length; i++) {
    const difference = a.bytes[i]! - b.bytes[i]!;
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

function areHalves(a: Block, b: Block): boolean {
  return a.length === b.length && a.length > 0 && shareBits(a, b, a.length - 1);
}

/** Whether the first `bits` bits are the same. */
function shareBits(a: Block, b: Block, bits: number): boolean {
  const whole = bits >> 3;
  for (let i = 0; i < whole; i++) if (a.bytes[i] !== b.bytes[i]) return false;
  const rest = bits & 7;
  return rest === 0 || (a.bytes[whole]! ^ b.bytes[whole]!) >> (8 - rest) === 0;
}
