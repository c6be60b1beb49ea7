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

/** A path below the cgroup file system's mount point, as nft and iptables can be told it: `system.slice/a.service`. */
export function isCgroupPath(path: string): boolean {
  // deno-lint-ignore no-control-regex -- neither tool's syntax can hold them
  if (/["*\x00-\x1f\x7f]/.test(path)) return false;
  if (new TextEncoder().encode(path).length > CGROUP_PATH_BYTES) return false;
  return path.split("/").every((part) => part !== "" && part !== "." && part !== "..");
}
