/**
 * How many transactions each client has, and which is its oldest: one that asks for names that nobody answers must not
 * push out everybody else's queries.
 *
 * Clients are told apart by a hash that nobody can guess, and the transactions of each form a list of their own, so
 * that nothing is searched and nothing is allocated.
 *
 * @module
 */
import { clientKey } from "../flow/mod.ts";
import type { Transaction } from "./query.ts";

/** A power of two. Two clients in a few thousand share one share. */
const SHARES = 4096;

/** The transactions of one worker, by client. */
export class ClientShares {
  readonly #limit: number;
  readonly #seed = crypto.getRandomValues(new Int32Array(1))[0]!;
  readonly #counts = new Uint16Array(SHARES);
  readonly #oldest: (Transaction | undefined)[] = new Array(SHARES).fill(undefined);
  readonly #newest: (Transaction | undefined)[] = new Array(SHARES).fill(undefined);

  /** @param limit transactions of one client; less than 65536. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** The number of a client's share. */
  of(client: Uint8Array): number {
    return clientKey(client, this.#seed) & (SHARES - 1);
  }

  isFull(share: number): boolean {
    return this.#counts[share]! >= this.#limit;
  }

  oldest(share: number): Transaction | undefined {
    return this.#oldest[share];
  }

  /** Adds the newest one of its query's share. */
  append(transaction: Transaction): void {
    const { share } = transaction.query;
    const newest = this.#newest[share];
    transaction.olderOfClient = newest;
    if (newest === undefined) this.#oldest[share] = transaction;
    else newest.newerOfClient = transaction;
    this.#newest[share] = transaction;
    this.#counts[share]!++;
  }

  remove(transaction: Transaction): void {
    const { olderOfClient: older, newerOfClient: newer, query: { share } } = transaction;
    if (older === undefined) this.#oldest[share] = newer;
    else older.newerOfClient = newer;
    if (newer === undefined) this.#newest[share] = older;
    else newer.olderOfClient = older;
    transaction.olderOfClient = transaction.newerOfClient = undefined;
    this.#counts[share]!--;
  }
}
