/**
 * Numbers, of one word or of four, cut into ranges with a value each: what every filter of a policy becomes.
 *
 * Prefixes either hold one another or are apart, so those that are sorted by address, and the shorter first, are walked
 * with a stack of the ones that are open; the value of a place is the lowest of theirs.
 *
 * @module
 */
import { maskOf } from "./prefix_reader.ts";

/** The value of ranges that nothing was said of; more than any other. */
export const NONE = 0x7fff_ffff;

/** Words of a number: ports, ids and IPv4 addresses have one, IPv6 addresses four, the highest first. */
export type Width = 1 | 4;

/** Ranges in order. Each begins at its start and ends before the next one's; the first one begins at 0. */
export class Ranges {
  readonly width: Width;
  /** Of `width` words each; there may be more room than is used. */
  readonly starts: Uint32Array;
  readonly values: Uint32Array;
  count = 0;

  /** All is {@linkcode NONE} at first. @param most that will be begun, at most, beside that. */
  constructor(width: Width, most: number) {
    this.width = width;
    this.starts = new Uint32Array((most + 1) * width);
    this.values = new Uint32Array(most + 1);
    this.values[0] = NONE;
    this.count = 1;
  }

  /** From `from[at]` on the value is another; not before where the last one was begun. */
  begin(from: Uint32Array, at: number, value: number): void {
    const { width, starts, values } = this;
    if (compare(width, starts, (this.count - 1) * width, from, at) === 0) this.count--;
    if (this.count > 0 && values[this.count - 1] === value) return;
    for (let i = 0; i < width; i++) starts[this.count * width + i] = from[at + i]!;
    values[this.count++] = value;
  }
}

/** Prefixes of one family, each with a value. */
export class PrefixRows {
  readonly width: Width;
  #words: Uint32Array;
  #lengths: Uint8Array;
  #values: Uint32Array;
  #count = 0;

  constructor(width: Width) {
    this.width = width;
    this.#words = new Uint32Array(width * LEAST_ROWS);
    this.#lengths = new Uint8Array(LEAST_ROWS);
    this.#values = new Uint32Array(LEAST_ROWS);
  }

  /**
   * Adds a prefix.
   *
   * @param words the address, host bits clear.
   * @param value no lower than the one before.
   */
  add(words: Uint32Array, length: number, value: number): void {
    const { width } = this, row = this.#count;
    if (row === this.#values.length) this.#grow();
    for (let i = 0; i < width; i++) this.#words[row * width + i] = words[i]!;
    this.#lengths[row] = length;
    this.#values[row] = value;
    this.#count++;
  }

  /** Where each address has the lowest value of all prefixes that hold it. */
  toRanges(): Ranges {
    const { width } = this, words = this.#words, order = this.#inOrder();
    const ranges = new Ranges(width, 2 * this.#count);
    // The open prefixes, the innermost last: their last addresses, and what is lowest of them and those around.
    const lasts = new Uint32Array(MOST_OPEN * width), lowest = new Uint32Array(MOST_OPEN);
    let open = 0;
    const close = () => {
      open--;
      const at = open * width;
      if (increment(width, lasts, at)) ranges.begin(lasts, at, open === 0 ? NONE : lowest[open - 1]!);
    };
    for (let i = 0; i < order.length; i++) {
      const row = order[i]!, at = row * width, value = this.#values[row]!;
      while (open > 0 && compare(width, lasts, (open - 1) * width, words, at) < 0) close();
      if (open > 0 && value >= lowest[open - 1]!) continue;
      ranges.begin(words, at, value);
      for (let word = 0, fixed = this.#lengths[row]!; word < width; word++, fixed -= 32) {
        lasts[open * width + word] = words[at + word]! | ~maskOf(fixed);
      }
      lowest[open++] = value;
    }
    while (open > 0) close();
    return ranges;
  }

  /** Rows by address, then by length, then as they were added: by one byte after the other, from the lowest. */
  #inOrder(): Uint32Array {
    const { width } = this, words = this.#words, count = this.#count;
    let order = new Uint32Array(count), next = new Uint32Array(count);
    for (let row = 0; row < count; row++) order[row] = row;
    const sortBy = (column: Uint8Array | Uint32Array, stride: number, offset: number, shift: number) => {
      if (sortByByte(order, next, column, stride, offset, shift)) [order, next] = [next, order];
    };
    sortBy(this.#lengths, 1, 0, 0);
    for (let word = width - 1; word >= 0; word--) {
      for (let shift = 0; shift < 32; shift += 8) sortBy(words, width, word, shift);
    }
    return order;
  }

  #grow(): void {
    const rows = 2 * this.#values.length;
    this.#words = grown(this.#words, new Uint32Array(rows * this.width));
    this.#lengths = grown(this.#lengths, new Uint8Array(rows));
    this.#values = grown(this.#values, new Uint32Array(rows));
  }
}

const LEAST_ROWS = 4;
/** One of each length, 0 to 128. */
const MOST_OPEN = 129;

/** Where each of these numbers has value 0; they may overlap, and be in any order. */
export function rangesOfNumbers(given: readonly { readonly first: number; readonly last: number }[]): Ranges {
  const ranges = new Ranges(1, 2 * given.length);
  const bound = new Uint32Array(1);
  const begin = (at: number, value: number) => {
    bound[0] = at;
    ranges.begin(bound, 0, value);
  };
  // Behind those that are open.
  let end = -1;
  for (const { first, last } of given.toSorted((a, b) => a.first - b.first)) {
    if (last < first) continue;
    if (first > end) {
      if (end >= 0) begin(end, NONE);
      begin(first, 0);
    }
    end = Math.max(end, last + 1);
  }
  if (end >= 0 && end <= 0xffff_ffff) begin(end, NONE);
  return ranges;
}

/** Compares two numbers. */
function compare(width: Width, a: Uint32Array, aAt: number, b: Uint32Array, bAt: number): number {
  for (let i = 0; i < width; i++) {
    const left = a[aAt + i]!, right = b[bAt + i]!;
    if (left !== right) return left < right ? -1 : 1;
  }
  return 0;
}

/** Adds one. @returns whether there is such a number. */
function increment(width: Width, number: Uint32Array, at: number): boolean {
  for (let i = at + width - 1; i >= at; i--) {
    number[i]!++;
    if (number[i] !== 0) return true;
  }
  return false;
}

/** @returns whether the sorted rows are in `next`; otherwise all have the same byte. */
function sortByByte(
  order: Uint32Array,
  next: Uint32Array,
  column: Uint8Array | Uint32Array,
  stride: number,
  offset: number,
  shift: number,
): boolean {
  const count = order.length, ends = new Uint32Array(256);
  for (let row = 0, at = offset; row < count; row++, at += stride) ends[column[at]! >>> shift & 0xff]!++;
  if (count === 0 || ends[column[offset]! >>> shift & 0xff] === count) return false;
  for (let i = 1; i < 256; i++) ends[i]! += ends[i - 1]!;
  for (let i = count - 1; i >= 0; i--) {
    const row = order[i]!;
    next[--ends[column[row * stride + offset]! >>> shift & 0xff]!] = row;
  }
  return true;
}

function grown<Column extends Uint8Array | Uint32Array>(from: Column, into: Column): Column {
  into.set(from);
  return into;
}
