/**
 * The transactions of one socket by their ids. A Map would make a new table for every few dozen that come and go; here
 * the transactions themselves form the chains, and nothing is allocated.
 *
 * @module
 */
import type { Transaction } from "./query.ts";

/** A power of two. Ids are random, so the chains are about equally long. */
const BUCKETS = 1024;

/** Finds transactions. */
export class TransactionTable {
  readonly #buckets: (Transaction | undefined)[] = new Array(BUCKETS).fill(undefined);
  #size = 0;

  /** How many there are. */
  get size(): number {
    return this.#size;
  }

  find(id: number): Transaction | undefined {
    let found = this.#buckets[id & (BUCKETS - 1)];
    while (found !== undefined && found.id !== id) found = found.nextInTable;
    return found;
  }

  /** @param transaction of an id that is not in use. */
  add(transaction: Transaction): void {
    const bucket = transaction.id & (BUCKETS - 1);
    transaction.nextInTable = this.#buckets[bucket];
    this.#buckets[bucket] = transaction;
    this.#size++;
  }

  /** @param transaction one that is in the table. */
  remove(transaction: Transaction): void {
    const bucket = transaction.id & (BUCKETS - 1);
    let previous = this.#buckets[bucket];
    if (previous === transaction) this.#buckets[bucket] = transaction.nextInTable;
    else {
      while (previous!.nextInTable !== transaction) previous = previous!.nextInTable;
      previous!.nextInTable = transaction.nextInTable;
    }
    transaction.nextInTable = undefined;
    this.#size--;
  }
}
