/**
 * Prefixes from their text to words, 100,000 of them without an object for each.
 *
 * The plain forms, which is how canonical text looks, are read here by the character; whatever is not plain is left to
 * net/prefix.ts, so there is one grammar.
 *
 * @module
 */
import { type IpFamily, parseAddressBytes, parsePrefix } from "../net/mod.ts";

const ZERO = 0x30, NINE = 0x39, DOT = 0x2e, COLON = 0x3a, SLASH = 0x2f;
const GROUPS = 8;

/** Reads one prefix after the other; what the last one was stays until the next. */
export class PrefixReader {
  /** The address in host order, with its host bits cleared: one word for IPv4, four for IPv6. */
  readonly words: Uint32Array = new Uint32Array(4);
  family: IpFamily = 4;
  /** Leading bits that are fixed. */
  length = 0;
  readonly #groups = new Uint16Array(GROUPS);

  /** @throws {RangeError} for text that is no prefix. */
  read(text: string): void {
    const slash = text.indexOf("/");
    const length = readLength(text, slash);
    if (length >= 0) {
      if (length <= 32 && this.#readV4(text, slash)) return this.#keep(4, length);
      if (length <= 128 && this.#readV6(text, slash)) return this.#keep(6, length);
    }
    this.#readAny(text);
  }

  #keep(family: IpFamily, length: number): void {
    this.family = family;
    this.length = length;
    const { words } = this, count = family === 4 ? 1 : 4;
    for (let i = 0, fixed = length; i < count; i++, fixed -= 32) words[i]! &= maskOf(fixed);
  }

  #readV4(text: string, end: number): boolean {
    let address = 0, part = 0, value = 0, digits = 0;
    for (let i = 0; i <= end; i++) {
      const code = text.charCodeAt(i);
      if (code === DOT || code === SLASH) {
        if (digits === 0 || value > 255) return false;
        address = address << 8 | value;
        part++;
        value = digits = 0;
      } else {
        if (code < ZERO || code > NINE || digits === 3 || (digits > 0 && value === 0)) return false;
        value = 10 * value + code - ZERO;
        digits++;
      }
    }
    this.words[0] = address;
    return part === 4;
  }

  #readV6(text: string, end: number): boolean {
    const groups = this.#groups;
    let count = 0, gap = -1, i = 0;
    if (text.charCodeAt(0) === COLON) {
      if (text.charCodeAt(1) !== COLON) return false;
      gap = 0;
      i = 2;
    }
    while (i < end) {
      let value = 0, digits = 0, code = text.charCodeAt(i);
      for (let digit = hexDigit(code); digit >= 0; digit = hexDigit(code)) {
        value = value << 4 | digit;
        if (++digits > 4) return false;
        code = text.charCodeAt(++i);
      }
      if (digits === 0 || count === GROUPS) return false;
      groups[count++] = value;
      if (i === end) break;
      if (code !== COLON) return false;
      // A colon leads to a group, or is the first of the one pair.
      if (text.charCodeAt(++i) === COLON) {
        if (gap >= 0) return false;
        gap = count;
        i++;
      } else if (i === end) return false;
    }
    if (gap < 0 ? count !== GROUPS : count === GROUPS) return false;
    this.#spread(count, gap);
    return true;
  }

  /** Puts the groups into words, those behind the gap at the end. */
  #spread(count: number, gap: number): void {
    const groups = this.#groups, { words } = this;
    if (gap >= 0) {
      groups.copyWithin(GROUPS - count + gap, gap, count);
      groups.fill(0, gap, GROUPS - count + gap);
    }
    for (let i = 0; i < 4; i++) words[i] = groups[2 * i]! << 16 | groups[2 * i + 1]!;
  }

  #readAny(text: string): void {
    const prefix = parsePrefix(text);
    if (prefix === undefined) {
      throw new RangeError(`prefix: found ${JSON.stringify(text)}, wanted ADDRESS/LENGTH`);
    }
    const bytes = parseAddressBytes(prefix.text.slice(0, prefix.text.indexOf("/")))!;
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < bytes.length / 4; i++) this.words[i] = view.getUint32(4 * i);
    this.#keep(prefix.family, prefix.length);
  }
}

/** The word of a mask with so many fixed bits from this word on. */
export function maskOf(fixed: number): number {
  return fixed >= 32 ? -1 : fixed <= 0 ? 0 : -1 << (32 - fixed);
}

/** The one to three digits behind the slash; -1: it is not plain. */
function readLength(text: string, slash: number): number {
  const digits = text.length - slash - 1;
  if (slash < 0 || digits < 1 || digits > 3) return -1;
  let length = 0;
  for (let i = slash + 1; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < ZERO || code > NINE) return -1;
    length = 10 * length + code - ZERO;
  }
  // A leading zero is refused by the grammar.
  return digits > 1 && text.charCodeAt(slash + 1) === ZERO ? -1 : length;
}

function hexDigit(code: number): number {
  if (code >= ZERO && code <= NINE) return code - ZERO;
  const letter = (code | 0x20) - 0x61;
  return letter >= 0 && letter < 6 ? 10 + letter : -1;
}
