/**
 * Reads `ip` rules and routes back: those that carry our protocol number.
 *
 * @module
 */
import type { IpFamily } from "../net/address.ts";
import type { Exec, ExecResult } from "./exec.ts";
import { parseIpJson } from "./ip_json.ts";
import type { IpRule, LocalRoute } from "./plan.ts";

/** A route or rule of ours as the kernel has it, and what removes it. */
export interface RouteEntry {
  /** Compares equal exactly for entries that do the same; see {@linkcode ipRuleKey}, {@linkcode routeKey}. */
  readonly key: string;
  readonly family: IpFamily;
  readonly table: number;
  readonly remove: readonly string[];
  readonly restore: readonly string[];
}

/** `key` of the entry this rule becomes. */
export function ipRuleKey(rule: IpRule): string {
  return `rule ${rule.family} ${rule.preference} ${rule.mark}/${rule.mask} ${rule.incoming} ${rule.table}`;
}

/** `key` of the entry this route becomes. */
export function routeKey(route: LocalRoute): string {
  return `route ${route.family} ${route.table} local default lo`;
}

/** Numeric output (-N): a host may have given our numbers names in /etc/iproute2. Details (-d) show the protocol. */
const IP_JSON = (family: IpFamily) => ["ip", "-N", "-d", "-j", `-${family}`];

/**
 * All entries of `family` with `protocol`, or what `ip` said when it could not tell.
 *
 * @throws {RuleApplyError} of stage verify when its answer cannot be understood.
 */
export async function readRouteEntries(
  exec: Exec,
  family: IpFamily,
  protocol: number,
): Promise<RouteEntry[] | ExecResult> {
  const [rules, routes] = await Promise.all([
    exec.run([...IP_JSON(family), "rule", "list"]),
    exec.run([...IP_JSON(family), "route", "list", "table", "all", "proto", `${protocol}`]),
  ]);
  if (rules.code !== 0) return rules;
  if (routes.code !== 0) return routes;
  return [
    ...parseIpJson("ip -j rule list", rules.stdout, "verify").filter((rule) =>
      Number(rule["protocol"]) === protocol
    )
      .map((rule) => ruleEntry(rule, family)),
    ...parseIpJson("ip -j route list", routes.stdout, "verify").map((route) =>
      routeEntry(route, family, protocol)
    ),
  ];
}

function ruleEntry(rule: Record<string, unknown>, family: IpFamily): RouteEntry {
  const read = (key: string) => rule[key] === undefined ? undefined : String(rule[key]);
  const [mark, mask] = [read("fwmark"), read("fwmask") ?? "0xffffffff"];
  const [preference, incoming, table] = [read("priority") ?? "0", read("iif"), read("table")];
  // deno-fmt-ignore
  const words = [
    ...(mark === undefined ? [] : ["fwmark", `${mark}/${mask}`]),
    ...(incoming === undefined ? [] : ["iif", incoming]),
    ...(table === undefined ? [] : ["lookup", table]),
    "pref", preference, "protocol", read("protocol") ?? "0",
  ];
  const command = (verb: string) => ["ip", `-${family}`, "rule", verb, ...words];
  return {
    key: `rule ${family} ${preference} ${Number(mark ?? 0)}/${Number(mask)} ${incoming ?? ""} ${
      Number(table ?? 0)
    }`,
    family,
    table: Number(table ?? 0),
    remove: command("del"),
    restore: command("add"),
  };
}

/** RTN_LOCAL, as `ip -N` prints it. */
const TYPE_LOCAL = "2";

function routeEntry(route: Record<string, unknown>, family: IpFamily, protocol: number): RouteEntry {
  const read = (key: string) => String(route[key] ?? "");
  const type = read("type") === TYPE_LOCAL ? "local" : read("type");
  const table = Number(route["table"] ?? 254);
  // deno-fmt-ignore
  const words = [
    ...(type === "" ? [] : [type]), read("dst"), ...(route["dev"] === undefined ? [] : ["dev", read("dev")]),
    "table", `${table}`, "proto", `${protocol}`,
  ];
  return {
    key: `route ${family} ${table} ${type} ${read("dst")} ${read("dev")}`,
    family,
    table,
    remove: ["ip", `-${family}`, "route", "del", ...words],
    restore: ["ip", `-${family}`, "route", "add", ...words],
  };
}
