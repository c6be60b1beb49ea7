/**
 * The findings as text for people and as JSON for programs.
 *
 * @module
 */
import { countSeverities, type Finding, type Group, GROUPS, isHealthy, type Severity } from "./findings.ts";

/** Raised when a field changes its meaning or goes; new ones may come. */
const SCHEMA = 1;

/** What `doctor --json` prints; docs/operations.md describes it. */
export interface DoctorReport {
  readonly schema: number;
  /** Whether no finding is an error. */
  readonly healthy: boolean;
  readonly counts: Readonly<Record<Severity, number>>;
  readonly findings: readonly Finding[];
}

/** The report of these findings, the worst of each group first. */
export function reportOf(findings: readonly Finding[]): DoctorReport {
  return {
    schema: SCHEMA,
    healthy: isHealthy(findings),
    counts: countSeverities(findings),
    findings: groups().flatMap((group) => ofGroup(findings, group)),
  };
}

const ORDER: readonly Severity[] = ["error", "warning", "info", "ok"];
const LABELS: Readonly<Record<Severity, string>> = {
  error: "ERROR",
  warning: "warning",
  info: "note",
  ok: "ok",
};

function groups(): Group[] {
  return Object.keys(GROUPS) as Group[];
}

function ofGroup(findings: readonly Finding[], group: Group): Finding[] {
  return findings.filter((one) => one.group === group)
    .toSorted((a, b) => ORDER.indexOf(a.severity) - ORDER.indexOf(b.severity));
}

/** Lines of text; what is fine is only counted. */
export function renderText(report: DoctorReport): string[] {
  const lines: string[] = [];
  for (const group of groups()) {
    const all = report.findings.filter((one) => one.group === group);
    if (all.length === 0) continue;
    const unwell = all.filter(({ severity }) => severity !== "ok");
    const well = all.length - unwell.length;
    lines.push(
      `${GROUPS[group]}: ${well === 0 ? "" : `${well} ok`}${unwell.length === 0 || well === 0 ? "" : ", "}${
        unwell.length === 0 ? "" : `${unwell.length} to look at`
      }`,
    );
    for (const one of unwell) lines.push(...renderFinding(one));
  }
  const { error, warning, info, ok } = report.counts;
  lines.push(
    "",
    `${report.healthy ? "This host will do" : "This host will not do as it is"}: ` +
      `${count(error, "error")}, ${count(warning, "warning")}, ${count(info, "note")}, ${ok} ok`,
  );
  return lines;
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}

function renderFinding({ id, severity, found, breaks, mend }: Finding): string[] {
  return [
    `  ${LABELS[severity]}  ${found}  [${id}]`,
    ...(breaks === "" ? [] : [`    breaks: ${breaks}`]),
    ...(mend === null ? [] : [`    mend:   ${mend}`]),
  ];
}
