/**
 * What the forwarder of one worker and its sockets share.
 *
 * @module
 */
import type { ReplySender } from "../flow/mod.ts";
import type { Endpoint } from "../net/mod.ts";
import { type Arena, type Block, type Reactor, SOCKADDR_IN6_BYTES, type Syscalls } from "../ffi/mod.ts";
import type { DnsCounterName, DnsCounters, DnsWarning } from "./settings.ts";

/** What the worker brings. */
export interface DnsEnvironment {
  readonly sys: Syscalls;
  readonly arena: Arena;
  readonly reactor: Reactor;
  /** In the order of preference; at least one. */
  readonly resolvers: readonly Endpoint[];
  /** Mark (SO_MARK) on every socket towards a resolver, so that the rules let it pass; 0: none. */
  readonly bypassMark: number;
  readonly replies: ReplySender;
  readonly counters: DnsCounters;
  readonly onWarning: (warning: DnsWarning, detail: string) => void;
}

/** The environment, and the memory that calls for one socket pass their arguments through. */
export class DnsContext {
  readonly sys: Syscalls;
  readonly reactor: Reactor;
  readonly address: Block;
  readonly mark: Block;
  readonly #environment: DnsEnvironment;

  constructor(environment: DnsEnvironment) {
    this.#environment = environment;
    this.sys = environment.sys;
    this.reactor = environment.reactor;
    this.address = environment.arena.allocate(SOCKADDR_IN6_BYTES);
    this.mark = environment.arena.allocate(4);
    this.mark.words[0] = environment.bypassMark;
  }

  /** Adds to a counter. */
  count(name: DnsCounterName, by = 1): void {
    const { values, slots } = this.#environment.counters;
    const slot = slots[name];
    values[slot] = values[slot]! + by;
  }

  warn(warning: DnsWarning, detail: string): void {
    this.#environment.onWarning(warning, detail);
  }
}
