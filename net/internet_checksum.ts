/**
 * The Internet checksum (RFC 1071) over parts of a packet.
 *
 * @module
 */

/**
 * Adds bytes to a sum, as 16-bit words in network order; an odd last byte is followed by a zero.
 *
 * Up to 65,535 bytes may be added to one sum: it stays below 2^32.
 */
export function addToSum(sum: number, bytes: Uint8Array, offset: number, length: number): number {
  const end = offset + length, pairsEnd = end - (length & 1);
  let total = sum;
  for (let i = offset; i < pairsEnd; i += 2) total += bytes[i]! << 8 | bytes[i + 1]!;
  return pairsEnd === end ? total : total + (bytes[pairsEnd]! << 8);
}

/** The checksum of everything added: the complement of the sum, with its carries folded in. */
export function checksumOf(sum: number): number {
  // Twice, because the first fold can carry again.
  const folded = (sum & 0xffff) + (sum >>> 16);
  return ~(folded + (folded >>> 16)) & 0xffff;
}
