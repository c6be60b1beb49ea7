/**
 * What brings connections to the listeners: rules and routes, as the app sees them.
 *
 * @module
 */

/**
 * Calls come in this order, each at most once; `revert` may come at any point and after any failure, and again when it
 * has failed.
 */
export interface Interception {
  /** One line for people: what is intercepted, and by whose rules. */
  readonly summary: string;
  /**
   * Finds out whether the host can do it; changes nothing.
   *
   * @throws {StartError}
   */
  prepare(): Promise<void>;
  /**
   * Routes, then rules: from now on connections reach the listeners.
   *
   * @throws {StartError} with nothing left behind.
   */
  apply(): Promise<void>;
  /** New connections pass us by; those that were taken still reach us. */
  enterDrain(): Promise<void>;
  /** Removes what was put in place, if anything was. */
  revert(): Promise<void>;
}

/** Rules that somebody else puts in place: nothing to do. */
export function foreignInterception(): Interception {
  return {
    summary: "rules are not ours",
    prepare: () => Promise.resolve(),
    apply: () => Promise.resolve(),
    enterDrain: () => Promise.resolve(),
    revert: () => Promise.resolve(),
  };
}
