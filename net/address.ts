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

function parseV4Bytes(text: string): Uint8Array | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (match === null) return undefined;
  const bytes = new Uint8Array(4);
  for (let i = 0; i < 4; i++) {
    const part = match[i + 1]!;
    // inet_aton reads a leading zero as octal and inet_pton refuses it: refusing is the only reading that
    // cannot name a host the user did not mean.
    if (part.length > 1 && part.startsWith("0")) return undefined;
    const value = Number(part);
    if (value > 255) return undefined;
    bytes[i] = value;
  }
  return bytes;
}

function parseV6Bytes(text: string): Uint8Array | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0]!, halves.length === 1);
  const tail = halves.length === 2 ? parseGroups(halves[1]!, true) : [];
  if (head === undefined || tail === undefined) return undefined;
  const groups = head.length + tail.length;
  if (halves.length === 1 ? groups !== 8 : groups > 7) return undefined;
  const bytes = new Uint8Array(16);
  head.forEach((group, i) => writeGroup(bytes, i, group));
  tail.forEach((group, i) => writeGroup(bytes, 8 - tail.length + i, group));
  return bytes;
}

function writeGroup(bytes: Uint8Array, index: number, group: number): void {
  bytes[2 * index] = group >> 8;
  bytes[2 * index + 1] = group & 0xff;
}

/** The 16-bit groups of one side of `::`; a dotted quad is allowed as the last two groups (RFC 4291, 2.2). */
function parseGroups(text: string, mayEndInV4: boolean): number[] | undefined {
  if (text === "") return [];
  const groups: number[] = [];
  const parts = text.split(":");
  for (const [i, part] of parts.entries()) {
    if (mayEndInV4 && i === parts.length - 1 && part.includes(".")) {
      const v4 = parseV4Bytes(part);
      if (v4 === undefined) return undefined;
      groups.push(v4[0]! << 8 | v4[1]!, v4[2]! << 8 | v4[3]!);
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) {
      groups.push(parseInt(part, 16));
    } else return undefined;
  }
  return groups;
}

/**
 * Reads an address as `inet_pton(3)` does: no leading zeros, no zone.
 *
 * @returns the canonical address, or undefined when `text` is none.
 */
export function parseAddress(text: string): IpAddress | undefined {
  const bytes = text.includes(":") ? parseV6Bytes(text) : parseV4Bytes(text);
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
  const groups = Array.from({ length: 8 }, (_, i) => bytes[2 * i]! << 8 | bytes[2 * i + 1]!);
  let best = -1, bestLength = 1;
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > bestLength) [best, bestLength] = [i, end - i];
    if (end > i) i = end;
  }
  const hex = groups.map((group) => group.toString(16));
  // RFC 5952, section 5: a v4-mapped address shows its IPv4 part as a dotted quad.
  if (isV4Mapped(bytes)) return `::ffff:${bytes.subarray(12).join(".")}`;
  if (best < 0) return hex.join(":");
  return `${hex.slice(0, best).join(":")}::${hex.slice(best + bestLength).join(":")}`;
}

function isV4Mapped(bytes: Uint8Array): boolean {
  return bytes.length === 16 && bytes[10] === 0xff && bytes[11] === 0xff &&
    bytes.subarray(0, 10).every((byte) => byte === 0);
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
