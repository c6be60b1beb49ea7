/**
 * Control messages (cmsg(3)) in an aligned buffer: an encoder for sendmsg, an iterator for recvmsg.
 *
 * Both move an index over memory they were given once and allocate nothing for a message. What a level and type
 * mean, and where within the data a field lies, is their caller's business.
 *
 * A buffer comes from the kernel or from this encoder, but its lengths are trusted as little as a peer's: a
 * header that claims more than the buffer holds ends the iteration.
 *
 * @module
 */
import type { Block } from "./arena.ts";

/** sizeof(struct cmsghdr): size_t cmsg_len, int cmsg_level, int cmsg_type. */
export const CMSGHDR_BYTES = 16;
/** CMSG_ALIGN rounds up to sizeof(size_t). */
const ALIGNMENT = 8;

function align(length: number): number {
  return (length + ALIGNMENT - 1) & -ALIGNMENT;
}

/** CMSG_SPACE: bytes that a message with so much data takes in a buffer. */
export function cmsgSpace(dataBytes: number): number {
  return CMSGHDR_BYTES + align(dataBytes);
}

/** The part of a block that is used here. */
export type CmsgBlock = Pick<Block, "length" | "bytes" | "words">;

/** One buffer of a block, which may hold one for each of many datagrams. */
class CmsgBuffer {
  protected readonly words: Int32Array;
  protected readonly bytes: Uint8Array;
  readonly #length: number;

  constructor(block: CmsgBlock) {
    if (block.bytes.byteOffset % ALIGNMENT !== 0) {
      throw new RangeError(`control buffer: offset ${block.bytes.byteOffset} found, a multiple of 8 wanted`);
    }
    this.words = block.words;
    this.bytes = block.bytes;
    this.#length = block.length;
  }

  protected checkRange(at: number, length: number): void {
    if (at % ALIGNMENT !== 0 || at < 0 || length < 0 || at + length > this.#length) {
      throw new RangeError(
        `control buffer: ${length} bytes at ${at} found, a multiple of 8 and an end within ${this.#length} wanted`,
      );
    }
  }
}

/** Writes messages one after another. */
export class CmsgEncoder extends CmsgBuffer {
  #start = 0;
  #at = 0;
  #end = 0;

  /** Begins a buffer of `capacity` bytes at `at` (a multiple of 8). */
  start(at: number, capacity: number): void {
    this.checkRange(at, capacity);
    this.#start = this.#at = at;
    this.#end = at + capacity;
  }

  /**
   * Appends a message with zeroed data.
   *
   * @returns where in the block its data begins, for the caller to write to; a multiple of 8.
   * @throws {RangeError} when the buffer is full.
   */
  push(level: number, type: number, dataBytes: number): number {
    const at = this.#at;
    if (at + cmsgSpace(dataBytes) > this.#end) {
      throw new RangeError(`control buffer: ${cmsgSpace(dataBytes)} bytes wanted, ${this.#end - at} left`);
    }
    this.bytes.fill(0, at, at + cmsgSpace(dataBytes));
    const word = at >> 2;
    // cmsg_len is CMSG_LEN, without the padding behind the data. Its upper half is zero.
    this.words[word] = CMSGHDR_BYTES + dataBytes;
    this.words[word + 2] = level;
    this.words[word + 3] = type;
    this.#at = at + cmsgSpace(dataBytes);
    return at + CMSGHDR_BYTES;
  }

  /** Bytes written, for msg_controllen. */
  get length(): number {
    return this.#at - this.#start;
  }
}

/** Walks over received messages: `start`, then `next` while it answers true. */
export class CmsgIterator extends CmsgBuffer {
  /** Of the current message. */
  level = 0;
  type = 0;
  /** Where in the block the data of the current message begins, a multiple of 8, and its bytes. */
  dataAt = 0;
  dataLength = 0;
  #next = 0;
  #end = 0;

  /**
   * Begins with a received buffer.
   *
   * @param at where it lies in the block, a multiple of 8.
   * @param length msg_controllen as recvmsg left it.
   */
  start(at: number, length: number): void {
    this.checkRange(at, length);
    this.#next = at;
    this.#end = at + length;
  }

  /** Moves on to the next message; false when there is none, or none whole. */
  next(): boolean {
    const at = this.#next, left = this.#end - at;
    if (left < CMSGHDR_BYTES) return false;
    const word = at >> 2;
    const length = this.words[word]!;
    // The upper half of a size_t, or a lower half that is negative here: more than any buffer holds.
    if (this.words[word + 1] !== 0 || length < CMSGHDR_BYTES || length > left) {
      this.#next = this.#end;
      return false;
    }
    this.level = this.words[word + 2]!;
    this.type = this.words[word + 3]!;
    this.dataAt = at + CMSGHDR_BYTES;
    this.dataLength = length - CMSGHDR_BYTES;
    // The last message need not be padded, and its padding need not be counted.
    this.#next = Math.min(this.#end, at + align(length));
    return true;
  }
}
