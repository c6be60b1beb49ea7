/**
 * Removes all that is ours from the host with no state and no configuration: rules of every backend by what is
 * written beside them, whatever their name; routing rules and routes by their protocol number, whatever their table;
 * conntrack's entries of taken UDP flows by their mark. Settings are put back as the rules' state notes them.
 *
 * While a living process has any of it, nothing is removed: its routes are in use.
 *
 * @module
 */
import type { IpFamily } from "../net/address.ts";
import type { FoundRules } from "./backend_options.ts";
import { COMMAND_MISSING, type Exec } from "./exec.ts";
import { DEFAULT_KERNEL_NUMBERS, type InterceptIntent } from "./intent.ts";
import { BACKENDS, findRules } from "./open_backend.ts";
import { readRouteEntries } from "./route_listing.ts";
import { RuleApplyError } from "./rule_apply_error.ts";
import { restoreSysctls } from "./sysctls.ts";
import { forgetTakenFlows } from "./taken_flows.ts";

/** What {@linkcode cleanup} did. */
export interface CleanupResult {
  /** What was removed or put back, one line each. */
  readonly removed: readonly string[];
  /** Rules of ours that a running process has; then nothing was removed. */
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
  const found = await findAll(exec);
  const inUse = found.filter(({ isInUse }) => isInUse).map(({ what }) => what);
  if (inUse.length > 0) return { removed: [], inUse };

  const removed: string[] = [];
  const problems: string[] = [];
  for (const { what, remove } of found) {
    const said = await remove();
    if (said === undefined) removed.push(what);
    else problems.push(`${what}: ${said.trim()}`);
  }
  for (const family of [4, 6] satisfies IpFamily[]) {
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
  const sysctls = found.flatMap((rules) => rules.sysctls);
  problems.push(...await restoreSysctls(sysctls, exec));
  removed.push(...sysctls.map(({ key, value }) => `setting ${key}, now ${value} again`));
  // A process that was killed cannot have done this.
  await forgetTakenFlows(numbers.marks, exec);
  if (problems.length > 0) throw new RuleApplyError("revert", "not all was removed", problems.join("; "));
  return { removed, inUse: [] };
}

async function findAll(exec: Exec): Promise<FoundRules[]> {
  const found: FoundRules[] = [];
  for (const backend of BACKENDS) {
    const rules = await findRules(backend, exec);
    if (Array.isArray(rules)) {
      // The flavours of iptables have their sets in common.
      found.push(...rules.filter(({ what }) => !found.some((other) => other.what === what)));
    } else if (rules.code !== COMMAND_MISSING) throw new RuleApplyError("revert", "nft list", rules.stderr);
  }
  // Sets go after the rules that may ask for them.
  return found.sort((a, b) => Number(b.hasRules) - Number(a.hasRules));
}
