/**
 * The error of everything that reads or changes the host's rules.
 *
 * @module
 */

/** What was being done when it failed. */
export type ApplyStage = "check" | "apply" | "verify" | "revert";

/** Rules could not be checked, applied, verified or reverted. */
export class RuleApplyError extends Error {
  override readonly name: string = "RuleApplyError";
  readonly stage: ApplyStage;
  /** What the tool said; empty when the failure is ours to tell. */
  readonly stderr: string;

  constructor(stage: ApplyStage, message: string, stderr = "") {
    super(`rules ${stage}: ${message}${stderr === "" ? "" : `: ${stderr.trim()}`}`);
    this.stage = stage;
    this.stderr = stderr;
  }
}

/** Another process holds rules of our name. */
export class TableHeldError extends RuleApplyError {
  override readonly name = "TableHeldError";

  /** `what` they are: `table inet pellucid`. */
  constructor(stage: ApplyStage, what: string) {
    super(stage, `${what} belongs to a running process`);
  }
}

/** Whether `error` is a {@linkcode RuleApplyError}, of `stage` when one is given. */
export function isRuleApplyError(error: unknown, stage?: ApplyStage): error is RuleApplyError {
  return error instanceof RuleApplyError && (stage === undefined || error.stage === stage);
}
