/**
 * Failures as the user sees them: what failed, what to do about it, and never a stack trace unless asked for.
 *
 * @module
 */
import { ConfigError, formatIssue } from "../config/mod.ts";
import { StartError } from "../control/start_error.ts";
import { EXIT, type ExitCode, PROGRAM } from "./command.ts";

/** How failures are shown. */
export interface FailureStyle {
  /** Name of the command, or undefined before one was found. */
  readonly command: string | undefined;
  /** One JSON object a line, as the log has it. */
  readonly json: boolean;
  /** With stack traces. */
  readonly debug: boolean;
}

/** Writes to stderr what is no failure. */
export function reportWarning(message: string, { command, json }: FailureStyle): void {
  const line = { time: new Date().toISOString(), level: "warn", event: "config", message };
  console.error(json ? JSON.stringify(line) : `${PROGRAM} ${command}: warning: ${message}`);
}

interface Problem {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
}

/** Writes the failure to stderr. */
export function reportFailure(error: unknown, style: FailureStyle): ExitCode {
  const stack = style.debug && error instanceof Error ? error.stack : undefined;
  for (const problem of problemsOf(error)) {
    console.error(style.json ? asJson(problem, stack) : asText(problem, style.command));
  }
  if (stack !== undefined && !style.json) console.error(stack);
  if (!(error instanceof ConfigError)) return EXIT.failure;
  const help = [PROGRAM, style.command, "--help"].filter((word) => word !== undefined).join(" ");
  if (!style.json) console.error(`\`${help}\` shows what can be said.`);
  return EXIT.usage;
}

function problemsOf(error: unknown): Problem[] {
  if (error instanceof ConfigError) {
    return error.issues.map((issue) => ({ code: "config", message: formatIssue(issue) }));
  }
  if (error instanceof StartError) return [{ code: error.code, message: error.message, hint: error.hint }];
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return [{
    code: "internal",
    message: `unexpected failure: ${message}`,
    hint: "this is a fault of the program; --log-level debug on `run` shows where",
  }];
}

function asText(problem: Problem, command: string | undefined): string {
  const who = command === undefined ? PROGRAM : `${PROGRAM} ${command}`;
  // Other programs' complaints may have several lines.
  const message = problem.message.trim().replaceAll(/\s*\n\s*/g, "; ");
  return problem.hint === undefined ? `${who}: ${message}` : `${who}: ${message}\n  ${problem.hint}`;
}

function asJson(problem: Problem, stack: string | undefined): string {
  return JSON.stringify({
    time: new Date().toISOString(),
    level: "error",
    event: "error",
    ...problem,
    ...(stack === undefined ? {} : { stack }),
  });
}
