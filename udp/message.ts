/**
 * One `struct msghdr` with its name, vectors and control buffer, all cut from the arena: for messages that go
 * one at a time. It knows nothing of what they say.
 *
 * @module
 */
import { type Arena, type Block, IOVEC_BYTES, SOCKADDR_IN6_BYTES } from "../ffi/mod.ts";

/** sizeof(struct msghdr), and where its members lie, in 32-bit words. */
const MSGHDR_BYTES = 56;
const NAME = 0, NAMELEN = 2, IOV = 4, IOVLEN = 6, CONTROL = 8, CONTROLLEN = 10, FLAGS = 12;

/** Sent or received again and again. */
export class Message {
  /** msg_name, room for either family. */
  readonly name: Block;
  /** msg_control. */
  readonly control: Block;
  readonly #arena: Arena;
  readonly #header: Block;
  readonly #vectors: Block;

  constructor(arena: Arena, vectors: number, controlBytes: number) {
    this.#arena = arena;
    this.name = arena.allocate(SOCKADDR_IN6_BYTES);
    this.control = arena.allocate(controlBytes);
    this.#vectors = arena.allocate(vectors * IOVEC_BYTES);
    this.#header = arena.allocate(MSGHDR_BYTES);
    this.#setAddress(this.#header.words, NAME, this.name.offset);
    this.#setAddress(this.#header.words, IOV, this.#vectors.offset);
    this.#header.words[IOVLEN] = vectors;
    this.#setAddress(this.#header.words, CONTROL, this.control.offset);
  }

  /** For sendmsg and recvmsg. */
  get pointer(): Deno.PointerValue {
    return this.#header.pointer;
  }

  /** Lets a vector name `length` bytes of the arena. */
  setVector(index: number, offset: number, length: number): void {
    this.#setAddress(this.#vectors.words, index * 4, offset);
    this.#vectors.words[index * 4 + 2] = length;
  }

  /** What is sent along, or how much room there is for what is received; both are forgotten by recvmsg. */
  setLengths(nameLength: number, controlLength: number): void {
    this.#header.words[NAMELEN] = nameLength;
    this.#header.words[CONTROLLEN] = controlLength;
  }

  /** msg_controllen as recvmsg left it. */
  get controlLength(): number {
    return this.#header.words[CONTROLLEN]!;
  }

  /** msg_flags as recvmsg left it. */
  get flags(): number {
    return this.#header.words[FLAGS]!;
  }

  #setAddress(words: Int32Array, at: number, offset: number): void {
    words[at] = this.#arena.addressLow(offset);
    words[at + 1] = this.#arena.addressHigh;
  }
}
