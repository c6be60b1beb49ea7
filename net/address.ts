/**
 * IP addresses as plain values.
 *
 * An address is its family and its canonical text, so two addresses are equal exactly when their texts are,
 * and a value survives JSON and `postMessage` unchanged. The data plane works on the bytes inside a sockaddr
 * and never builds these; they are for configuration, plans, logs and tests.
 *
 * @module
 */

/** IP version: 4 or 6. */
export type IpFamily = 4 | 6;

/** One IP address. `text` is canonical: dotted quad, or RFC 5952 (lower case, longest zero run as `::`). */
export interface IpAddress {
  /** IP version. */
  readonly family: IpFamily;
  /** Canonical text, without brackets, prefix length or zone. */
  readonly text: string;
}

/** 0.0.0.0 */
export const ANY_V4: IpAddress = { family: 4, text: "0.0.0.0" };
/** :: */
export const ANY_V6: IpAddress = { family: 6, text: "::" };

/** A dotted quad; read by the character, since lists hold 100,000 of them. */
function parseV4Bytes(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(4);
  let part = 0, value = 0, digits = 0;
  for (let i = 0; i <= text.length; i++) {
    const code = i < text.length ? text.charCodeAt(i) : DOT;
    if (code === DOT) {
      if (digits === 0 || part > 3) return undefined;
      bytes[part++] = value;
      value = digits = 0;
      continue;
    }
    // inet_aton reads a leading zero as octal and inet_pton refuses it: refusing is the only reading that
    // cannot name a host the user did not mean.
    if (code < ZERO || code > NINE || (digits > 0 && value === 0)) return undefined;
    value = 10 * value + code - ZERO;
    digits++;
    if (value > 255) return undefined;
  }
  return part === 4 ? bytes : undefined;
}

const DOT = 0x2e, ZERO = 0x30, NINE = 0x39, COLON = 0x3a;

function parseV6Bytes(text: string): Uint8Array | undefined {
  const gap = text.indexOf("::");
  if (gap >= 0 && text.indexOf("::", gap + 1) >= 0) return undefined;
  const head = parseGroups(gap < 0 ? text : text.slice(0, gap), gap < 0);
  const tail = gap < 0 ? [] : parseGroups(text.slice(gap + 2), true);
  if (head === undefined || tail === undefined) return undefined;
  const groups = head.length + tail.length;
  if (gap < 0 ? groups !== 8 : groups > 7) return undefined;
  const bytes = new Uint8Array(16);
  for (let i = 0; i < head.length; i++) writeGroup(bytes, i, head[i]!);
  for (let i = 0; i < tail.length; i++) writeGroup(bytes, 8 - tail.length + i, tail[i]!);
  return bytes;
}

function writeGroup(bytes: Uint8Array, index: number, group: number): void {
  bytes[2 * index] = group >> 8;
  bytes[2 * index + 1] = group & 0xff;
}

/** The 16-bit groups of one side of `::`; a dotted quad is allowed as the last two groups (RFC 4291, 2.2). */
function parseGroups(text: string, mayEndInV4: boolean): number[] | undefined {
  const groups: number[] = [];
  if (text === "") return groups;
  let start = 0, value = 0;
  for (let i = 0; i <= text.length; i++) {
    const code = i < text.length ? text.charCodeAt(i) : COLON;
    if (code === COLON) {
      if (i === start) return undefined;
      groups.push(value);
      start = i + 1;
      value = 0;
    } else if (code === DOT && mayEndInV4) {
      const v4 = parseV4Bytes(text.slice(start));
      if (v4 === undefined) return undefined;
      groups.push(v4[0]! << 8 | v4[1]!, v4[2]! << 8 | v4[3]!);
      return groups;
    } else {
      const digit = hexDigit(code);
      if (digit < 0 || i - start === 4) return undefined;
      value = value << 4 | digit;
    }
  }
  return groups;
}

/** What a character stands for as a hexadecimal digit; -1: nothing. */
function hexDigit(code: number): number {
  if (code >= ZERO && code <= NINE) return code - ZERO;
  // a to f, in lower case.
  const letter = (code | 0x20) - 0x61;
  return letter >= 0 && letter < 6 ? 10 + letter : -1;
}

/**
 * Reads an address as {@linkcode parseAddress} does, without the work of its canonical text.
 *
 * @returns 4 or 16 bytes in network order, or undefined when `text` is none.
 */
export function parseAddressBytes(text: string): Uint8Array | undefined {
  return text.includes(":") ? parseV6Bytes(text) : parseV4Bytes(text);
}

/**
 * Reads an address as `inet_pton(3)` does: no leading zeros, no zone.
 *
 * @returns the canonical address, or undefined when `text` is none.
 */
export function parseAddress(text: string): IpAddress | undefined {
  const bytes = parseAddressBytes(text);
  return bytes && addressFromBytes(bytes);
}

/**
 * Makes an address from its network-order bytes.
 *
 * @param bytes 4 or 16 bytes.
 * @throws {RangeError} for any other length.
 */
export function addressFromBytes(bytes: Uint8Array): IpAddress {
  if (bytes.length === 4) return { family: 4, text: bytes.join(".") };
  if (bytes.length !== 16) throw new RangeError(`address: ${bytes.length} bytes found, 4 or 16 wanted`);
  return { family: 6, text: formatV6(bytes) };
}

/** RFC 5952: the longest run of two or more zero groups (the first of equals) becomes `::`. */
function formatV6(bytes: Uint8Array): string {
  // RFC 5952, section 5: a v4-mapped address shows its IPv4 part as a dotted quad.
  if (isV4Mapped(bytes)) return `::ffff:${bytes.subarray(12).join(".")}`;
  let best = -1, bestLength = 1;
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && groupAt(bytes, end) === 0) end++;
    if (end - i > bestLength) [best, bestLength] = [i, end - i];
    if (end > i) i = end;
  }
  if (best < 0) return formatGroups(bytes, 0, 8);
  return `${formatGroups(bytes, 0, best)}::${formatGroups(bytes, best + bestLength, 8)}`;
}

function groupAt(bytes: Uint8Array, index: number): number {
  return bytes[2 * index]! << 8 | bytes[2 * index + 1]!;
}

function formatGroups(bytes: Uint8Array, from: number, end: number): string {
  let text = "";
  for (let i = from; i < end; i++) text += (i > from ? ":" : "") + groupAt(bytes, i).toString(16);
  return text;
}

function isV4Mapped(bytes: Uint8Array): boolean {
  if (bytes.length !== 16 || bytes[10] !== 0xff || bytes[11] !== 0xff) return false;
  return bytes.subarray(0, 10).every((byte) => byte === 0);
}

/** The address in network order: 4 or 16 bytes, freshly allocated. */
export function addressBytes(address: IpAddress): Uint8Array {
  const bytes = address.family === 4 ? parseV4Bytes(address.text) : parseV6Bytes(address.text);
  if (bytes === undefined) throw new RangeError(`address: "${address.text}" is not IPv${address.family}`);
  return bytes;
}

/** `::ffff:a.b.c.d` (RFC 4291, 2.5.5.2) becomes a.b.c.d; every other address is returned as it is. */
export function unmapV4(address: IpAddress): IpAddress {
  if (address.family === 4) return address;
  const bytes = addressBytes(address);
  return isV4Mapped(bytes) ? addressFromBytes(bytes.subarray(12)) : address;
}
