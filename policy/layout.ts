/**
 * How a compiled policy lies in memory, in words, and how a number is found in it. compile_policy.ts writes it,
 * policy_table.ts reads it.
 *
 * Header, range tables, groups, then one byte a rule with its route. Places are offsets in words.
 *
 * A range table of one word a number: shift, index, pairs of start and value. Of four words: count, starts, values.
 *
 * @module
 */
import { NONE, type Ranges } from "./ranges.ts";

/** The header's words: where groups begin, and where they end and routes begin. */
export const HEADER = { groups: 0, routes: 1, words: 2 } as const;

/**
 * The words of a group: rules that have every filter in common but one list of prefixes. Its tables give each address
 * the lowest of the rules that name it, or 0 where the list is the same for all, so the highest of the values is the
 * rule. {@linkcode ANY} in the place of a table: it is not asked.
 */
export const GROUP = {
  /** The lowest of the rules. */
  first: 0,
  /** IPPROTO_TCP, IPPROTO_UDP or {@linkcode ANY}. */
  network: 1,
  destinationPorts: 2,
  sourcePorts: 3,
  destinations4: 4,
  destinations6: 5,
  sources4: 6,
  sources6: 7,
  /** Filters of interfaces, DSCP and users: those of which a flow is asked last. */
  facts: 8,
  words: 11,
} as const;

/** No filter. */
export const ANY = 0;

/** More entries would be fetched from memory as often as the pairs that they save. */
const MOST_INDEX_BITS = 16;

/** Words of the table that holds these ranges. */
export function tableWords({ width, count }: Ranges): number {
  return width === 1 ? 2 + (1 << indexBits(count)) + 2 * count : 1 + 5 * count;
}

/** Writes a table. */
export function writeTable(ranges: Ranges, into: Uint32Array, at: number): void {
  const { width, count, starts, values } = ranges;
  if (width === 4) {
    into[at] = count;
    into.set(starts.subarray(0, 4 * count), at + 1);
    into.set(values.subarray(0, count), at + 1 + 4 * count);
    return;
  }
  const bits = indexBits(count), blocks = 1 << bits, shift = 32 - bits;
  into[at] = shift;
  let pair = 0;
  for (let block = 0; block < blocks; block++) {
    const begin = block * 2 ** shift;
    while (pair + 1 < count && starts[pair + 1]! <= begin) pair++;
    into[at + 1 + block] = pair;
  }
  into[at + 1 + blocks] = count - 1;
  for (let i = 0, pairAt = at + 2 + blocks; i < count; i++, pairAt += 2) {
    into[pairAt] = starts[i]!;
    into[pairAt + 1] = values[i]!;
  }
}

function indexBits(count: number): number {
  return Math.min(MOST_INDEX_BITS, Math.max(1, Math.ceil(Math.log2(count))));
}

/** The value of a number in the table at `at`. */
export function find(table: Uint32Array, at: number, number: number): number {
  const shift = table[at]!, blockAt = at + 1 + (number >>> shift);
  let low = table[blockAt]!, high = table[blockAt + 1]!;
  const pairs = at + 2 + (1 << 32 - shift);
  while (low < high) {
    const middle = low + high + 1 >>> 1;
    if (table[pairs + 2 * middle]! <= number) low = middle;
    else high = middle - 1;
  }
  return table[pairs + 2 * low + 1]!;
}

/** The same of a number of four words. */
export function findWide(table: Uint32Array, at: number, a: number, b: number, c: number, d: number): number {
  const count = table[at]!, starts = at + 1;
  let low = 0, high = count - 1;
  while (low < high) {
    const middle = low + high + 1 >>> 1;
    if (isAtMost(table, starts + 4 * middle, a, b, c, d)) low = middle;
    else high = middle - 1;
  }
  return table[starts + 4 * count + low]!;
}

function isAtMost(table: Uint32Array, at: number, a: number, b: number, c: number, d: number): boolean {
  const first = table[at]!;
  if (first !== a) return first < a;
  const second = table[at + 1]!;
  if (second !== b) return second < b;
  const third = table[at + 2]!;
  return third !== c ? third < c : table[at + 3]! <= d;
}

/** Whether a filter names a number. */
export function names(table: Uint32Array, at: number, number: number): boolean {
  return at === ANY || find(table, at, number) !== NONE;
}
