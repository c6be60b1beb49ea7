/**
 * The order of a benchmark. In every round all contestants are started afresh and stay up, idle, while they take
 * turns: each measure is run on one after the other before the next measure begins, and who begins changes
 * every time. So whatever disturbs the machine for a while disturbs all of them.
 *
 * @module
 */
import type { Contestant } from "./contestant.ts";
import type { Durations, Measure, Sample } from "./measure.ts";
import { RunningContestant, type Site, type Stage } from "./running_contestant.ts";

/** One sample, or why there is none. */
export interface RoundResult {
  readonly round: number;
  /** Of a measure that has several in a round, from 0. */
  readonly turn?: number;
  readonly measure: string;
  readonly contestant: string;
  readonly sample?: Sample;
  readonly error?: string;
}

/** What is to be run. */
export interface Schedule {
  readonly contestants: readonly Contestant[];
  readonly measures: readonly Measure[];
  readonly rounds: number;
  readonly durations: Durations;
  readonly site: Site;
  /** Whether a contestant is measured so. */
  takesPart(contestant: Contestant, measure: Measure): boolean;
  /** Proves that what arrives is right. */
  verify(running: RunningContestant): Promise<void>;
}

/** Runs everything; yields results as they come. */
export async function* runRounds(schedule: Schedule, stage: Stage): AsyncGenerator<RoundResult> {
  for (let round = 1; round <= schedule.rounds; round++) yield* runRound(schedule, stage, round);
}

async function* runRound(schedule: Schedule, stage: Stage, round: number): AsyncGenerator<RoundResult> {
  await using stack = new AsyncDisposableStack();
  const field: RunningContestant[] = [];
  for (const contestant of rotated(schedule.contestants, round)) {
    try {
      const running = stack.use(await RunningContestant.start(contestant, stage, schedule.site));
      field.push(running);
    } catch (error) {
      yield { round, measure: "start", contestant: contestant.name, error: messageOf(error) };
    }
  }
  let turns = 0;
  for (const measure of schedule.measures) {
    for (let turn = 0; turn < (measure.turns ?? 1); turn++, turns++) {
      for (const running of rotated(field, round + turns)) {
        const { contestant } = running;
        if (!schedule.takesPart(contestant, measure)) continue;
        const of = { round, turn, measure: measure.name, contestant: contestant.name };
        try {
          yield { ...of, sample: await measure.run(running, schedule.durations) };
        } catch (error) {
          yield { ...of, error: `${messageOf(error)}\n${running.complaint()}`.trim() };
        }
      }
    }
  }
  // Last, because it would warm the process up for the measures that want a fresh one.
  for (const running of field) {
    try {
      await schedule.verify(running);
    } catch (error) {
      yield { round, measure: "verify", contestant: running.contestant.name, error: messageOf(error) };
    }
  }
}

function rotated<T>(list: readonly T[], by: number): T[] {
  const at = list.length === 0 ? 0 : by % list.length;
  return [...list.slice(at), ...list.slice(0, at)];
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : `${error}`;
}
