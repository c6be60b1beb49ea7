/**
 * Whether an address lies in one of many prefixes, by binary search: a plan's sets may hold 100,000 of them and are
 * asked for each packet.
 *
 * @module
 */
import { addressBytes, type IpAddress } from "../net/address.ts";
import { parsePrefix } from "../net/prefix.ts";
import type { AddressSet } from "./plan.ts";

/** Disjoint prefixes of one family, as two columns: the first and the last address of each. */
export class PrefixLookup {
  readonly #first: string[] = [];
  readonly #last: string[] = [];

  /** @throws {RangeError} when a text is no prefix. */
  constructor(prefixes: readonly string[]) {
    const ranges = prefixes.map(rangeOf).sort((a, b) => a.first < b.first ? -1 : 1);
    for (const { first, last } of ranges) {
      this.#first.push(first);
      this.#last.push(last);
    }
  }

  /** `address` must be of the prefixes' family. */
  has(address: IpAddress): boolean {
    const key = keyOf(addressBytes(address));
    let low = 0, high = this.#first.length;
    // The number of ranges that begin at or before the address: only the last of those can hold it.
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#first[middle]! <= key) low = middle + 1;
      else high = middle;
    }
    return low > 0 && key <= this.#last[low - 1]!;
  }
}

/** A plan is never changed, so a set is read once. */
const lookups = new WeakMap<AddressSet, PrefixLookup>();

/** The prefixes of `set`, ready to be asked. */
export function lookupOf(set: AddressSet): PrefixLookup {
  let lookup = lookups.get(set);
  if (lookup === undefined) lookups.set(set, lookup = new PrefixLookup(set.prefixes));
  return lookup;
}

function rangeOf(text: string): { first: string; last: string } {
  const prefix = parsePrefix(text);
  const address = prefix && { family: prefix.family, text: prefix.text.slice(0, prefix.text.indexOf("/")) };
  if (prefix === undefined || address === undefined) throw new RangeError(`prefix: "${text}" is none`);
  const bytes = addressBytes(address);
  const first = keyOf(bytes);
  for (let i = 0; i < bytes.length; i++) {
    const fixed = Math.min(8, Math.max(0, prefix.length - 8 * i));
    bytes[i] = bytes[i]! | (0xff >> fixed);
  }
  return { first, last: keyOf(bytes) };
}

/** Text that sorts as the addresses of one family do. */
function keyOf(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}
