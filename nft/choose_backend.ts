/**
 * Which backend suits a host: the one that works there and that other programs on it use, because rules of two
 * flavours on one host confuse whoever looks at them.
 *
 * What works is found out by doing it: nft by what detect.ts tried, iptables by a rule in a network namespace of its
 * own, or by `--test` where none can be made.
 *
 * @module
 */
import type { BackendName } from "./backend.ts";
import { findingsAgainst, type HostFacts } from "./detect.ts";
import type { Exec } from "./exec.ts";
import { findIptables, type IptablesName } from "./iptables_programs.ts";
import { BACKENDS, findReadableRules } from "./open_backend.ts";
import type { Plan } from "./plan.ts";
import { isRuleApplyError } from "./rule_apply_error.ts";

/** A backend, and why it is the one. */
export interface BackendChoice {
  readonly backend: BackendName;
  /** For the log: `nft: it works here`. */
  readonly reason: string;
}

const PROBE =
  "*mangle\n:pellucid_probe - [0:0]\n-A pellucid_probe -m comment --comment probe -j RETURN\nCOMMIT\n";

/** The backend for `plan` on this host. Where none works it is nft, whose findings then say what is missing. */
export async function chooseBackend(plan: Plan, host: HostFacts, exec: Exec): Promise<BackendChoice> {
  const against = findingsAgainst(plan, host, "nft").filter((finding) => finding.of === "nft");
  if (against.length === 0) {
    const tables = await legacyTables(exec);
    if (tables.length === 0 || await hasNftRules(exec) || !await works("iptables-legacy", exec)) {
      return { backend: "nft", reason: "nft: it works here" };
    }
    const where = `${tables.join(", ")} hold${tables.length === 1 ? "s" : ""} rules`;
    return { backend: "iptables-legacy", reason: `iptables-legacy: its ${where} here, and nft has none` };
  }
  const why = against.map(({ message }) => message).join("; ");
  const isLegacyInUse = (await legacyTables(exec)).length > 0;
  const candidates: IptablesName[] = isLegacyInUse
    ? ["iptables-legacy", "iptables"]
    : ["iptables", "iptables-legacy"];
  for (const backend of candidates) {
    if (!await works(backend, exec)) continue;
    const use = isLegacyInUse && backend === "iptables-legacy" ? "in use and works" : "works";
    return { backend, reason: `${backend}: ${why}, and ${backend} ${use} here` };
  }
  return { backend: "nft", reason: `nft: nothing works here (${why}; no iptables that does)` };
}

/** The backend by which rules of ours are there under the plan's name, whoever put them there; undefined: by none. */
export async function findBackendInPlace(plan: Plan, exec: Exec): Promise<BackendChoice | undefined> {
  const { tableName } = plan.intent;
  for (const backend of BACKENDS) {
    const found = await findReadableRules(backend, exec);
    if (!found.some((rules) => rules.hasRules && rules.tableName === tableName)) continue;
    return { backend, reason: `${backend}: rules of ours are there by it` };
  }
  return undefined;
}

async function hasNftRules(exec: Exec): Promise<boolean> {
  // -t: without the elements of sets, of which there may be many.
  const result = await exec.run(["nft", "-t", "list", "ruleset"]);
  // iptables-nft leaves its tables and their built-in chains behind.
  return result.code === 0 && /^\t\t(?!type |comment )\S/m.test(result.stdout);
}

/** Names of the legacy tables that hold rules. The kernel's list of them is asked first: iptables-save makes tables. */
async function legacyTables(exec: Exec): Promise<string[]> {
  const names = await exec.run(["cat", "/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"]);
  if (names.stdout.trim() === "") return [];
  const holding = new Set<string>();
  try {
    const programs = await findIptables("iptables-legacy", exec, "check");
    for (const family of [4, 6] as const) {
      const saved = await exec.run([programs.save(family)]);
      let table = "";
      for (const line of saved.stdout.split("\n")) {
        if (line.startsWith("*")) table = line.slice(1);
        else if (line.startsWith("-A ")) holding.add(table);
      }
    }
  } catch (error) {
    if (!isRuleApplyError(error)) throw error;
  }
  return [...holding];
}

async function works(name: IptablesName, exec: Exec): Promise<boolean> {
  try {
    const restore = (await findIptables(name, exec, "check")).restore(4);
    const scratch = await exec.run(["unshare", "-n", "true"]);
    const argv = scratch.code === 0
      ? ["unshare", "-n", restore, "-w", "5", "--noflush"]
      : [restore, "--test", "-w", "5", "--noflush"];
    return (await exec.run(argv, { stdin: PROBE })).code === 0;
  } catch (error) {
    if (isRuleApplyError(error)) return false;
    throw error;
  }
}
