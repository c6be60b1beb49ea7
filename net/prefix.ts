/**
 * IP prefixes (CIDR blocks) as plain values, in the same style as addresses: equal when their texts are.
 *
 * @module
 */
import {
  addressBytes,
  addressFromBytes,
  type IpAddress,
  type IpFamily,
  parseAddressBytes,
} from "./address.ts";

/** A block of addresses. `text` is canonical, `address/length`, with all host bits zero. */
export interface Prefix {
  /** IP version. */
  readonly family: IpFamily;
  /** `address/length` in canonical form. */
  readonly text: string;
  /** Leading bits that are fixed: 0 to 32 or 0 to 128. */
  readonly length: number;
}

/**
 * Reads `address/length`, or a bare address as a host prefix. Host bits are cleared, as routing tools do.
 *
 * @returns the prefix, or undefined when `text` is none.
 */
export function parsePrefix(text: string): Prefix | undefined {
  const slash = text.indexOf("/");
  const bytes = parseAddressBytes(slash < 0 ? text : text.slice(0, slash));
  if (bytes === undefined) return undefined;
  const bits = 8 * bytes.length;
  if (slash < 0) return prefixFromBytes(bytes, bits);
  const lengthText = text.slice(slash + 1);
  if (!/^(0|[1-9]\d{0,2})$/.test(lengthText) || Number(lengthText) > bits) return undefined;
  return prefixFromBytes(bytes, Number(lengthText));
}

/** The prefix of `length` bits that holds `address`. */
export function prefixOf(address: IpAddress, length: number): Prefix {
  return prefixFromBytes(addressBytes(address), length);
}

/** The same from the address's bytes, of which it clears the host bits. */
function prefixFromBytes(bytes: Uint8Array, length: number): Prefix {
  for (let i = length >> 3; i < bytes.length; i++) {
    const fixed = Math.max(0, length - 8 * i);
    bytes[i] = bytes[i]! & (0xff00 >> fixed);
  }
  const { family, text } = addressFromBytes(bytes);
  return { family, text: `${text}/${length}`, length };
}

/** Whether `address` lies in `prefix`; never across families. */
export function prefixContains(prefix: Prefix, address: IpAddress): boolean {
  return prefix.family === address.family && prefixOf(address, prefix.length).text === prefix.text;
}
