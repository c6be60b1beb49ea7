/**
 * What of a plan iptables cannot do on any host. Pure; each message names the option.
 *
 * @module
 */
import type { PlanIssue } from "./check_plan.ts";
import type { TableName } from "./iptables_restore.ts";
import type { BaseChain, Chain, Plan, Verdict } from "./plan.ts";
import { IPSET_NAME_BYTES, ipsetName, isIpset } from "./render_ipset.ts";
import { renderIptables, tableOf } from "./render_iptables.ts";

/** XT_EXTENSION_MAXNAMELEN without the terminating NUL. */
const CHAIN_NAME_BYTES = 28;
/** The options that make sets, by the beginning of their names (build_sets.ts). */
const SET_OPTIONS: Readonly<Record<string, string>> = {
  dst_no: "--exclude-cidr",
  dst_in: "--include-cidr",
  src_no: "--exclude-source",
  src_in: "--include-source",
  dst_to: "destinations of the policy",
  src_to: "sources of the policy",
};

/** Where the kernel has a verdict's target; the others it has everywhere. */
const TABLES_WITH: Partial<Readonly<Record<Verdict["kind"], readonly TableName[]>>> = {
  tproxy: ["mangle"],
  tproxyDatagram: ["mangle"],
  redirect: ["nat"],
  zone: ["raw"],
  untrack: ["raw"],
  // iptables itself refuses it in nat, which sees first packets only.
  drop: ["raw", "mangle", "filter"],
};

/** The option by which the user gave what is in the set of that name. */
export function setOption(setName: string): string {
  return SET_OPTIONS[setName.slice(0, 6)] ?? setName;
}

/** All that iptables cannot do of `plan`. */
export function iptablesLimits(plan: Plan): PlanIssue[] {
  const misplaced = plan.chains.flatMap((chain) => chain.hook === "none" ? [] : checkPlace(plan, chain));
  return [...checkNames(plan), ...misplaced];
}

function checkNames(plan: Plan): PlanIssue[] {
  const { tableName } = plan.intent;
  // Where a chain's own name begins must be plain, or two table names could mean the same chains.
  if (!/^[A-Za-z][A-Za-z0-9-]*$/.test(tableName)) {
    return [tableIssue(`"${tableName}" found, with iptables a name of letters, digits and "-" wanted`)];
  }
  const families = [4, 6] as const;
  const chains = families.flatMap((family) =>
    renderIptables(plan, "intercept", family, { by: null, sysctls: [] })
      .flatMap(({ chains }) => chains.map(({ name }) => name))
  );
  const sets = plan.sets.filter(isIpset).map(({ name }) => ipsetName(tableName, name));
  const excess = Math.max(
    0,
    ...chains.map((name) => name.length - CHAIN_NAME_BYTES),
    ...sets.map((name) => name.length - IPSET_NAME_BYTES),
  );
  if (excess === 0) return [];
  const room = tableName.length - excess;
  return [tableIssue(`"${tableName}" found, with iptables and this plan at most ${room} characters wanted`)];
}

function tableIssue(message: string): PlanIssue {
  return { option: "tableName", message: `tableName: ${message}` };
}

function checkPlace(plan: Plan, base: BaseChain): PlanIssue[] {
  const table = tableOf(base);
  if (table === undefined) {
    const place = `a ${base.type} chain at ${base.hook}, ${base.priority}`;
    return [{ option: base.name, message: `${base.name}: iptables has no place for ${place}` }];
  }
  return reached(plan, base).flatMap((chain) =>
    chain.rules.flatMap(({ id, verdict }): PlanIssue[] => {
      if (TABLES_WITH[verdict.kind]?.includes(table) !== false) return [];
      const option = `${chain.name}/${id}`;
      return [{ option, message: `${option}: iptables has no ${verdict.kind} in table ${table}` }];
    })
  );
}

/** The chain and all that it leads to. */
function reached(plan: Plan, base: BaseChain): Chain[] {
  const names = new Set([base.name]);
  return plan.chains.filter((chain) => {
    if (!names.has(chain.name)) return false;
    for (const { verdict } of chain.rules) {
      if (verdict.kind === "goto") names.add(verdict.chain);
      else if (verdict.kind === "spread") verdict.chains.forEach((name) => names.add(name));
    }
    return true;
  });
}
