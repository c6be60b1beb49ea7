/**
 * Compares the host with a plan: routes and routing rules by structure, settings by value; the rest is the
 * backend's matter.
 *
 * @module
 */
import type { IpFamily } from "../net/address.ts";
import type { Backend, Difference } from "./backend.ts";
import type { HostFacts } from "./detect.ts";
import type { Exec } from "./exec.ts";
import type { Phase, Plan, Rule } from "./plan.ts";
import { renderIpRule, renderLocalRoute } from "./render_route.ts";
import { ipRuleKey, readRouteEntries, type RouteEntry, routeKey } from "./route_listing.ts";
import { RuleApplyError } from "./rule_apply_error.ts";
import { compareSysctls } from "./sysctls.ts";

const FAMILIES: readonly IpFamily[] = [4, 6];

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
export async function verifyPlan(
  plan: Plan,
  backend: Backend,
  exec: Exec,
  phase: Phase = "intercept",
): Promise<Difference[]> {
  const [rules, routes, sysctls] = await Promise.all([
    backend.differences(plan, phase),
    compareRoutes(plan, exec),
    compareSysctls(plan.sysctls, exec),
  ]);
  return [...rules, ...routes, ...sysctls.map((message): Difference => ({ kind: "sysctl", message }))];
}

/**
 * Routes and rules that carry the plan's protocol number and belong to its routing table.
 *
 * @throws {RuleApplyError} of stage verify.
 */
export async function readPlanEntries(plan: Plan, exec: Exec): Promise<RouteEntry[]> {
  const { routeProtocol, routeTable } = plan.intent;
  const results = await Promise.all(FAMILIES.map((family) => readRouteEntries(exec, family, routeProtocol)));
  return results.flatMap((result, i) => {
    if (Array.isArray(result)) return result.filter((entry) => entry.table === routeTable);
    // A host without IPv6 has no IPv6 rules, and `ip -6` fails there.
    if (FAMILIES[i] === 6 && !plan.routes.some(({ family }) => family === 6)) return [];
    throw new RuleApplyError("verify", "ip list", result.stderr);
  });
}

/** @throws {RuleApplyError} of stage verify. */
async function compareRoutes(plan: Plan, exec: Exec): Promise<Difference[]> {
  const entries = await readPlanEntries(plan, exec);
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
