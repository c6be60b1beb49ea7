/**
 * A benchmark: who takes part, what is measured, and where.
 *
 * @module
 */
import type { Contestant } from "./contestant.ts";
import type { Durations, Measure } from "./measure.ts";
import type { Target } from "./target.ts";
import type { RunningContestant, Site } from "./running_contestant.ts";

/** One table of a report: who is compared in what, and with whom. */
export interface Section {
  /** Undefined: the report has no other. */
  readonly title: string | undefined;
  /** Names, in the order of the columns and of the rows. */
  readonly contestants: readonly string[];
  readonly measures: readonly string[];
  /** Name of the contestant that the others are compared with. */
  readonly reference: string;
}

/** One name that `bench` takes. */
export interface Suite {
  readonly name: string;
  /** In the order of the columns. */
  readonly contestants: readonly Contestant[];
  /** Name of the contestant that the others are compared with, where a section or a target does not say otherwise. */
  readonly reference: string;
  /** Absent: everybody takes part in everything, in one table. */
  readonly sections?: readonly Section[];
  /** In the order of the rows and of each round. */
  readonly measures: readonly Measure[];
  readonly targets: readonly Target[];
  /** How the targets are to be read. */
  readonly targetsAre: string;
  /** Name of the contestant that has to reach them, where a target does not say otherwise. */
  readonly judged: string;
  /** What thousands of are held at rest; absent: nothing. */
  readonly idle?: string;
  /** How often all is done, and how long each run takes. */
  readonly full: { readonly rounds: number; readonly durations: Durations };
  readonly quick: { readonly rounds: number; readonly durations: Durations };
  readonly site: Site;
  /** Proves that what arrives is right. @throws {Error} when it is not. */
  verify(running: RunningContestant): Promise<void>;
}

/** The tables of a suite. */
export function sectionsOf({ sections, contestants, measures, reference }: Suite): readonly Section[] {
  const namesOf = (named: readonly { readonly name: string }[]) => named.map(({ name }) => name);
  return sections ??
    [{ title: undefined, contestants: namesOf(contestants), measures: namesOf(measures), reference }];
}

/** Whether there is a table that has a figure of `measure` for this contestant. */
export function takesPart(suite: Suite, contestant: Contestant, measure: Measure): boolean {
  if (contestant.relay === undefined && !measure.appliesToForwarding) return false;
  return sectionsOf(suite).some(({ contestants, measures }) =>
    contestants.includes(contestant.name) && measures.includes(measure.name)
  );
}
