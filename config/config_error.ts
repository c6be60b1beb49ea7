/**
 * What is wrong with a configuration, all of it at once.
 *
 * @module
 */

/** One thing that is wrong. */
export interface ConfigIssue {
  /** What to change: a flag (`--port`). */
  readonly path: string;
  /** The value found there. */
  readonly found: string;
  /** What would have been right. */
  readonly wanted: string;
  /** What to do about it, where that is more than writing what is wanted. */
  readonly hint?: string;
}

/** For example `--port: 70000 found, a whole number from 1 to 65535 wanted`. */
export function formatIssue(issue: ConfigIssue): string {
  const problem = `${issue.path}: ${issue.found} found, ${issue.wanted} wanted`;
  return issue.hint === undefined ? problem : `${problem}; ${issue.hint}`;
}

/** A configuration that cannot be run. It names every issue, so that one try is enough to mend them all. */
export class ConfigError extends Error {
  /** As for every error: the class. */
  override readonly name = "ConfigError";
  /** Never empty. */
  readonly issues: readonly ConfigIssue[];
  /** `issues` is everything that is wrong, at least one. */
  constructor(issues: readonly ConfigIssue[]) {
    super(issues.map(formatIssue).join("\n"));
    this.issues = issues;
  }
}
