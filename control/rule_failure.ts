/**
 * What failures around rules mean to the user.
 *
 * @module
 */
import {
  type ApplyStage,
  type BackendName,
  DEFAULT_KERNEL_NUMBERS,
  type Finding,
  findingsAgainst,
  type HostFacts,
  isRuleApplyError,
  type Plan,
  TableHeldError,
} from "../nft/mod.ts";
import { StartError, type StartErrorCode } from "./start_error.ts";

const CODES: Partial<Record<Finding["code"], StartErrorCode>> = {
  "nft-missing": "program-missing",
  "ip-missing": "program-missing",
  "not-privileged": "not-permitted",
  "no-tproxy": "kernel-without-tproxy",
  "no-socket": "kernel-without-tproxy",
};

/** The flags under which the plan needs it no more. */
const WORKS_WITHOUT: Partial<Record<Finding["code"], string>> = {
  "no-tproxy": "--tcp redirect --udp off",
  "no-conntrack": "--udp off",
  "no-hash": "--workers 1 or --udp off",
};

const RENDER = "`pellucid rules render` prints what was to be loaded";
const HINTS: Readonly<Record<ApplyStage, string>> = {
  check: `nothing was changed; ${RENDER}`,
  apply: "what had been done is undone; `nft list ruleset`, `ip rule` and " +
    `\`ip route show table ${DEFAULT_KERNEL_NUMBERS.routeTable}\` (and \`ip -6\`) show what may be in the way`,
  verify: "nothing of it stays; rules could not be read, or another program changes them: try again, as root",
  revert: "`pellucid rules cleanup` tries again, as root",
};

/** @throws {StartError} for the first thing that keeps `plan` from working on this host. */
export function requireHost(plan: Plan, host: HostFacts, backend: BackendName): void {
  const [finding] = findingsAgainst(plan, host, backend);
  if (finding === undefined) return;
  const { code, message, hint } = finding;
  const flags = WORKS_WITHOUT[code];
  const wayOut = flags === undefined ? hint : `${hint}; ${flags} works without`;
  throw new StartError(CODES[code] ?? "rules-failed", `host: ${message}`, wayOut);
}

/** A failure to apply rules as the failed start of the whole; anything else as it is. */
export function explainRuleFailure(error: unknown): unknown {
  if (!isRuleApplyError(error)) return error;
  if (error.stderr.includes("Operation not permitted")) {
    return new StartError("not-permitted", error.message, "run as root (sudo)", { cause: error });
  }
  if (/_tables_names: Permission denied/.test(error.stderr)) {
    const hint =
      "legacy tables are for this machine's root alone, whatever the capabilities: run as root (sudo)";
    return new StartError("not-permitted", error.message, hint, { cause: error });
  }
  const hint = error instanceof TableHeldError
    ? "nothing was changed; stop that one first"
    : HINTS[error.stage];
  return new StartError("rules-failed", error.message, hint, { cause: error });
}
