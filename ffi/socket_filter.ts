/**
 * A classic BPF program for SO_ATTACH_FILTER (socket(7)) that lets nothing through.
 *
 * @module
 */
import type { Arena, Block } from "./arena.ts";

/** sizeof(struct sock_fprog): u16 len, a pointer to the instructions at 8. */
const SOCK_FPROG_BYTES = 16;
/** sizeof(struct sock_filter): u16 code, u8 jt, u8 jf, u32 k. */
const SOCK_FILTER_BYTES = 8;
/** BPF_RET | BPF_K: so many bytes of the packet are let through, none here. */
const RETURN_CONSTANT = 0x06;

/** Arena bytes that it takes. */
export const DROP_ALL_BYTES = 128;

/** The option's value, a `struct sock_fprog`. */
export function dropAllFilter(arena: Arena): Block {
  const program = arena.allocate(SOCK_FILTER_BYTES);
  program.words[0] = RETURN_CONSTANT;
  const value = arena.allocate(SOCK_FPROG_BYTES);
  value.words[0] = program.length / SOCK_FILTER_BYTES;
  value.words[2] = arena.addressLow(program.offset);
  value.words[3] = arena.addressHigh;
  return value;
}
