/**
 * What the doctor says: plain data, made by the judges and printed by report.ts.
 *
 * @module
 */

/** Under which heading a finding stands; the order is that of the report. */
export const GROUPS = {
  features: "kernel and tools",
  settings: "settings of the kernel",
  limits: "limits",
  ports: "ports",
  numbers: "marks, tables and preferences",
  neighbours: "other programs",
  firewalls: "firewalls",
  links: "interfaces",
  "self-test": "self-test",
} as const;
/** Key of {@linkcode GROUPS}. */
export type Group = keyof typeof GROUPS;

/**
 * `error`: it will not work, or not all of it. `warning`: it may not, or something else may not. `info`: good to know,
 * or could not be looked at. `ok`: looked at, and fine.
 */
export type Severity = "error" | "warning" | "info" | "ok";

/** One thing that was looked at. */
export interface Finding {
  /** Stable, `group.what` or `group.what:subject`: programs may ask for it. */
  readonly id: string;
  readonly group: Group;
  readonly severity: Severity;
  /** What is there. */
  readonly found: string;
  /** What that breaks, for whom; empty where nothing is broken. */
  readonly breaks: string;
  /** The command that mends it, or a line to write where no command does; null where there is nothing to mend. */
  readonly mend: string | null;
}

/** Something to look into. */
export function finding(
  severity: "error" | "warning" | "info",
  id: `${Group}.${string}`,
  text: { readonly found: string; readonly breaks: string; readonly mend: string | null },
): Finding {
  return { id, group: groupOf(id), severity, ...text };
}

/** Looked at, and fine. */
export function fine(id: `${Group}.${string}`, found: string): Finding {
  return { id, group: groupOf(id), severity: "ok", found, breaks: "", mend: null };
}

/** Whether the host will do: warnings are allowed. */
export function isHealthy(findings: readonly Finding[]): boolean {
  return !findings.some(({ severity }) => severity === "error");
}

/** How many of each severity. */
export function countSeverities(findings: readonly Finding[]): Record<Severity, number> {
  const counts: Record<Severity, number> = { error: 0, warning: 0, info: 0, ok: 0 };
  for (const { severity } of findings) counts[severity]++;
  return counts;
}

function groupOf(id: `${Group}.${string}`): Group {
  return id.slice(0, id.indexOf(".")) as Group;
}
