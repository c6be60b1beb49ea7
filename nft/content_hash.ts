/**
 * Hashes by which kernel state says what it holds.
 *
 * @module
 */

/** FNV-1a, 64 bits, 16 hexadecimal digits. Tells two texts apart; nobody gains by forging it: the host is theirs. */
export function contentHash(text: string): string {
  // Two halves of 32 bits, since a BigInt for each byte would take seconds for a long list.
  let high = 0xcbf29ce4, low = 0x84222325;
  for (const byte of new TextEncoder().encode(text)) {
    low = (low ^ byte) >>> 0;
    // Times the prime 0x100000001b3 = 2^40 + 0x1b3, modulo 2^64.
    const product = low * 0x1b3;
    high = (Math.imul(high, 0x1b3) + Math.floor(product / 0x1_0000_0000) + (low << 8)) >>> 0;
    low = product >>> 0;
  }
  return high.toString(16).padStart(8, "0") + low.toString(16).padStart(8, "0");
}
