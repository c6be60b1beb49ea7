/**
 * A benchmark: who takes part, what is measured, and where.
 *
 * @module
 */
import type { Contestant } from "./contestant.ts";
import type { Durations, Measure } from "./measure.ts";
import type { Target } from "./target.ts";
import type { RunningContestant, Site } from "./running_contestant.ts";

/** One name that `bench` takes. */
export interface Suite {
  readonly name: string;
  /** In the order of the columns. */
  readonly contestants: readonly Contestant[];
  /** Name of the contestant that the others are compared with. */
  readonly reference: string;
  /** In the order of the rows and of each round. */
  readonly measures: readonly Measure[];
  readonly targets: readonly Target[];
  /** Name of the contestant that has to reach them. */
  readonly judged: string;
  /** What thousands of are held at rest. */
  readonly idle: string;
  /** How often all is done, and how long each run takes. */
  readonly full: { readonly rounds: number; readonly durations: Durations };
  readonly quick: { readonly rounds: number; readonly durations: Durations };
  readonly site: Site;
  /** Proves that what arrives is right. @throws {Error} when it is not. */
  verify(running: RunningContestant): Promise<void>;
}
