/**
 * What a worker's failure means to the user.
 *
 * @module
 */
import type { WorkerFailure } from "../dataplane/protocol.ts";
import { StartError, type StartErrorCode } from "./start_error.ts";

interface Meaning {
  readonly code: StartErrorCode;
  readonly hint: string;
}

function meaningOf(failure: WorkerFailure): Meaning {
  switch (failure.code) {
    case "EADDRINUSE":
      return {
        code: "port-taken",
        hint: "choose another port with --port; `ss -lntup` shows who listens where",
      };
    case "EPERM":
    case "EACCES":
      return {
        code: "not-permitted",
        hint: "run as root (sudo) or with CAP_NET_ADMIN; `pellucid demo` needs neither",
      };
    case "EMFILE":
    case "ENFILE":
      return { code: "worker-failed", hint: "raise the limit of open files (`ulimit -Hn`, LimitNOFILE=)" };
    case "ENOMEM":
    case "ENOBUFS":
      return { code: "worker-failed", hint: "the system is short of memory" };
    default:
      return { code: "worker-failed", hint: "this is a fault of the program; --log-level debug shows where" };
  }
}

/** A worker that did not start, as the failed start of the whole. */
export function explainWorkerStart(failure: WorkerFailure): StartError {
  const { code, hint } = meaningOf(failure);
  const error = new StartError(code, `data plane: ${failure.message}`, hint);
  // The worker's own stack says where; this thread's says nothing.
  if (failure.stack !== undefined) error.stack = failure.stack;
  return error;
}

/** The way out of a death while running. */
export function deathHint(failure: WorkerFailure): string {
  return meaningOf(failure).hint;
}
