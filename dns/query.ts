/**
 * What is remembered of a client's question, and of each time it was put to a resolver.
 *
 * Both are used again and again: a query owns a slot of the arena, with everything that is needed to send it once
 * more and to answer it.
 *
 * @module
 */
import { type Arena, SOCKADDR_IN6_BYTES } from "../ffi/mod.ts";
import type { ResolverSocket } from "./resolver_socket.ts";

/** A longer query is passed on, but not kept: it cannot be sent once more. */
export const MAX_KEPT_BYTES = 512;

const DIALLED_AT = 32, PAYLOAD_AT = 64;
/** Arena bytes of a query. */
export const QUERY_BYTES: number = PAYLOAD_AT + MAX_KEPT_BYTES;

/** A client's question. It ends with the last of its transactions. */
export class Query {
  /** sockaddr of who asked, and of whom it asked. */
  readonly client: Uint8Array;
  readonly dialled: Uint8Array;
  /** Where in the arena the kept bytes lie; the id in them is that of the last transaction. */
  readonly payloadAt: number;
  /** The number of the client's share of all transactions. */
  share = 0;
  /** The client's own transaction id. */
  clientId = 0;
  length = 0;
  questionEnd = 0;
  /** Resolvers it was put to, a bit each. */
  tried = 0;
  /** Whether one of them was given a second chance, on another socket. */
  askedAgain = false;
  /** Transactions that have not ended. */
  waiting = 0;
  answered = false;
  /** The transaction whose failure is a reason to ask somebody else. */
  latest: Transaction | undefined;

  constructor(arena: Arena, at: number) {
    this.client = arena.bytes.subarray(at, at + SOCKADDR_IN6_BYTES);
    this.dialled = arena.bytes.subarray(at + DIALLED_AT, at + DIALLED_AT + SOCKADDR_IN6_BYTES);
    this.payloadAt = at + PAYLOAD_AT;
  }

  /** Whether it can be sent once more. */
  get isKept(): boolean {
    return this.length <= MAX_KEPT_BYTES;
  }
}

/**
 * A question put to a resolver, under an id that is unique on its socket. In two lists, by time: of its resolver, and of
 * its client.
 */
export class Transaction {
  query!: Query;
  socket!: ResolverSocket;
  id = 0;
  sentTick = 0;
  /** The same by the reactor's clock: a tick is too long to tell an answer before from one after. */
  sentMs = 0;
  older: Transaction | undefined;
  newer: Transaction | undefined;
  olderOfClient: Transaction | undefined;
  newerOfClient: Transaction | undefined;
  nextInTable: Transaction | undefined;
}
