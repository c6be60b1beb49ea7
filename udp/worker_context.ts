/**
 * What everything of UDP in one worker shares.
 *
 * @module
 */
import {
  type Arena,
  type Block,
  errnoName,
  type Reactor,
  SO_MEMINFO,
  SOCKADDR_IN6_BYTES,
  SOL_SOCKET,
  type Syscalls,
} from "../ffi/mod.ts";
import type { ClientLimit, ConnectionEnd, Route, Routing } from "../flow/mod.ts";
import type { UdpCounterName, UdpCounters, UdpSettings } from "./settings.ts";

/** Arena bytes that a context takes. */
export const CONTEXT_BYTES = 1024;

// Places among the nine words of SO_MEMINFO.
const SK_MEMINFO_RMEM_ALLOC = 0, SK_MEMINFO_DROPS = 8, MEMINFO_BYTES = 36;

/**
 * Receives every session that has ended, and flows that were not carried; addresses are sockaddr bytes, the destination
 * is the first one.
 */
export type UdpFlowSink = (
  client: Uint8Array,
  destination: Uint8Array,
  local: Uint8Array | undefined,
  bytesUp: number,
  bytesDown: number,
  datagramsUp: number,
  datagramsDown: number,
  durationMs: number,
  end: ConnectionEnd,
  route: Route,
) => void;

/** Conditions that an operator should hear of; the receiver limits their rate. */
export type UdpWarning =
  | "udp-loop"
  | "session-limit"
  | "session-client-limit"
  | "udp-fds-exhausted"
  | "reply-port-taken"
  | "icmp-unavailable"
  | "udp-truncated"
  | "udp-upstream-failed"
  | "udp-error";

/** What the worker brings. */
export interface UdpEnvironment {
  readonly sys: Syscalls;
  readonly arena: Arena;
  readonly reactor: Reactor;
  readonly settings: UdpSettings;
  /** Which way each new flow leaves. */
  readonly routing: Routing;
  readonly counters: UdpCounters;
  readonly clientLimit: ClientLimit | undefined;
  /** Absent when nobody wants to hear of single flows: then no destination is kept. */
  readonly onFlow: UdpFlowSink | undefined;
  readonly onWarning: (warning: UdpWarning, detail: string) => void;
}

/** The environment, and the memory that arguments of calls pass through. */
export class UdpContext {
  readonly sys: Syscalls;
  readonly arena: Arena;
  readonly reactor: Reactor;
  readonly settings: UdpSettings;
  /** A sockaddr that is written before use. */
  readonly address: Block;
  /** The sockaddr of the client that errors are told to. */
  readonly client: Block;
  /** socklen_t, in and out. */
  readonly length: Block;
  /** Values of options. */
  readonly zero: Block;
  readonly one: Block;
  readonly value: Block;
  readonly replyMark: Block;
  readonly routing: Routing;
  readonly clientLimit: ClientLimit | undefined;
  readonly onFlow: UdpFlowSink | undefined;
  readonly warn: (warning: UdpWarning, detail: string) => void;
  /** Of the last {@linkcode readMemory}: bytes that wait in the socket's receive buffer, and datagrams dropped there. */
  waitingBytes = 0;
  drops = 0;
  readonly #counters: UdpCounters;
  readonly #random = new Uint32Array(64);
  #randomLeft = 0;

  constructor(environment: UdpEnvironment) {
    const { sys, arena, settings } = environment;
    this.sys = sys;
    this.arena = arena;
    this.reactor = environment.reactor;
    this.settings = settings;
    this.address = arena.allocate(SOCKADDR_IN6_BYTES);
    this.client = arena.allocate(SOCKADDR_IN6_BYTES);
    this.length = arena.allocate(4);
    this.zero = arena.allocate(4);
    this.one = arena.allocate(4);
    this.one.words[0] = 1;
    this.value = arena.allocate(64);
    this.replyMark = arena.allocate(4);
    this.replyMark.words[0] = settings.replyMark;
    this.routing = environment.routing;
    this.clientLimit = environment.clientLimit;
    this.onFlow = environment.onFlow;
    this.warn = environment.onWarning;
    this.#counters = environment.counters;
  }

  /** Adds to a counter. */
  count(name: UdpCounterName, by = 1): void {
    const { values, slots } = this.#counters;
    const slot = slots[name];
    values[slot] = values[slot]! + by;
  }

  /** A socket could not be read, for a reason of its own. */
  onReceiveError(errno: number): void {
    this.count("udpSessionErrors");
    this.warn("udp-error", `recvmmsg: ${errnoName(errno)}`);
  }

  /** Asks what a socket's buffer holds and has held (SO_MEMINFO, linux/sock_diag.h). @returns whether it was told. */
  readMemory(fd: number): boolean {
    const { value, length } = this;
    length.words[0] = MEMINFO_BYTES;
    if (this.sys.getsockopt(fd, SOL_SOCKET, SO_MEMINFO, value.pointer, length.pointer) < 0) return false;
    this.waitingBytes = value.words[SK_MEMINFO_RMEM_ALLOC]!;
    this.drops = value.words[SK_MEMINFO_DROPS]!;
    return true;
  }

  /** 32 bits that nobody can guess. */
  random(): number {
    if (this.#randomLeft === 0) {
      crypto.getRandomValues(this.#random);
      this.#randomLeft = this.#random.length;
    }
    return this.#random[--this.#randomLeft]!;
  }
}
