/**
 * `struct mmsghdr` (recvmmsg(2), sendmmsg(2)): batches of datagrams, received into and sent from one arena.
 *
 * Everything that does not change is written once: where names, control data and payloads lie. For each call only
 * the words that the kernel has changed are set again, and nothing is allocated. What lies where is told as an
 * offset in the arena, so that what was received can be sent without being copied.
 *
 * @module
 */
import type { Arena } from "./arena.ts";
import { SOCKADDR_IN6_BYTES } from "./sockaddr.ts";
import type { Syscalls } from "./syscalls.ts";

/** sizeof(struct mmsghdr): a struct msghdr and unsigned msg_len. */
export const MMSGHDR_BYTES = 64;
/** sizeof(struct iovec). */
export const IOVEC_BYTES = 16;

// In words, which is how the fields are written.
const HEADER_WORDS = MMSGHDR_BYTES >> 2;
const IOVEC_WORDS = IOVEC_BYTES >> 2;
const NAME = 0, NAME_LENGTH = 2, IOVECS = 4, IOVEC_COUNT = 6, CONTROL = 8, CONTROL_LENGTH = 10, FLAGS = 12;
const MESSAGE_LENGTH = 14;

/** A cache line beside what a name needs; and before each payload, so that not all begin in the same cache set. */
const LINE = 64;

/** Bytes in front of each received payload that nothing else uses: a header can be put before it where it lies. */
export const HEADROOM_BYTES = LINE;

/** Headers of a batch: an array of struct mmsghdr, and a pointer to each. */
class Headers {
  protected readonly arena: Arena;
  protected readonly words: Int32Array;
  protected readonly firstWord: number;
  protected readonly pointers: readonly Deno.PointerValue[];

  constructor(arena: Arena, size: number) {
    const headers = arena.allocate(size * MMSGHDR_BYTES);
    this.arena = arena;
    this.words = arena.words;
    this.firstWord = headers.offset >> 2;
    this.pointers = Array.from(
      { length: size },
      (_, i) => arena.pointerAt(headers.offset + i * MMSGHDR_BYTES),
    );
  }

  protected setAddress(word: number, offset: number): void {
    this.words[word] = this.arena.addressLow(offset);
    this.words[word + 1] = this.arena.addressHigh;
  }
}

/** Memory for a number of datagrams, filled by recvmmsg. */
export class ReceiveBatch extends Headers {
  /** Most datagrams of one call. */
  readonly size: number;
  readonly #namesAt: number;
  readonly #payloadsAt: number;
  readonly #controlsAt: number;
  readonly #payloadStride: number;
  readonly #controlBytes: number;
  /** The kernel has changed no header from this one on. */
  #changedEnd: number;

  /** Arena bytes that a batch takes. */
  static bytes(size: number, payloadBytes: number, controlBytes: number): number {
    return size * (MMSGHDR_BYTES + IOVEC_BYTES + LINE + controlBytes + payloadBytes + LINE) + 4 * LINE;
  }

  /**
   * @param payloadBytes of each datagram; more is cut off and flagged MSG_TRUNC. A multiple of 64.
   * @param controlBytes of each datagram; a multiple of 8.
   */
  constructor(arena: Arena, size: number, payloadBytes: number, controlBytes: number) {
    super(arena, size);
    this.size = this.#changedEnd = size;
    this.#controlBytes = controlBytes;
    this.#payloadStride = payloadBytes + LINE;
    const iovecs = arena.allocate(size * IOVEC_BYTES);
    this.#namesAt = arena.allocate(size * LINE).offset;
    this.#controlsAt = arena.allocate(size * controlBytes).offset;
    this.#payloadsAt = arena.allocate(size * this.#payloadStride).offset + HEADROOM_BYTES;
    for (let i = 0; i < size; i++) {
      const header = this.firstWord + i * HEADER_WORDS;
      this.setAddress(header + NAME, this.nameAt(i));
      this.setAddress(header + IOVECS, iovecs.offset + i * IOVEC_BYTES);
      this.words[header + IOVEC_COUNT] = 1;
      this.setAddress(header + CONTROL, this.controlAt(i));
      const iovec = (iovecs.offset >> 2) + i * IOVEC_WORDS;
      this.setAddress(iovec, this.payloadAt(i));
      this.words[iovec + 2] = payloadBytes;
    }
  }

  /**
   * recvmmsg(2), into the places from `first` on; what was received into those before stays.
   *
   * @returns how many datagrams were received, or -errno.
   */
  receive(sys: Syscalls, fd: number, flags: number, first = 0): number {
    for (let i = first; i < this.#changedEnd; i++) {
      const word = this.firstWord + i * HEADER_WORDS;
      this.words[word + NAME_LENGTH] = SOCKADDR_IN6_BYTES;
      this.words[word + CONTROL_LENGTH] = this.#controlBytes;
    }
    const count = sys.recvmmsg(fd, this.pointers[first]!, this.size - first, flags);
    // On an error the first header may have been touched.
    this.#changedEnd = first + (count > 0 ? count : 1);
    return count;
  }

  /** Where the sender's sockaddr of a datagram lies. */
  nameAt(i: number): number {
    return this.#namesAt + i * LINE;
  }

  /** Where a datagram's payload lies. */
  payloadAt(i: number): number {
    return this.#payloadsAt + i * this.#payloadStride;
  }

  /** Bytes of a datagram's payload. */
  payloadLength(i: number): number {
    return this.words[this.firstWord + i * HEADER_WORDS + MESSAGE_LENGTH]!;
  }

  /** Where a datagram's control messages lie. */
  controlAt(i: number): number {
    return this.#controlsAt + i * this.#controlBytes;
  }

  /** Bytes of a datagram's control messages. */
  controlLength(i: number): number {
    return this.words[this.firstWord + i * HEADER_WORDS + CONTROL_LENGTH]!;
  }

  /** MSG_TRUNC, MSG_CTRUNC. */
  flags(i: number): number {
    return this.words[this.firstWord + i * HEADER_WORDS + FLAGS]!;
  }
}

/** Messages for sendmmsg, each of one or several pieces that lie somewhere in the arena. */
export class SendBatch extends Headers {
  /** Most pieces, and so most messages. */
  readonly size: number;
  readonly #iovecsAt: number;
  readonly #controlsAt: number;
  readonly #controlBytes: number;
  #messages = 0;
  #pieces = 0;

  /** Arena bytes that a batch takes. */
  static bytes(size: number, controlBytes: number): number {
    return size * (MMSGHDR_BYTES + IOVEC_BYTES + controlBytes) + 3 * LINE;
  }

  /** @param controlBytes of each message; a multiple of 8. */
  constructor(arena: Arena, size: number, controlBytes: number) {
    super(arena, size);
    this.size = size;
    this.#controlBytes = controlBytes;
    this.#iovecsAt = arena.allocate(size * IOVEC_BYTES).offset;
    this.#controlsAt = arena.allocate(size * controlBytes).offset;
    for (let i = 0; i < size; i++) {
      this.setAddress(this.firstWord + i * HEADER_WORDS + CONTROL, this.controlAt(i));
    }
  }

  /** Messages so far. */
  get length(): number {
    return this.#messages;
  }

  /** Whether there is no place for another piece. */
  get isFull(): boolean {
    return this.#pieces === this.size;
  }

  /** Forgets all messages. */
  clear(): void {
    this.#messages = this.#pieces = 0;
  }

  /**
   * Begins a message to the sockaddr at `nameAt`, which must stay as it is until the batch has been sent.
   *
   * @param nameLength 0: to where the socket is connected; then `nameAt` is not looked at.
   */
  begin(nameAt: number, nameLength: number): void {
    const header = this.firstWord + this.#messages++ * HEADER_WORDS;
    this.words[header + NAME] = this.arena.addressLow(nameAt);
    this.words[header + NAME + 1] = this.arena.addressHigh;
    this.words[header + NAME_LENGTH] = nameLength;
    this.words[header + IOVECS] = this.arena.addressLow(this.#iovecsAt + this.#pieces * IOVEC_BYTES);
    this.words[header + IOVECS + 1] = this.arena.addressHigh;
    this.words[header + IOVEC_COUNT] = 0;
    this.words[header + CONTROL_LENGTH] = 0;
  }

  /** Adds a piece of payload to the last message. */
  append(payloadAt: number, length: number): void {
    const iovec = (this.#iovecsAt >> 2) + this.#pieces++ * IOVEC_WORDS;
    this.words[iovec] = this.arena.addressLow(payloadAt);
    this.words[iovec + 1] = this.arena.addressHigh;
    this.words[iovec + 2] = length;
    const count = this.firstWord + (this.#messages - 1) * HEADER_WORDS + IOVEC_COUNT;
    this.words[count] = this.words[count]! + 1;
  }

  /** Where the control messages of message `i` lie. */
  controlAt(i: number): number {
    return this.#controlsAt + i * this.#controlBytes;
  }

  /** Says how many bytes of control messages the last message has. */
  setControlLength(length: number): void {
    this.words[this.firstWord + (this.#messages - 1) * HEADER_WORDS + CONTROL_LENGTH] = length;
  }

  /** sendmmsg(2) of the messages from `first` to before `end`. @returns how many were sent, or -errno of the first. */
  send(sys: Syscalls, fd: number, first: number, end: number, flags: number): number {
    if (end - first !== 1) return sys.sendmmsg(fd, this.pointers[first]!, end - first, flags);
    // A struct mmsghdr begins with a struct msghdr; for one message the singular call is the cheaper one.
    const sent = sys.sendmsg(fd, this.pointers[first]!, flags);
    return sent < 0 ? sent : 1;
  }
}
