/**
 * Queries on their way to one resolver: what goes to it in one turn goes by one socket, with one system call.
 *
 * @module
 */
import {
  type Arena,
  EAGAIN,
  EMFILE,
  EMSGSIZE,
  ENFILE,
  ENOBUFS,
  ENOMEM,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  SendBatch,
  type Syscalls,
} from "../ffi/mod.ts";
import { writeId } from "./message.ts";
import type { Transaction } from "./query.ts";
import type { Resolver } from "./resolver.ts";
import type { ResolverSocket } from "./resolver_socket.ts";

const BATCH = 64;

/** Arena bytes that a batch takes. */
export const QUERY_BATCH_BYTES: number = SendBatch.bytes(BATCH, 0);

/** Hears of queries that were not sent. */
export interface BatchOwner {
  /** The kernel has no room for them, or they are longer than the way allows. */
  onSendDrops(queries: number): void;
  /** An error of the resolver, which an earlier query may have met. */
  onFailure(resolver: Resolver, errno: number): void;
}

/** Queries to be sent. */
export class QueryBatch {
  readonly #sys: Syscalls;
  readonly #bytes: Uint8Array;
  readonly #owner: BatchOwner;
  readonly #batch: SendBatch;
  #socket: ResolverSocket | undefined;

  constructor(sys: Syscalls, arena: Arena, owner: BatchOwner) {
    this.#sys = sys;
    this.#bytes = arena.bytes;
    this.#owner = owner;
    this.#batch = new SendBatch(arena, BATCH, 0);
  }

  /** By which everything in it will go; undefined when it is empty. */
  get socket(): ResolverSocket | undefined {
    return this.#socket;
  }

  /** @param payloadAt where the query lies, as it will be sent but for the id; it stays so until the flush. */
  add({ socket, id, query }: Transaction, payloadAt: number): void {
    // It may be in the batch already, for another resolver and under another id, and then goes first.
    if (this.#socket !== socket || this.#batch.isFull) this.flush();
    this.#socket = socket;
    writeId(this.#bytes, payloadAt, id);
    this.#batch.begin(payloadAt, 0);
    this.#batch.append(payloadAt, query.length);
  }

  flush(): void {
    const socket = this.#socket, batch = this.#batch;
    if (socket === undefined) return;
    for (let at = 0; at < batch.length;) {
      const sent = batch.send(this.#sys, socket.fd, at, batch.length, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent > 0) at += sent;
      else if (sent === -EMSGSIZE) {
        this.#owner.onSendDrops(1);
        at++;
      } else {
        // What is left is put to the next resolver: when it is overdue, or at once.
        if (isOwnShortage(-sent)) this.#owner.onSendDrops(batch.length - at);
        else this.#owner.onFailure(socket.resolver, -sent);
        break;
      }
    }
    batch.clear();
    this.#socket = undefined;
  }
}

/** Whether an error is this host's own, and no resolver's fault. */
export function isOwnShortage(errno: number): boolean {
  return errno === EAGAIN || errno === ENOBUFS || errno === ENOMEM || errno === EMFILE || errno === ENFILE;
}
