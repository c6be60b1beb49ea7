/**
 * Finds iptables rules of ours without configuration: by the comments of jumps; and chains and ipsets that lost their
 * jumps by the name that they have where nobody said another.
 *
 * @module
 */
import type { IpFamily } from "../net/address.ts";
import type { FoundRules } from "./backend_options.ts";
import type { Exec, ExecResult } from "./exec.ts";
import { DEFAULT_KERNEL_NUMBERS } from "./intent.ts";
import { IpsetStore } from "./ipset_store.ts";
import { chainsText, IptablesBackend } from "./iptables_backend.ts";
import { ownNames, ownRules, parseSave, type SavedTable } from "./iptables_listing.ts";
import { findIptables, type IptablesName } from "./iptables_programs.ts";
import { isLiving } from "./living_process.ts";
import { isRuleApplyError, RuleApplyError } from "./rule_apply_error.ts";

/**
 * What of ours there is by that flavour; none where the host has no such program, or shows its rules to root alone.
 *
 * @throws {RuleApplyError} of stage revert when the rules cannot be read.
 */
export async function findIptablesRules(
  name: IptablesName,
  exec: Exec,
): Promise<FoundRules[]> {
  // Where the kernel has no IPv6, ip6tables can only fail.
  const ipv6 = (await exec.run(["test", "-e", "/proc/net/if_inet6"])).code === 0;
  const saved = await readAll(name, exec, ipv6);
  if (saved === undefined) return [];
  const fallback = DEFAULT_KERNEL_NUMBERS.tableName;
  const found: FoundRules[] = [];
  for (const tableName of new Set([...saved.flatMap(ownNames), fallback])) {
    const own = saved.map((tables) => ownRules(tables, tableName));
    const hasRules = own.some(({ tables }) => tables.length > 0);
    const hasSets = (await new IpsetStore(exec, tableName).counts()).size > 0;
    if (!hasRules && !hasSets) continue;
    const states = own.flatMap(({ states }) => states);
    const owners = [...new Set(states.map(({ by }) => by))];
    const living = await Promise.all(owners.map((by) => by !== null && isLiving(by, exec)));
    const backend = new IptablesBackend(name, {
      exec,
      ipv6,
      tableName,
      hold: "plain",
      by: null,
      sysctls: [],
      afterwards: "",
    });
    found.push({
      what: hasRules ? chainsText(name, tableName) : `ipsets ${tableName}_*`,
      tableName,
      hasRules,
      isInUse: living.includes(true),
      isKept: states.length > 0 && owners.every((by) => by === null),
      isClosed: states.some(({ onProxyDown }) => onProxyDown === "closed"),
      sysctls: [...new Map(states.flatMap(({ sysctls }) => sysctls).map((old) => [old.key, old])).values()],
      remove: () => backend.remove(),
    });
  }
  return found;
}

async function readAll(name: IptablesName, exec: Exec, ipv6: boolean): Promise<SavedTable[][] | undefined> {
  try {
    const programs = await findIptables(name, exec, "check");
    const families: readonly IpFamily[] = ipv6 ? [4, 6] : [4];
    return await Promise.all(families.map(async (family) => {
      const save = programs.save(family);
      const result = await exec.run([save]);
      // A user who may not read their names can neither have made legacy rules nor take them away.
      if (isClosedToUs(result)) return [];
      if (result.code !== 0) throw new RuleApplyError("revert", save, result.stderr);
      return parseSave(result.stdout);
    }));
  } catch (error) {
    if (isRuleApplyError(error, "check")) return undefined;
    throw error;
  }
}

/** The kernel names legacy tables to the machine's root alone; no capability stands in for that. */
function isClosedToUs({ code, stderr }: ExecResult): boolean {
  return code !== 0 && /\/proc\/net\/ip6?_tables_names: Permission denied/.test(stderr);
}
