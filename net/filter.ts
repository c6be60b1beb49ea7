/**
 * What is meant and what is not, of anything.
 *
 * @module
 */

/** What to take (empty: everything) and what to leave alone; what both name is left alone. */
export interface Filter<T> {
  /** Empty: everything. */
  readonly include: readonly T[];
  /** Wins over `include`. */
  readonly exclude: readonly T[];
}

/** A filter that names nothing: everything is taken. */
export const NO_FILTER: Filter<never> = { include: [], exclude: [] };
