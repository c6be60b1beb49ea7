/**
 * Results as the Markdown that docs/benchmarks.md holds.
 *
 * @module
 */
import type { Contestant } from "./contestant.ts";
import type { Measure, Metric, Sample } from "./measure.ts";
import type { RoundResult } from "./rounds.ts";
import { type Section, sectionsOf, type Suite } from "./suite.ts";
import { type Figure, median, summarize } from "./summary.ts";
import { judge } from "./target.ts";

/** What a report is made of. */
export interface Report {
  /** Sentences about the machine, the versions and the set-up. */
  readonly circumstances: readonly string[];
  readonly contestants: readonly Contestant[];
  readonly measures: readonly Measure[];
  readonly results: readonly RoundResult[];
  readonly suite: Suite;
}

/** The whole report, ending in a line break. */
export function renderReport(report: Report): string {
  return [
    ...report.circumstances.map((line) => `- ${line}`),
    "- Each cell: median over the rounds (lowest–highest); in bold the ratio to the reference, median of each",
    "  turn's own ratio.",
    ...sectionsOf(report.suite).flatMap((section) => renderSection(report, section)),
    ...renderTargets(report),
    ...renderLimits(report),
    ...renderErrors(report.results),
    "",
  ].join("\n");
}

function renderSection(report: Report, section: Section): string[] {
  const contestants = report.contestants.filter(({ name }) => section.contestants.includes(name));
  const measures = report.measures.filter(({ name }) => section.measures.includes(name));
  if (measures.length === 0 || contestants.length === 0) return [];
  // One of several tables, and nobody is there to be compared with.
  if (section.title !== undefined && contestants.length === 1) return [];
  const reference = contestants.find(({ name }) => name === section.reference)?.title;
  return [
    "",
    ...(section.title === undefined ? [] : [`### ${section.title}`, ""]),
    ...(reference === undefined ? [] : [`Reference: ${reference}.`, ""]),
    row(["", ...contestants.map(({ title }) => title)]),
    row(["---", ...contestants.map(() => "---:")]),
    ...measures.flatMap((measure) =>
      measure.metrics.flatMap((metric) =>
        renderMetric(report.results, contestants, section.reference, measure, metric)
      )
    ),
  ];
}

function renderTargets({ suite, results }: Report): string[] {
  const findings = judge(suite, results);
  if (findings.length === 0) return [];
  return [
    "",
    `Against the targets: ${suite.targetsAre}.`,
    "",
    row(["Target", "Found", ""]),
    row(["---", "---", "---"]),
    ...findings.map(({ title, found, verdict }) => row([title, found, verdict])),
  ];
}

/** Which CPU a run kept busy is what limited it. */
function renderLimits({ contestants, measures, results }: Report): string[] {
  const rows = measures.flatMap(({ name }) => {
    const cells = contestants.map((contestant) => {
      const samples = results.filter((one) => one.measure === name && one.contestant === contestant.name)
        .flatMap(({ sample }) => sample?.["loadBusy"] === undefined ? [] : [sample]);
      if (samples.length === 0) return undefined;
      const middle = (key: string) => median(samples.map((sample) => sample[key]!));
      return renderBusy({ gatewayBusy: middle("gatewayBusy"), loadBusy: middle("loadBusy") });
    });
    return cells.every((cell) => cell === undefined)
      ? []
      : [row([name, ...cells.map((cell) => cell ?? "–")])];
  });
  if (rows.length === 0) return [];
  return [
    "",
    "How busy the gateway's and the load's CPUs were, in percent (medians): the fuller one limited the run.",
    "",
    row(["", ...contestants.map(({ title }) => title)]),
    row(["---", ...contestants.map(() => "---:")]),
    ...rows,
  ];
}

/** `gateway / load` in percent; undefined when the sample does not say. */
export function renderBusy({ gatewayBusy, loadBusy }: Sample): string | undefined {
  if (gatewayBusy === undefined || loadBusy === undefined) return undefined;
  return `${Math.round(100 * gatewayBusy)} / ${Math.round(100 * loadBusy)}`;
}

/** A row, or none. */
function renderMetric(
  results: readonly RoundResult[],
  contestants: readonly Contestant[],
  reference: string,
  measure: Measure,
  metric: Metric,
): string[] {
  const figures = contestants.map(({ name }) => summarize(results, measure.name, metric, name, reference));
  if (metric.onlyIfAny === true && figures.every((figure) => (figure?.max ?? 0) === 0)) return [];
  const sign = metric.better === "more" ? "↑" : "↓";
  const cells = figures.map((figure) => figure === undefined ? "–" : renderFigure(figure, metric.digits));
  return [row([`${metric.title} ${sign}`, ...cells])];
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
