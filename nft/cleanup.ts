/**
 * Removes all that is ours from the host with no state and no configuration: tables by the first word of their
 * comment, whatever their name; rules and routes by their protocol number, whatever their table; conntrack's
 * entries of taken UDP flows by their mark.
 *
 * While a live process holds a table, nothing is removed: its routes are in use.
 *
 * @module
 */
import type { IpFamily } from "../net/address.ts";
import type { Exec } from "./exec.ts";
import { DEFAULT_KERNEL_NUMBERS, type InterceptIntent } from "./plan.ts";
import { readRouteEntries } from "./route_listing.ts";
import { RuleApplyError } from "./rule_apply_error.ts";
import { isOurs, parseTables } from "./table_listing.ts";
import { forgetTakenFlows } from "./taken_flows.ts";

/** What {@linkcode cleanup} did. */
export interface CleanupResult {
  /** What was removed, one line each. */
  readonly removed: readonly string[];
  /** Tables of ours that a running process holds; then nothing was removed. */
  readonly inUse: readonly string[];
}

/**
 * Removes everything of ours.
 *
 * @throws {RuleApplyError} of stage revert when something could not be read or removed; the rest was tried.
 */
export async function cleanup(
  exec: Exec,
  numbers: Pick<InterceptIntent, "routeProtocol" | "marks"> = DEFAULT_KERNEL_NUMBERS,
): Promise<CleanupResult> {
  // -t: without the elements of sets, which other programs' tables may have by the thousand.
  const listing = await exec.run(["nft", "-s", "-t", "list", "ruleset", "inet"]);
  if (listing.code !== 0) throw new RuleApplyError("revert", "nft list ruleset", listing.stderr);
  const tables = parseTables(listing.stdout).filter(isOurs);
  const inUse = tables.filter((table) => table.owned).map((table) => `table inet ${table.name}`);
  if (inUse.length > 0) return { removed: [], inUse };

  const removed: string[] = [];
  const problems: string[] = [];
  const remove = async (what: string, argv: readonly string[]) => {
    const result = await exec.run(argv);
    if (result.code === 0) removed.push(what);
    else problems.push(`${argv.join(" ")}: ${result.stderr.trim()}`);
  };
  for (const { name } of tables) await remove(`table inet ${name}`, ["nft", "delete", "table", "inet", name]);
  for (const family of [4, 6] satisfies IpFamily[]) {
    const entries = await readRouteEntries(exec, family, numbers.routeProtocol);
    if (Array.isArray(entries)) { for (const entry of entries) await remove(entry.key, entry.remove); }
    // A host without IPv6 has no IPv6 rules to remove, and `ip -6` fails there.
    else if (family === 4) problems.push(entries.stderr);
  }
  // A process that was killed has left nothing else, and cannot have done this.
  await forgetTakenFlows(numbers.marks, exec);
  if (problems.length > 0) throw new RuleApplyError("revert", "not all was removed", problems.join("; "));
  return { removed, inUse: [] };
}
