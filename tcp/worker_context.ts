/**
 * What the listener, the dialler and the connections of one worker share.
 *
 * @module
 */
import type { Endpoint, IpAddress, IpFamily } from "../net/mod.ts";
import {
  type Arena,
  type Block,
  DROP_ALL_BYTES,
  dropAllFilter,
  encodeSockaddr,
  type Reactor,
  SO_LINGER,
  SOCKADDR_IN6_BYTES,
  SocketFactory,
  SOL_SOCKET,
  type Syscalls,
} from "../ffi/mod.ts";
import { type ClientLimit, IFNAMSIZ, type Route, type Router, type Routing } from "../flow/mod.ts";
import type { ConnectionEnd } from "../flow/connection_end.ts";
import { FLOW_FACTS_BYTES, TcpFlowFacts } from "./flow_facts.ts";
import type { Carrier } from "./half_pipe.ts";
import type { TcpCounterName, TcpCounters, TcpSettings } from "./settings.ts";

/** Arena bytes that a context takes. */
export const CONTEXT_BYTES = 1024 + FLOW_FACTS_BYTES + DROP_ALL_BYTES;

/** Receives every connection that has ended; addresses are sockaddr bytes, the route undefined where none was chosen. */
export type FlowSink = (
  client: Uint8Array,
  destination: Uint8Array,
  local: Uint8Array | undefined,
  bytesUp: number,
  bytesDown: number,
  durationMs: number,
  end: ConnectionEnd,
  route: Route | undefined,
) => void;

/** Conditions that an operator should hear of; the receiver limits their rate. */
export type TcpWarning =
  | "loop"
  | "connection-limit"
  | "client-limit"
  | "fds-exhausted"
  | "accept-error"
  | "source-address"
  | "upstream-failed";

/** What the worker brings. */
export interface TcpEnvironment {
  readonly sys: Syscalls;
  readonly arena: Arena;
  readonly reactor: Reactor;
  readonly settings: TcpSettings;
  /** The buffer and the pipes that all listeners of the worker relay with; whoever brings it closes it. */
  readonly carrier: Carrier;
  /** Where the settings say so, dialled in the order given instead of any destination with port 53. */
  readonly resolvers: readonly Endpoint[];
  /** Which way each new connection leaves. */
  readonly routing: Routing;
  readonly counters: TcpCounters;
  /** Connections open over all workers. */
  readonly openConnections: Int32Array;
  readonly clientLimit: ClientLimit | undefined;
  /** Absent when nobody wants to hear of single flows: then no address is kept. */
  readonly onFlow: FlowSink | undefined;
  readonly onWarning: (warning: TcpWarning, detail: string) => void;
}

/** A resolver of ours, seen by one worker. */
export interface DialledResolver {
  readonly sockaddr: Uint8Array;
  /** When it last could not be connected to; -Infinity: it could, or has never been tried. */
  failedMs: number;
}

/** The environment, and the memory that calls for one connection pass their arguments through. */
export class TcpContext {
  readonly sys: Syscalls;
  readonly reactor: Reactor;
  readonly settings: TcpSettings;
  readonly sockets: SocketFactory;
  /** The arena's, for those who are told places in it. */
  readonly words: Int32Array;
  /** Of the connection that is being accepted, once its descriptor has been written there. */
  readonly facts: TcpFlowFacts;
  readonly resolvers: readonly DialledResolver[];
  readonly carrier: Carrier;
  /** Of the connection that is being accepted: its peer, and where it was going. */
  readonly peer: Block;
  readonly destination: Block;
  /** socklen_t, in and out. */
  readonly length: Block;
  /** Values of options: int 0 and 1, the mark, struct linger {1, 0}, and one that is written before use. */
  readonly zero: Block;
  readonly one: Block;
  readonly mark: Block;
  readonly lingerZero: Block;
  readonly value: Block;
  /** A filter that lets nothing through. */
  readonly dropAll: Block;
  /** Where connections towards destinations come from, by family; undefined: not always from the same address. */
  readonly fixedSource: Readonly<Record<IpFamily, Block>> | undefined;
  readonly #environment: TcpEnvironment;

  constructor(environment: TcpEnvironment) {
    const { sys, arena, settings } = environment;
    this.#environment = environment;
    this.sys = sys;
    this.reactor = environment.reactor;
    this.settings = settings;
    this.sockets = new SocketFactory(sys, arena);
    this.carrier = environment.carrier;
    this.resolvers = (settings.dns ? environment.resolvers : []).map((resolver) => {
      const sockaddr = new Uint8Array(SOCKADDR_IN6_BYTES);
      encodeSockaddr(resolver, sockaddr);
      return { sockaddr, failedMs: -Infinity };
    });
    this.peer = arena.allocate(SOCKADDR_IN6_BYTES);
    this.destination = arena.allocate(SOCKADDR_IN6_BYTES);
    this.length = arena.allocate(4);
    this.zero = arena.allocate(4);
    this.one = arena.allocate(4);
    this.one.words[0] = 1;
    this.mark = arena.allocate(4);
    this.mark.words[0] = settings.dialMark;
    this.lingerZero = arena.allocate(8);
    this.lingerZero.words[0] = 1;
    this.value = arena.allocate(IFNAMSIZ);
    this.dropAll = dropAllFilter(arena);
    this.words = arena.words;
    this.facts = new TcpFlowFacts(sys, arena);
    const { source } = settings;
    this.fixedSource = typeof source === "string"
      ? undefined
      : { 4: encoded(arena, source[4]), 6: encoded(arena, source[6]) };
  }

  /** Of flows that are new now. */
  get router(): Router {
    return this.#environment.routing.current;
  }

  get clientLimit(): ClientLimit | undefined {
    return this.#environment.clientLimit;
  }

  get onFlow(): FlowSink | undefined {
    return this.#environment.onFlow;
  }

  get openConnections(): Int32Array {
    return this.#environment.openConnections;
  }

  /** Adds to a counter. */
  count(name: TcpCounterName, by = 1): void {
    const { values, slots } = this.#environment.counters;
    const slot = slots[name];
    values[slot] = values[slot]! + by;
  }

  /** Closes a socket so that its peer is told of a reset. */
  reset(fd: number): void {
    this.sys.setsockopt(fd, SOL_SOCKET, SO_LINGER, this.lingerZero.pointer, 8);
    this.sys.close(fd);
  }

  warn(warning: TcpWarning, detail: string): void {
    this.#environment.onWarning(warning, detail);
  }
}

function encoded(arena: Arena, address: IpAddress): Block {
  const block = arena.allocate(SOCKADDR_IN6_BYTES);
  encodeSockaddr({ address, port: 0 }, block.bytes);
  return block;
}
