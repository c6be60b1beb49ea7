/**
 * From samples to figures: medians with their range, and ratios to the reference.
 *
 * @module
 */
import { FORWARDING_NAME, type Metric } from "./measure.ts";
import type { RoundResult } from "./rounds.ts";

/** One metric of one contestant over all rounds. */
export interface Figure {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /**
   * Median of each turn's own ratio to the reference. Within a turn the two ran one after the other, so a machine that
   * gets slower and faster over the minutes moves this less than it moves the medians.
   */
  readonly ratio: number | undefined;
}

/** @returns undefined when the contestant has no sample of this metric */
export function summarize(
  results: readonly RoundResult[],
  measure: string,
  metric: Pick<Metric, "key" | "addedTo">,
  contestant: string,
  reference: string,
): Figure | undefined {
  const own = valuesByTurn(results, measure, metric, contestant);
  const others = valuesByTurn(results, measure, metric, reference);
  if (own.size === 0) return undefined;
  const values = [...own.values()];
  const ratios = [...own].flatMap(([turn, value]) => {
    const other = others.get(turn);
    return other === undefined || other <= 0 ? [] : [value / other];
  });
  return {
    median: median(values),
    min: Math.min(...values),
    max: Math.max(...values),
    ratio: contestant === reference || ratios.length === 0 ? undefined : median(ratios),
  };
}

/** The middle value, or the mean of the two in the middle. @throws {RangeError} without values. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError("median: no values");
  const sorted = values.toSorted((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)]!;
  const lower = sorted[Math.ceil(sorted.length / 2) - 1]!;
  return (lower + upper) / 2;
}

function valuesByTurn(
  results: readonly RoundResult[],
  measure: string,
  { key, addedTo }: Pick<Metric, "key" | "addedTo">,
  contestant: string,
): Map<string, number> {
  const values = new Map<string, number>();
  for (const { round, turn = 0, sample, ...of } of results) {
    const value = sample?.[addedTo ?? key];
    if (of.measure === measure && of.contestant === contestant && value !== undefined) {
      values.set(`${round}/${turn}`, value);
    }
  }
  if (addedTo === undefined) return values;
  const without = valuesByTurn(results, measure, { key: addedTo }, FORWARDING_NAME);
  if (contestant === FORWARDING_NAME) return new Map();
  return new Map(
    [...values].flatMap(([turn, value]) => {
      const base = without.get(turn);
      return base === undefined ? [] : [[turn, value - base] as const];
    }),
  );
}
