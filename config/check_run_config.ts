/**
 * Whether a configuration makes sense: ranges, and settings that contradict each other.
 *
 * Only what the configuration itself says is looked at; whether the host can do it is for the control plane's
 * preflight. Paths are flags, since flags are the one way to write a configuration so far.
 *
 * @module
 */
import type { ConfigIssue } from "./config_error.ts";
import type { RunConfig } from "./run_config.ts";

/** A week: longer waits are better said as 0 (never), and setTimeout ends at 24 days. */
const LONGEST_MS = 7 * 24 * 3600 * 1000;

/** Every issue, in the order of the flags in the help; empty when there is none. */
export function checkRunConfig(config: RunConfig): ConfigIssue[] {
  return [
    ...checkInterception(config),
    ...checkWhole("--port", config.port, 1, 65_535),
    ...checkWhole("--workers", config.workers, 1, 256),
    ...checkWhole("--max-connections", config.maxConnections ?? 1, 1, 4_000_000),
    ...checkWhole("--max-connections-per-client", config.maxConnectionsPerClient, 0, 4_000_000),
    ...checkTimeout("--connect-timeout", config.connectTimeoutMs, 1),
    ...checkTimeout("--idle-timeout", config.idleTimeoutMs, 0),
    ...checkTimeout("--half-closed-timeout", config.halfClosedTimeoutMs, 0),
    ...checkTimeout("--drain-timeout", config.drainTimeoutMs, 0),
  ];
}

function* checkInterception(config: RunConfig): Generator<ConfigIssue> {
  if (config.tcp === "off") {
    yield {
      path: "--tcp",
      found: "off",
      wanted: "tproxy or redirect",
      hint: "without TCP there is nothing to intercept",
    };
  } else if (config.rules === "nft" && config.from.length === 0 && !config.local) {
    yield {
      path: "--from, --local",
      found: "neither",
      wanted: "at least one",
      hint:
        "--from IFACE intercepts what is forwarded from an interface, --local what this host opens itself; " +
        "with --rules none the rules are yours",
    };
  }
  const seen = new Set<string>();
  for (const name of config.from) {
    if (!isInterfaceName(name)) {
      yield { path: "--from", found: JSON.stringify(name), wanted: "an interface name (1 to 15 characters)" };
    } else if (name === "lo") {
      yield {
        path: "--from",
        found: "lo",
        wanted: "another interface",
        hint: "--local intercepts this host's own",
      };
    } else if (seen.has(name)) {
      yield { path: "--from", found: `${name} twice`, wanted: "each interface once" };
    }
    seen.add(name);
  }
}

/**
 * The kernel's dev_valid_name(): 1 to 15 bytes, no slash, colon or white space, not "." or ".."; and none of the
 * characters that nft cannot quote or would expand.
 */
function isInterfaceName(name: string): boolean {
  return /^[^\s/:"*\\]+$/.test(name) && name !== "." && name !== ".." &&
    new TextEncoder().encode(name).length <= 15;
}

function* checkWhole(path: string, value: number, least: number, most: number): Generator<ConfigIssue> {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  yield { path, found: String(value), wanted: `a whole number from ${least} to ${most}` };
}

function* checkTimeout(path: string, ms: number, leastMs: number): Generator<ConfigIssue> {
  if (ms >= leastMs && ms <= LONGEST_MS) return;
  const range = `${leastMs / 1000} to ${LONGEST_MS / 1000} seconds`;
  yield { path, found: `${ms / 1000}`, wanted: range };
}
