/**
 * Why the proxy cannot start (or a command cannot do its work): a reason for the program, a detail and a way out.
 *
 * @module
 */

/** What stood in the way. */
export type StartErrorCode =
  | "port-taken"
  | "not-permitted"
  | "program-missing"
  | "interface-unknown"
  | "kernel-without-tproxy"
  | "rules-failed"
  | "worker-failed"
  | "not-running";

/** A start that failed and was undone. */
export class StartError extends Error {
  /** As for every error: the class. */
  override readonly name = "StartError";
  /** For programs. */
  readonly code: StartErrorCode;
  /** What the user can do about it. */
  readonly hint: string;
  /** `message` is what failed, colon, the detail. */
  constructor(code: StartErrorCode, message: string, hint: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.hint = hint;
  }
}
