/**
 * Removes all that is ours from the host with no state and no configuration: rules of every backend by what is
 * written beside them, whatever their name; routing rules and routes by their protocol number, whatever their table;
 * conntrack's entries of taken UDP flows by their mark. Settings are put back as the rules' state notes them.
 *
 * While a living process has any of it, nothing is removed: its routes are in use. Nor are routes while rules stay
 * that are to outlive every process, or where a tool cannot tell whether it has rules of a living one.
 *
 * @module
 */
import type { IpFamily } from "../net/address.ts";
import type { FoundRules } from "./backend_options.ts";
import { COMMAND_MISSING, type Exec } from "./exec.ts";
import { DEFAULT_KERNEL_NUMBERS, type InterceptIntent } from "./intent.ts";
import { BACKENDS, findRules } from "./open_backend.ts";
import { readRouteEntries } from "./route_listing.ts";
import { isRuleApplyError, RuleApplyError } from "./rule_apply_error.ts";
import { restoreSysctls } from "./sysctls.ts";
import { forgetTakenFlows } from "./taken_flows.ts";

/** What {@linkcode cleanup} did. */
export interface CleanupResult {
  /** What was removed or put back, one line each. */
  readonly removed: readonly string[];
  /** Rules of ours that a running process has; then nothing was removed. */
  readonly inUse: readonly string[];
  /** Rules that are to be there without a process, when these were to stay. */
  readonly left: readonly string[];
}

/** What {@linkcode cleanup} is to remove. */
export interface CleanupOptions {
  /** Only what no process should have left: neither rules of the policy `closed` nor those of `rules apply`. */
  readonly ifOpen?: boolean;
  /** By what routes and connections are known. */
  readonly numbers?: Pick<InterceptIntent, "routeProtocol" | "marks">;
}

/**
 * Removes everything of ours.
 *
 * @throws {RuleApplyError} of stage revert when something could not be read or removed; the rest was tried.
 */
export async function cleanup(
  exec: Exec,
  { ifOpen = false, numbers = DEFAULT_KERNEL_NUMBERS }: CleanupOptions = {},
): Promise<CleanupResult> {
  const { found, problems } = await findAll(exec);
  const inUse = found.filter(({ isInUse }) => isInUse).map(({ what }) => what);
  if (inUse.length > 0) return { removed: [], inUse, left: [] };

  const staying = found.filter((one) => ifOpen && one.hasRules && (one.isClosed || one.isKept));
  const names = new Set(staying.map(({ tableName }) => tableName));
  // The sets of rules that stay are needed.
  const going = found.filter((one) => !staying.includes(one) && (one.hasRules || !names.has(one.tableName)));

  const areRoutesFree = staying.length === 0 && problems.length === 0;
  const removed: string[] = [];
  for (const { what, remove } of going) {
    const said = await remove();
    if (said === undefined) removed.push(what);
    else problems.push(`${what}: ${said.trim()}`);
  }
  const families: readonly IpFamily[] = areRoutesFree ? [4, 6] : [];
  for (const family of families) {
    const entries = await readRouteEntries(exec, family, numbers.routeProtocol);
    if (Array.isArray(entries)) {
      for (const { key, remove } of entries) {
        const result = await exec.run(remove);
        if (result.code === 0) removed.push(key);
        else problems.push(`${remove.join(" ")}: ${result.stderr.trim()}`);
      }
      // A host without IPv6 has no IPv6 rules to remove, and `ip -6` fails there.
    } else if (family === 4) problems.push(entries.stderr);
  }
  const needed = new Set(staying.flatMap(({ sysctls }) => sysctls).map(({ key }) => key));
  const sysctls = going.flatMap((rules) => rules.sysctls).filter(({ key }) => !needed.has(key));
  problems.push(...await restoreSysctls(sysctls, exec));
  removed.push(...sysctls.map(({ key, value }) => `setting ${key}, now ${value} again`));
  // A process that was killed cannot have done this.
  if (areRoutesFree) await forgetTakenFlows(numbers.marks, exec);
  if (problems.length > 0) throw new RuleApplyError("revert", "not all was removed", problems.join("; "));
  return { removed, inUse: [], left: staying.map(({ what }) => what) };
}

/** @returns also what was said by tools that could not tell. */
async function findAll(exec: Exec): Promise<{ found: FoundRules[]; problems: string[] }> {
  const found: FoundRules[] = [];
  const problems: string[] = [];
  for (const backend of BACKENDS) {
    try {
      const rules = await findRules(backend, exec);
      if (Array.isArray(rules)) {
        // The flavours of iptables have their sets in common.
        found.push(...rules.filter(({ what }) => !found.some((other) => other.what === what)));
      } else if (rules.code !== COMMAND_MISSING) problems.push(`nft list: ${rules.stderr.trim()}`);
    } catch (error) {
      if (!isRuleApplyError(error)) throw error;
      problems.push(error.message);
    }
  }
  // Sets go after the rules that may ask for them.
  return { found: found.sort((a, b) => Number(b.hasRules) - Number(a.hasRules)), problems };
}
