/**
 * Whether single values make sense: numbers, times, paths.
 *
 * @module
 */
import type { ConfigIssue } from "./config_error.ts";

/** A week: longer waits are better said as 0 (never), and setTimeout ends at 24 days. */
const LONGEST_MS = 7 * 24 * 3600 * 1000;
/** The kernel's PATH_MAX for xt_cgroup is 512 with the final zero. */
const CGROUP_PATH_BYTES = 511;

/** Whether `value` is a whole number in a range. */
export function* checkWhole(
  path: string,
  value: number,
  least: number,
  most: number,
): Generator<ConfigIssue> {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  yield { path, found: String(value), wanted: `a whole number from ${least} to ${most}` };
}

/** Whether a time is neither too short nor longer than a timer can be. */
export function* checkTimeout(
  path: string,
  ms: number,
  leastMs: number,
  hint?: string,
): Generator<ConfigIssue> {
  if (ms >= leastMs && ms <= LONGEST_MS) return;
  const range = `${leastMs / 1000} to ${LONGEST_MS / 1000} seconds`;
  yield { path, found: `${ms / 1000}`, wanted: range, ...(hint === undefined ? {} : { hint }) };
}

/**
 * A path below the cgroup file system's mount point: `system.slice/a.service`. Of characters only those that nft and
 * iptables take without quoting, so none with what systemd escapes (`\x2d`).
 */
export function isCgroupPath(path: string): boolean {
  return path.length <= CGROUP_PATH_BYTES &&
    path.split("/").every((part) => /^[A-Za-z0-9_.@:-]+$/.test(part) && part !== "." && part !== "..");
}
