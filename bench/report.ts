/**
 * Results as the Markdown that docs/benchmarks.md holds.
 *
 * @module
 */
import type { Contestant } from "./contestant.ts";
import type { Measure, Metric } from "./measures.ts";
import type { RoundResult } from "./rounds.ts";
import { type Figure, summarize } from "./summary.ts";

/** What a report is made of. */
export interface Report {
  /** Sentences about the machine, the versions and the set-up. */
  readonly circumstances: readonly string[];
  readonly contestants: readonly Contestant[];
  readonly measures: readonly Measure[];
  readonly results: readonly RoundResult[];
  /** Name of the contestant that ratios refer to. */
  readonly reference: string;
}

/** The whole report, ending in a line break. */
export function renderReport(report: Report): string {
  const { contestants, measures, reference } = report;
  const hasReference = contestants.some(({ name }) => name === reference);
  return [
    ...report.circumstances.map((line) => `- ${line}`),
    "- Each cell: median over the rounds (lowest–highest)" +
    (hasReference ? "; in bold the ratio to the C reference, median of each round's own ratio." : "."),
    "",
    row(["", ...contestants.map(({ title }) => title)]),
    row(["---", ...contestants.map(() => "---:")]),
    ...measures.flatMap((measure) => measure.metrics.map((metric) => renderMetric(report, measure, metric))),
    ...renderErrors(report.results),
    "",
  ].join("\n");
}

function renderMetric({ contestants, results, reference }: Report, measure: Measure, metric: Metric): string {
  const cells = contestants.map(({ name }) => {
    const figure = summarize(results, measure.name, metric.key, name, reference);
    return figure === undefined ? "–" : renderFigure(figure, metric.digits);
  });
  const sign = metric.better === "more" ? "↑" : "↓";
  return row([`${metric.title} ${sign}`, ...cells]);
}

function renderFigure({ median, min, max, ratio }: Figure, digits: number): string {
  const text = `${number(median, digits)} (${number(min, digits)}–${number(max, digits)})`;
  return ratio === undefined ? text : `${text} **${ratio.toFixed(2)}**`;
}

function renderErrors(results: readonly RoundResult[]): string[] {
  const failed = results.filter(({ error }) => error !== undefined);
  if (failed.length === 0) return [];
  return [
    "",
    `${failed.length} runs failed:`,
    ...failed.map(({ round, measure, contestant, error }) =>
      `- round ${round}, ${measure}, ${contestant}: ${error!.replaceAll("\n", " ")}`
    ),
  ];
}

/** Thousands apart, so that 100,000 is read at a glance. */
function number(value: number, digits: number): string {
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function row(cells: readonly string[]): string {
  return `| ${cells.join(" | ")} |`;
}
