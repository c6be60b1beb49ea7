/**
 * What is wrong with a configuration, all of it at once.
 *
 * @module
 */

/** Where in a file something is. */
export interface ConfigPlace {
  /** As the user named it. */
  readonly file: string;
  /** Counted from 1, as `column` is. */
  readonly line: number;
  /** In characters. */
  readonly column: number;
}

/** One thing that is wrong. */
export interface ConfigIssue {
  /** What to change: a flag (`--port`), or a key of the configuration file (`upstream.office.server`). */
  readonly path: string;
  /** The value found there; never a secret. */
  readonly found: string;
  /** What would have been right. */
  readonly wanted: string;
  /** What to do about it, where that is more than writing what is wanted. */
  readonly hint?: string;
  /** Where it was read, if from a file. */
  readonly place?: ConfigPlace;
}

/** For example `gateway.toml:3:8: intercept.port: 70000 found, a whole number from 1 to 65535 wanted`. */
export function formatIssue({ path, found, wanted, hint, place }: ConfigIssue): string {
  const where = place === undefined ? "" : `${place.file}:${place.line}:${place.column}: `;
  const problem = `${where}${path}: ${found} found, ${wanted} wanted`;
  return hint === undefined ? problem : `${problem}; ${hint}`;
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
