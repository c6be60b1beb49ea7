/**
 * What all upstreams of one worker share: the reactor, and the memory that arguments of calls pass through. It stays
 * when the configuration is read again, since an arena takes nothing back.
 *
 * Many dialogues use the memory by turns: what one has written there is gone after its next wait.
 *
 * @module
 */
import { type Arena, type Block, type Reactor, SOCKADDR_IN6_BYTES, type Syscalls } from "../ffi/mod.ts";
import type { MemberChange } from "./health_state.ts";

/** Read and written in one call: more than any handshake has to say at once. */
const BUFFER_BYTES = 4096;

/** Arena bytes that an environment takes, with the alignment of its blocks. */
export const UPSTREAM_BYTES = BUFFER_BYTES + 1024;

/** What the worker brings. */
export interface UpstreamSeat {
  readonly sys: Syscalls;
  readonly arena: Arena;
  readonly reactor: Reactor;
  /** Our mark (SO_MARK), by which rules let through what we send; 0: none. */
  readonly mark: number;
  /** Whose source address a `direct` member of a group uses when it does not say. */
  readonly source: "own" | "keep";
  /** Which worker it is of how many: what has to be done once is shared among them. */
  readonly worker: { readonly index: number; readonly count: number };
  readonly onMemberChange: (change: MemberChange) => void;
}

/** One a worker. */
export class UpstreamEnvironment {
  readonly sys: Syscalls;
  readonly arena: Arena;
  readonly reactor: Reactor;
  readonly mark: number;
  readonly source: "own" | "keep";
  readonly worker: { readonly index: number; readonly count: number };
  readonly onMemberChange: (change: MemberChange) => void;
  readonly buffer: Block;
  readonly address: Block;
  /** socklen_t, in and out. */
  readonly length: Block;
  /** An int 0, an int 1, and an option's value that is written before use. */
  readonly zero: Block;
  readonly one: Block;
  readonly value: Block;

  constructor({ sys, arena, reactor, mark, source, worker, onMemberChange }: UpstreamSeat) {
    this.sys = sys;
    this.arena = arena;
    this.reactor = reactor;
    this.mark = mark;
    this.source = source;
    this.worker = worker;
    this.onMemberChange = onMemberChange;
    this.buffer = arena.allocate(BUFFER_BYTES);
    this.address = arena.allocate(SOCKADDR_IN6_BYTES);
    this.length = arena.allocate(4);
    this.zero = arena.allocate(4);
    this.one = arena.allocate(4);
    this.one.words[0] = 1;
    this.value = arena.allocate(64);
  }
}
