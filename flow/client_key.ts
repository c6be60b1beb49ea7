/**
 * Who counts as one client at the limits: an IPv4 address, or the 64-bit prefix of an IPv6 one, within which a host
 * takes as many addresses as it likes.
 *
 * @module
 */
import { AF_INET } from "../ffi/mod.ts";

/**
 * 32 bits that stand for a client. Two IPv4 clients never share them, nor do two IPv6 clients of one /32; others may
 * by chance. Without the seed nobody can tell who does, and make somebody else be refused.
 *
 * @param sockaddr `sockaddr_in` or `sockaddr_in6` bytes, the address not v4-mapped.
 * @param seed 32 bits that nobody can guess.
 * @returns never 0.
 */
export function clientKey(sockaddr: Uint8Array, seed: number): number {
  const key = sockaddr[0] === AF_INET
    ? scramble(wordAt(sockaddr, 4) ^ seed)
    : scramble(wordAt(sockaddr, 12) ^ scramble(wordAt(sockaddr, 8) ^ seed));
  return key === 0 ? 1 : key;
}

function wordAt(bytes: Uint8Array, at: number): number {
  return bytes[at]! << 24 | bytes[at + 1]! << 16 | bytes[at + 2]! << 8 | bytes[at + 3]!;
}

/** MurmurHash3's finalizer: each word becomes another one. */
function scramble(word: number): number {
  let mixed = Math.imul(word ^ (word >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
