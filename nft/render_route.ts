/**
 * Plan → `ip` commands, each with the command that undoes it. Pure.
 *
 * @module
 */
import type { IpFamily } from "../net/address.ts";
import type { InterceptIntent } from "./intent.ts";
import type { IpRule, LocalRoute, Plan } from "./plan.ts";

/** One change of the host's routing. */
export interface RouteCommand {
  /** IP version. */
  readonly family: IpFamily;
  /** The command and its arguments. */
  readonly argv: readonly string[];
  /** The command that takes it back. */
  readonly undo: readonly string[];
}

/** Routes come first, so that no packet is ever sent to an empty table. */
export function renderRoutes(plan: Plan): RouteCommand[] {
  return [...plan.routes.map(renderLocalRoute), ...plan.ipRules.map(renderIpRule)];
}

/** `ip route add|del local default dev lo …` */
export function renderLocalRoute(route: LocalRoute): RouteCommand {
  const words = ["local", "default", "dev", "lo", "table", `${route.table}`, "proto", `${route.protocol}`];
  return {
    family: route.family,
    argv: ["ip", `-${route.family}`, "route", "add", ...words],
    undo: ["ip", `-${route.family}`, "route", "del", ...words],
  };
}

/** `ip rule add|del fwmark M/MASK iif IFACE …` */
export function renderIpRule(rule: IpRule): RouteCommand {
  // deno-fmt-ignore
  const words = [
    "fwmark", `0x${rule.mark.toString(16)}/0x${rule.mask.toString(16)}`, "iif", rule.incoming,
    "lookup", `${rule.table}`, "pref", `${rule.preference}`, "protocol", `${rule.protocol}`,
  ];
  return {
    family: rule.family,
    argv: ["ip", `-${rule.family}`, "rule", "add", ...words],
    undo: ["ip", `-${rule.family}`, "rule", "del", ...words],
  };
}

/** More routing rules than anyone has interfaces: the end of a loop that deletes them one by one. */
const MOST_RULES = 10_000;

/** A shell command that removes every route and routing rule of ours with that table, whatever the plan was. */
export function removeRoutesScript(
  { routeTable, routeProtocol }: Pick<InterceptIntent, "routeTable" | "routeProtocol">,
): string {
  const family = [
    `n=0; while [ $n -lt ${MOST_RULES} ] && ip $f rule del lookup ${routeTable} protocol ${routeProtocol}`,
    "do n=$((n + 1))",
    `done; ip $f route flush table ${routeTable} proto ${routeProtocol}`,
  ];
  return `for f in -4 -6; do ${family.join("; ")}; done`;
}
