/**
 * What failures around rules mean to the user.
 *
 * @module
 */
import { type Finding, findingsAgainst, type HostFacts, isRuleApplyError, type Plan } from "../nft/mod.ts";
import { StartError, type StartErrorCode } from "./start_error.ts";

const CODES: Partial<Record<Finding["code"], StartErrorCode>> = {
  "nft-missing": "program-missing",
  "ip-missing": "program-missing",
  "not-privileged": "not-permitted",
  "no-tproxy": "kernel-without-tproxy",
  "no-socket": "kernel-without-tproxy",
};

/** @throws {StartError} for the first thing that keeps `plan` from working on this host. */
export function requireHost(plan: Plan, host: HostFacts): void {
  const [finding] = findingsAgainst(plan, host);
  if (finding === undefined) return;
  const { code, message, hint } = finding;
  const wayOut = code === "no-tproxy" ? `${hint}; --tcp redirect works without` : hint;
  throw new StartError(CODES[code] ?? "rules-failed", `host: ${message}`, wayOut);
}

/** A failure to apply rules as the failed start of the whole; anything else as it is. */
export function explainRuleFailure(error: unknown): unknown {
  if (!isRuleApplyError(error)) return error;
  const done = error.stage === "check" ? "nothing was changed" : "what had been done is undone";
  return new StartError(
    "rules-failed",
    error.message,
    `${done}; \`pellucid rules render\` prints what was to be loaded`,
    { cause: error },
  );
}
