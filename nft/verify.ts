/**
 * Compares the host with a plan: the table by its comment (a hash of what was loaded) and its rules' comments,
 * routes and rules by structure.
 *
 * @module
 */
import type { IpFamily } from "../net/address.ts";
import type { HostFacts } from "./detect.ts";
import type { Exec } from "./exec.ts";
import type { Phase, Plan, Rule } from "./plan.ts";
import { chainComments, tableComment } from "./render_nft.ts";
import { renderIpRule, renderLocalRoute } from "./render_route.ts";
import { ipRuleKey, readRouteEntries, type RouteEntry, routeKey } from "./route_listing.ts";
import { RuleApplyError } from "./rule_apply_error.ts";
import { isExecResult, readTable, type TableListing } from "./table_listing.ts";

/** One thing that is not as the plan says. */
export interface Difference {
  readonly kind: "table" | "rule" | "route";
  readonly message: string;
}

/** Other interfaces may speak IPv6 while lo, where marked packets go, does not. */
const NO_IPV6: Rule = {
  id: "no-ipv6",
  during: "always",
  matches: [{ kind: "family", family: 6 }],
  verdict: { kind: "pass" },
  why: "lo has no IPv6 here, so nothing of it could be delivered to us",
};

/** The plan as this host can carry it out: without IPv6 on lo, IPv6 is not routed there and passes every chain. */
export function planForHost(plan: Plan, host: Pick<HostFacts, "ipv6">): Plan {
  if (host.ipv6) return plan;
  const isV4 = (entry: { family: IpFamily }) => entry.family === 4;
  return {
    ...plan,
    chains: plan.chains.map((chain) =>
      // An inner chain is met only through these.
      chain.hook === "none" ? chain : { ...chain, rules: [NO_IPV6, ...chain.rules] }
    ),
    ipRules: plan.ipRules.filter(isV4),
    routes: plan.routes.filter(isV4),
  };
}

/**
 * All that differs; empty when the plan is in place. Narrow the plan with {@linkcode planForHost} first.
 *
 * @throws {RuleApplyError} of stage verify when the host cannot be asked.
 */
export async function verifyPlan(plan: Plan, exec: Exec, phase: Phase = "intercept"): Promise<Difference[]> {
  const [table, entries] = await Promise.all([
    readTable(exec, plan.intent.tableName),
    readPlanEntries(plan, exec),
  ]);
  if (isExecResult(table)) throw new RuleApplyError("verify", "nft list", table.stderr);
  return [...compareTable(plan, phase, table), ...compareEntries(plan, entries)];
}

/**
 * Routes and rules that carry the plan's protocol number and belong to its routing table, in the plan's families.
 *
 * @throws {RuleApplyError} of stage verify.
 */
export async function readPlanEntries(plan: Plan, exec: Exec): Promise<RouteEntry[]> {
  const families = new Set(plan.routes.map((route) => route.family));
  const results = await Promise.all(
    [...families].map((family) => readRouteEntries(exec, family, plan.intent.routeProtocol)),
  );
  return results.flatMap((result) => {
    if (!Array.isArray(result)) throw new RuleApplyError("verify", "ip list", result.stderr);
    return result.filter((entry) => entry.table === plan.intent.routeTable);
  });
}

function compareTable(plan: Plan, phase: Phase, table: TableListing | undefined): Difference[] {
  const where = `table inet ${plan.intent.tableName}`;
  if (plan.chains.length === 0) {
    return table === undefined ? [] : [{ kind: "table", message: `${where} is not wanted` }];
  }
  if (table === undefined) return [{ kind: "table", message: `${where} is missing` }];
  const wanted = tableComment(plan, phase);
  if (table.comment !== wanted) {
    return [{ kind: "table", message: `${where}: "${table.comment}" found, "${wanted}" wanted` }];
  }
  return plan.chains.flatMap((chain) => {
    const listing = table.chains.find((candidate) => candidate.name === chain.name);
    if (listing === undefined) return [{ kind: "rule", message: `${where}: chain ${chain.name} is missing` }];
    return compareComments(
      `${where}: chain ${chain.name}`,
      chainComments(chain, phase),
      listing.ruleComments,
    );
  });
}

function compareComments(where: string, wanted: readonly string[], found: readonly string[]): Difference[] {
  const lost = wanted.filter((comment) => !found.includes(comment));
  const added = found.filter((comment) => !wanted.includes(comment));
  const differences: Difference[] = [
    ...lost.map((comment): Difference => ({
      kind: "rule",
      message: `${where}: rule "${comment}" is missing`,
    })),
    ...added.map((comment): Difference => ({
      kind: "rule",
      message: `${where}: rule "${comment}" is not ours`,
    })),
  ];
  // The same rules in another order, or one of them twice.
  if (differences.length === 0 && wanted.join("\n") !== found.join("\n")) {
    differences.push({ kind: "rule", message: `${where}: its rules are in another order` });
  }
  return differences;
}

function compareEntries(plan: Plan, entries: readonly RouteEntry[]): Difference[] {
  const wanted = new Map([
    ...plan.routes.map((route) => [routeKey(route), renderLocalRoute(route).argv] as const),
    ...plan.ipRules.map((rule) => [ipRuleKey(rule), renderIpRule(rule).argv] as const),
  ]);
  const found = new Map(entries.map((entry) => [entry.key, entry.restore]));
  const differences = (
    these: ReadonlyMap<string, readonly string[]>,
    those: ReadonlyMap<string, unknown>,
    what: string,
  ) =>
    [...these].filter(([key]) => !those.has(key)).map(([, argv]): Difference => ({
      kind: "route",
      message: `\`${argv.join(" ")}\` ${what}`,
    }));
  return [...differences(wanted, found, "is missing"), ...differences(found, wanted, "is not wanted")];
}
