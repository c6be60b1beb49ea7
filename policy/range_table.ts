/**
 * Ranges as they lie in memory, and how a number is found in them with few reads of memory that no cache has.
 *
 * A table has entries in order: two words of a number from which on a value holds. Its index is about the first of the
 * two: all between its first boundary and its last one, cut into blocks of one size, and for each block where its
 * entries begin. Where two words do not decide, or a block has more entries than are gone through quickly, another
 * table has the value's place. So addresses may lie as close together as they like.
 *
 *     word, base, shift, last block, index…, entries…
 *
 * @module
 */
import { NONE, type Ranges } from "./ranges.ts";
import type { WordBuffer } from "./word_buffer.ts";

/** Values from here on are places of tables. */
const TABLE = 0x8000_0000;
/** Words of a table before its index; at the place of a table itself is which word it is about. */
const BASE = 1, SHIFT = 2, LAST_BLOCK = 3, INDEX = 4;
/** Words of an entry: two of the number, and the value. */
const ENTRY = 3;
const LAST_WORD = 0xffff_ffff;
/** A longer index would itself be more than a cache has. */
const MOST_INDEX_BITS = 16;
/** More of them are worth a table of their own. */
const MOST_IN_BLOCK = 8;

/**
 * The value of a number.
 *
 * @param at place of the table.
 * @param b the second word and those behind: 0 where numbers have one.
 */
export function find(table: Uint32Array, at: number, a: number, b: number, c: number, d: number): number {
  for (;;) {
    const word = table[at]!;
    const high = word === 0 ? a : word === 1 ? b : word === 2 ? c : d;
    const low = word === 0 ? b : word === 1 ? c : word === 2 ? d : 0;
    const base = table[at + BASE]!, lastBlock = table[at + LAST_BLOCK]!;
    const entries = at + INDEX + lastBlock + 2;
    let first = 0;
    if (high >= base) {
      const block = Math.min(high - base >>> table[at + SHIFT]!, lastBlock);
      first = table[at + INDEX + block]!;
      let last = table[at + INDEX + block + 1]!;
      while (first < last) {
        const middle = first + last + 1 >>> 1, entry = entries + ENTRY * middle;
        const start = table[entry]!;
        if (start < high || (start === high && table[entry + 1]! <= low)) first = middle;
        else last = middle - 1;
      }
    }
    const value = table[entries + ENTRY * first + 2]!;
    if (value < TABLE) return value;
    at = value - TABLE;
  }
}

/** Writes the table of these ranges. @returns its place. */
export function writeRanges(ranges: Ranges, into: WordBuffer): number {
  return new TableWriter(ranges, into).writeRanges(0, ranges.count, 0, NONE);
}

/** Entries in order. */
class Entries {
  readonly highs: number[] = [0];
  readonly lows: number[] = [0];
  readonly values: number[];

  /** @param value from the beginning. */
  constructor(value: number) {
    this.values = [value];
  }

  get count(): number {
    return this.values.length;
  }

  begin(high: number, low: number, value: number): void {
    const { highs, lows, values } = this;
    let end = values.length;
    if (end > 0 && highs[end - 1] === high && lows[end - 1] === low) {
      end--;
      highs.pop();
      lows.pop();
      values.pop();
    }
    if (end > 0 && values[end - 1] === value) return;
    highs.push(high);
    lows.push(low);
    values.push(value);
  }
}

class TableWriter {
  readonly #ranges: Ranges;
  readonly #into: WordBuffer;

  constructor(ranges: Ranges, into: WordBuffer) {
    this.#ranges = ranges;
    this.#into = into;
  }

  /**
   * The table of ranges that have all words before this one in common.
   *
   * @param before the value of what is before the first of them.
   */
  writeRanges(from: number, end: number, word: number, before: number): number {
    const { starts, values } = this.#ranges, width: number = this.#ranges.width;
    const hasLow = word + 1 < width;
    const entries = new Entries(before);
    for (let i = from; i < end;) {
      const high = starts[i * width + word]!, low = hasLow ? starts[i * width + word + 1]! : 0;
      let next = i + 1;
      if (hasLow) {
        while (
          next < end && starts[next * width + word] === high && starts[next * width + word + 1] === low
        ) next++;
      }
      if (next === i + 1 && this.#isZeroFrom(i, word + 2)) {
        entries.begin(high, low, values[i]!);
      } else {
        const inside = this.writeRanges(i, next, word + 2, i > 0 ? values[i - 1]! : NONE);
        entries.begin(high, low, TABLE + inside);
        const behind = values[next - 1]!;
        if (low < LAST_WORD) entries.begin(high, low + 1, behind);
        else if (high < LAST_WORD) entries.begin(high + 1, 0, behind);
      }
      i = next;
    }
    return this.#write(word, entries);
  }

  #isZeroFrom(range: number, word: number): boolean {
    const { starts } = this.#ranges, width: number = this.#ranges.width;
    for (let i = word; i < width; i++) if (starts[range * width + i] !== 0) return false;
    return true;
  }

  #write(word: number, all: Entries): number {
    const base = all.highs[1] ?? 0, span = all.highs.at(-1)! - base;
    const bits = all.count <= MOST_IN_BLOCK ? 0 : Math.min(MOST_INDEX_BITS, bitLength(all.count));
    // By 32 would be by nothing.
    const shift = Math.min(31, Math.max(0, bitLength(span) - bits)), lastBlock = span >>> shift;
    const { highs, lows, values } = this.#withoutCrowds(word, all, base, shift), count = values.length;
    const entriesAt = INDEX + lastBlock + 2;
    const at = this.#into.reserve(entriesAt + ENTRY * count), { words } = this.#into;
    words[at] = word;
    words[at + BASE] = base;
    words[at + SHIFT] = shift;
    words[at + LAST_BLOCK] = lastBlock;
    let entry = 0;
    for (let block = 0; block <= lastBlock; block++) {
      const begin = base + block * 2 ** shift;
      // The last that holds at the beginning of the block.
      while (
        entry + 1 < count &&
        (highs[entry + 1]! < begin || (highs[entry + 1] === begin && lows[entry + 1] === 0))
      ) {
        entry++;
      }
      words[at + INDEX + block] = entry;
    }
    words[at + INDEX + lastBlock + 1] = count - 1;
    for (let i = 0, entryAt = at + entriesAt; i < count; i++, entryAt += ENTRY) {
      words[entryAt] = highs[i]!;
      words[entryAt + 1] = lows[i]!;
      words[entryAt + 2] = values[i]!;
    }
    return at;
  }

  /** With one table in the place of each block's entries where they are many. */
  #withoutCrowds(word: number, all: Entries, base: number, shift: number): Entries {
    const { highs, lows, values, count } = all;
    if (count <= MOST_IN_BLOCK) return all;
    const entries = new Entries(values[0]!);
    for (let i = 1; i < count;) {
      const block = highs[i]! - base >>> shift;
      let next = i + 1;
      while (next < count && highs[next]! - base >>> shift === block) next++;
      if (next - i <= MOST_IN_BLOCK) {
        for (; i < next; i++) entries.begin(highs[i]!, lows[i]!, values[i]!);
        continue;
      }
      const crowd = new Entries(values[i - 1]!);
      for (let j = i; j < next; j++) {
        // A block of one word alone: what is left to decide is in the words behind.
        if (shift === 0) crowd.begin(lows[j]!, 0, values[j]!);
        else crowd.begin(highs[j]!, lows[j]!, values[j]!);
      }
      const begin = base + block * 2 ** shift, behind = begin + 2 ** shift;
      entries.begin(begin, 0, TABLE + this.#write(shift === 0 ? word + 1 : word, crowd));
      if (behind <= LAST_WORD) entries.begin(behind, 0, values[next - 1]!);
      i = next;
    }
    return entries;
  }
}

function bitLength(number: number): number {
  return 32 - Math.clz32(number);
}
