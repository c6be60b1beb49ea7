/**
 * The queries of one worker, each made when it is first needed and used again after that.
 *
 * @module
 */
import type { Arena } from "../ffi/mod.ts";
import { Query, QUERY_BYTES } from "./query.ts";

/** Lends queries. */
export class QueryPool {
  readonly #arena: Arena;
  readonly #firstAt: number;
  readonly #spare: Query[] = [];
  #made = 0;

  /** Arena bytes that a pool takes. */
  static bytes(size: number): number {
    return size * QUERY_BYTES;
  }

  /** @param size how many are out at once, at most: the caller sees to that. */
  constructor(arena: Arena, size: number) {
    this.#arena = arena;
    this.#firstAt = arena.allocate(QueryPool.bytes(size)).offset;
  }

  /** One that nobody has tried to get answered. The one given back last comes first: its memory is warm. */
  take(): Query {
    const query = this.#spare.pop() ?? new Query(this.#arena, this.#firstAt + this.#made++ * QUERY_BYTES);
    query.tried = query.waiting = 0;
    query.answered = query.askedAgain = false;
    query.latest = undefined;
    return query;
  }

  giveBack(query: Query): void {
    this.#spare.push(query);
  }
}
