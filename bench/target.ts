/**
 * What a benchmark has to reach, and whether it did.
 *
 * @module
 */
import type { Metric } from "./measure.ts";
import type { RoundResult } from "./rounds.ts";
import type { Suite } from "./suite.ts";
import { summarize } from "./summary.ts";

/** A bound on figures of one contestant. */
export interface Target {
  /** As in the table. */
  readonly title: string;
  /** Measures whose `metric` has to keep within it. */
  readonly measures: readonly string[];
  readonly metric: string;
  /** Of the ratio to the reference, or of the figure itself. */
  readonly of: "ratio" | "median";
  /** Short of what the title says by no more than the noise. */
  readonly bound: number;
  /** Who has to reach it, and what ratios are to; absent: as the suite has it. */
  readonly judged?: string;
  readonly reference?: string;
}

/** A target for ratios to the reference. */
export function ratio(
  title: string,
  measures: readonly string[],
  metric: string,
  bound: number,
  between: Pick<Target, "judged" | "reference"> = {},
): Target {
  return { title, measures, metric, of: "ratio", bound, ...between };
}

/** A target for a figure itself. */
export function absolute(title: string, measure: string, metric: string, bound: number): Target {
  return { title, measures: [measure], metric, of: "median", bound };
}

/** A row of the table. */
export interface Finding {
  readonly title: string;
  /** One figure, or the lowest and the highest. */
  readonly found: string;
  readonly verdict: string;
}

/** Targets without a figure are left out. */
export function judge(suite: Suite, results: readonly RoundResult[]): Finding[] {
  return suite.targets.flatMap((target) => {
    const { judged = suite.judged, reference = suite.reference } = target;
    const figures = target.measures.flatMap((measure) => {
      const metric = metricOf(suite, measure, target.metric);
      const value = summarize(results, measure, metric, judged, reference)?.[target.of];
      return value === undefined ? [] : [{ measure, value, better: metric.better }];
    });
    if (figures.length === 0) return [];
    const values = figures.map(({ value }) => value);
    const bounds = [...new Set([Math.min(...values), Math.max(...values)].map(format))];
    const missed = figures.filter(({ value, better }) => !isWithin(target, value, better));
    const verdict = missed.length === 0
      ? "met"
      : `**missed**: ${missed.map(({ measure, value }) => `${measure} ${format(value)}`).join(", ")}`;
    return [{ title: target.title, found: bounds.join(" to "), verdict }];
  });
}

function metricOf({ measures }: Suite, measure: string, key: string): Metric {
  const metric = measures.find(({ name }) => name === measure)?.metrics.find((one) => one.key === key);
  if (metric === undefined) throw new RangeError(`target: ${measure} has no ${key}`);
  return metric;
}

function isWithin({ bound }: Target, value: number, better: Metric["better"]): boolean {
  return better === "more" ? value >= bound : value <= bound;
}

function format(value: number): string {
  return value.toLocaleString("en", { maximumFractionDigits: value < 100 ? 2 : 0 });
}
