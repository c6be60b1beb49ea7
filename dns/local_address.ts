/**
 * The address of ours that a datagram came to, and from which the answer is to go: IP_PKTINFO (ip(7)) and IPV6_PKTINFO
 * (ipv6(7)), which are called the same in both directions.
 *
 * @module
 */
import {
  AF_INET,
  AF_INET6,
  type Arena,
  CmsgEncoder,
  CmsgIterator,
  cmsgSpace,
  IP_PKTINFO,
  IPV6_PKTINFO,
  SOL_IP,
  SOL_IPV6,
} from "../ffi/mod.ts";

/** struct in_pktinfo { int ifindex; in_addr spec_dst; in_addr addr } and struct in6_pktinfo { in6_addr; int ifindex }. */
const PKTINFO_V4_BYTES = 12, PKTINFO_V6_BYTES = 20;

/** What lo has in every network namespace (LOOPBACK_IFINDEX). */
const LO = 1;

/** Room for either. */
export const LOCAL_ADDRESS_BYTES: number = cmsgSpace(PKTINFO_V6_BYTES);

/** Reads and writes such messages anywhere in an arena. */
export class LocalAddress {
  readonly #words: Int32Array;
  readonly #iterator: CmsgIterator;
  readonly #encoder: CmsgEncoder;

  constructor({ bytes, words }: Arena) {
    const block = { bytes, words, length: bytes.length };
    this.#words = words;
    this.#iterator = new CmsgIterator(block);
    this.#encoder = new CmsgEncoder(block);
  }

  /**
   * Writes the local address of a datagram that came by lo to the sockaddr `into`, with port 0.
   *
   * @param at where the datagram's control messages lie.
   * @returns whether it came that way.
   */
  read(at: number, length: number, into: Int32Array): boolean {
    const iterator = this.#iterator, words = this.#words;
    iterator.start(at, length);
    while (iterator.next()) {
      const { level, type, dataLength } = iterator, data = iterator.dataAt >> 2;
      if (level === SOL_IP && type === IP_PKTINFO && dataLength >= PKTINFO_V4_BYTES) {
        into.fill(0);
        into[0] = AF_INET;
        into[1] = words[data + 2]!;
        return words[data] === LO;
      }
      if (level === SOL_IPV6 && type === IPV6_PKTINFO && dataLength >= PKTINFO_V6_BYTES) {
        into.fill(0);
        into[0] = AF_INET6;
        for (let i = 0; i < 4; i++) into[2 + i] = words[data + i]!;
        return words[data + 4] === LO;
      }
    }
    return false;
  }

  /**
   * Has a message come from the address in a sockaddr.
   *
   * @param at where the message's control messages are to lie.
   * @returns their bytes.
   */
  write(at: number, sockaddr: Int32Array): number {
    const encoder = this.#encoder, words = this.#words;
    encoder.start(at, LOCAL_ADDRESS_BYTES);
    if ((sockaddr[0]! & 0xffff) === AF_INET) {
      const data = encoder.push(SOL_IP, IP_PKTINFO, PKTINFO_V4_BYTES) >> 2;
      words[data + 1] = sockaddr[1]!;
    } else {
      const data = encoder.push(SOL_IPV6, IPV6_PKTINFO, PKTINFO_V6_BYTES) >> 2;
      for (let i = 0; i < 4; i++) words[data + i] = sockaddr[2 + i]!;
    }
    return encoder.length;
  }
}
