/**
 * What brings connections to the listeners: rules and routes, as the app sees them.
 *
 * @module
 */

import type { RunConfig } from "../config/mod.ts";

/** What another configuration means for the rules, found to be possible. */
export interface InterceptionChange {
  /** Whether the rules become other ones. */
  readonly differs: boolean;
  /**
   * Has it take effect, in one step.
   *
   * @throws {Error} when that cannot be done; everything is as it was.
   */
  commit(): Promise<void>;
}

/**
 * Calls come in this order, each at most once; `prepareChange` any number of times, and its commit at once or never;
 * `revert` may come at any point and after any failure, and again when it has failed.
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
  /**
   * Finds out whether the rules of another configuration can be put in place; changes nothing.
   *
   * @throws {ConfigError | StartError}
   */
  prepareChange(config: RunConfig): Promise<InterceptionChange>;
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
    prepareChange: () => Promise.resolve({ differs: false, commit: () => Promise.resolve() }),
    enterDrain: () => Promise.resolve(),
    revert: () => Promise.resolve(),
  };
}
