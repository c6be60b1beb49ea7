/**
 * The header of datagrams that go through a SOCKS5 server (RFC 1928, section 7): whom they are to, whom they are from.
 *
 * @module
 */
import {
  AF_INET,
  AF_INET6,
  type Arena,
  SOCKADDR_IN6_BYTES,
  SOCKADDR_IN_BYTES,
  unmapSockaddr,
} from "../ffi/mod.ts";
import type { DatagramFraming } from "../flow/mod.ts";
import { IPV4, IPV6 } from "./socks5_messages.ts";

/** Two reserved bytes, fragment number, kind of address, address, port. */
const V4_BYTES = 10, V6_BYTES = 22;

/** Holds nothing: one does for all paths of a worker. */
export class Socks5Framing implements DatagramFraming {
  readonly maxHeaderBytes = V6_BYTES;
  readonly framesAnswers = true;
  readonly #bytes: Uint8Array;

  constructor(arena: Arena) {
    this.#bytes = arena.bytes;
  }

  writeHeader(_clientAt: number, destinationAt: number, headerAt: number): number {
    const bytes = this.#bytes;
    const isV4 = bytes[destinationAt] === AF_INET;
    bytes[headerAt] = bytes[headerAt + 1] = bytes[headerAt + 2] = 0;
    bytes[headerAt + 3] = isV4 ? IPV4 : IPV6;
    const from = destinationAt + (isV4 ? 4 : 8), length = isV4 ? 4 : 16;
    bytes.copyWithin(headerAt + 4, from, from + length);
    bytes.copyWithin(headerAt + 4 + length, destinationAt + 2, destinationAt + 4);
    return isV4 ? V4_BYTES : V6_BYTES;
  }

  readHeader(at: number, length: number, sourceAt: number): number {
    const bytes = this.#bytes;
    // Shorter than that it is no header, of either kind. Fragments (section 7: FRAG) nobody sends, and we take none.
    if (length < V4_BYTES || bytes[at] !== 0 || bytes[at + 1] !== 0 || bytes[at + 2] !== 0) return -1;
    const kind = bytes[at + 3];
    if (kind === IPV4) {
      bytes.fill(0, sourceAt, sourceAt + SOCKADDR_IN_BYTES);
      bytes[sourceAt] = AF_INET;
      bytes.copyWithin(sourceAt + 4, at + 4, at + 8);
      bytes.copyWithin(sourceAt + 2, at + 8, at + 10);
      return V4_BYTES;
    }
    // A name says not which of its addresses it was.
    if (kind !== IPV6 || length < V6_BYTES) return -1;
    bytes.fill(0, sourceAt, sourceAt + SOCKADDR_IN6_BYTES);
    bytes[sourceAt] = AF_INET6;
    bytes.copyWithin(sourceAt + 8, at + 4, at + 20);
    bytes.copyWithin(sourceAt + 2, at + 20, at + 22);
    unmapSockaddr(bytes, sourceAt);
    return V6_BYTES;
  }
}
