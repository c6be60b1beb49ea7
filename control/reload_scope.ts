/**
 * What of a configuration can change while the proxy runs, and in what words a change is told.
 *
 * Live flows keep what they began with, and listeners, workers and the memory that they share are made once: what is
 * theirs needs a restart. What decides about flows that are still to come does not.
 *
 * @module
 */
import type { ConfigIssue, RunConfig, SidecarConfig } from "../config/mod.ts";
import { formatEndpoint } from "../net/mod.ts";

/** By each field the flag that is named when it has changed; null: it can change. A new field has to be thought about. */
const FIXED: Readonly<Record<keyof RunConfig, string | null>> = {
  tcp: "--tcp",
  udp: "--udp",
  from: null,
  excludeFrom: null,
  local: null,
  // Some of it, see below.
  sidecar: null,
  select: null,
  port: "--port",
  workers: "--workers",
  source: "--source",
  rules: "--rules",
  // Whether the kernel ties the rules to this process.
  onProxyDown: "--on-proxy-down",
  maxConnections: "--max-connections",
  maxConnectionsPerClient: "--max-connections-per-client",
  maxSessions: "--max-sessions",
  maxSessionsPerClient: "--max-sessions-per-client",
  // Live flows look at the same ones, and accepted connections inherit the listener's.
  connectTimeoutMs: "--connect-timeout",
  idleTimeoutMs: "--idle-timeout",
  halfClosedTimeoutMs: "--half-closed-timeout",
  keepaliveMs: "--keepalive",
  userTimeoutMs: "--user-timeout",
  udpFilter: "--udp-filter",
  udpTimeoutMs: "--udp-timeout",
  udpRefreshInbound: "--udp-refresh-inbound",
  dns: "--dns",
  upstreams: null,
  groups: null,
  policy: null,
  drainTimeoutMs: null,
  log: null,
  logLevel: null,
  // The rings that records pass through are made with the workers.
  flows: "--flows",
};

/** Of a pod's: what listeners are made from, and whom our own connections are known by. */
const FIXED_OF_SIDECAR: Readonly<Record<keyof SidecarConfig, string | null>> = {
  inbound: "--inbound",
  inboundPort: "--inbound-port",
  inboundPorts: null,
  outboundPorts: null,
  proxyUids: "--proxy-uid",
  proxyGids: "--proxy-gid",
  excludeInterfaces: null,
  virtualInterfaces: null,
  // Its port is, see below.
  dns: null,
  dropInvalid: null,
};

/** What differs and cannot change while the proxy runs. */
export function restartIssues(running: RunConfig, wanted: RunConfig): ConfigIssue[] {
  const issues = Object.entries(FIXED).flatMap(([name, path]) => {
    const field = name as keyof RunConfig;
    return path === null ? [] : difference(path, field, running[field], wanted[field]);
  });
  if (running.policy.module === undefined && wanted.policy.module !== undefined) {
    // A worker notes what it has from its first descriptor on, and only where a module may keep it from returning.
    issues.push(...difference("--policy", "module", undefined, wanted.policy.module));
  }
  const before = running.sidecar, after = wanted.sidecar;
  if (before === null || after === null) {
    return [...issues, ...difference("--sidecar", "sidecar", before !== null, after !== null)];
  }
  return [
    ...issues,
    ...Object.entries(FIXED_OF_SIDECAR).flatMap(([name, path]) => {
      const field = name as keyof SidecarConfig;
      return path === null ? [] : difference(path, field, before[field], after[field]);
    }),
    ...difference("--capture-dns", "dns", before.dns !== null, after.dns !== null),
    ...(before.dns === null || after.dns === null
      ? []
      : difference("--dns-port", "port", before.dns.port, after.dns.port)),
  ];
}

function difference(path: string, field: string, running: unknown, wanted: unknown): ConfigIssue[] {
  if (areEqual(running, wanted)) return [];
  return [{
    path,
    found: describe(field, wanted),
    wanted: describe(field, running),
    hint: "it runs with that; a change needs a restart",
  }];
}

function describe(field: string, value: unknown): string {
  if (value === undefined || value === null) return "nothing";
  if (typeof value === "boolean") return value ? "on" : "off";
  if (typeof value === "number" && field.endsWith("Ms")) return `${value / 1000} s`;
  if (field === "dns") return (value as RunConfig["dns"]).map(formatEndpoint).join(", ") || "nothing";
  return typeof value === "string" || typeof value === "number" ? `${value}` : JSON.stringify(value);
}

/** What was resolved anew, although the configuration may say the same. */
export interface Differences {
  readonly rules: boolean;
  readonly routing: boolean;
}

/** What another configuration has changed, one line for each kind of thing; none where nothing has. */
export function describeChanges(before: RunConfig, after: RunConfig, differs: Differences): string[] {
  const traffic = Object.entries(TRAFFIC).flatMap(([name, what]) =>
    areEqual(before[name as keyof RunConfig], after[name as keyof RunConfig]) ? [] : [what]
  );
  const upstreams = namedChanges(before.upstreams, after.upstreams);
  const groups = namedChanges(before.groups, after.groups);
  const { policy } = after;
  const isPolicyNew = !areEqual(before.policy, policy);
  const isRoutingTold = upstreams.length > 0 || groups.length > 0 || isPolicyNew;
  return [
    ...(traffic.length > 0 ? [`what is intercepted: ${[...new Set(traffic)].join(", ")}`] : []),
    ...(upstreams.length > 0 ? [`upstreams: ${upstreams.join(", ")}`] : []),
    ...(groups.length > 0 ? [`groups: ${groups.join(", ")}`] : []),
    ...(isPolicyNew
      ? [
        `policy: ${policy.module === undefined ? "" : "a module, "}${
          countOf(policy.rules.length)
        }, others by ${policy.otherwise}`,
      ]
      : []),
    ...(differs.rules && traffic.length === 0 && !isPolicyNew
      ? ["rules: lists, interfaces or users have changed"]
      : []),
    ...(differs.routing && !isRoutingTold
      ? ["routing: names, secrets, lists, interfaces or users have changed"]
      : []),
    ...(areEqual(before.drainTimeoutMs, after.drainTimeoutMs)
      ? []
      : [`drain timeout: ${after.drainTimeoutMs / 1000} s`]),
    ...(before.logLevel === after.logLevel ? [] : [`log level: ${after.logLevel}`]),
    ...(before.log === after.log ? [] : [`log lines: ${after.log}`]),
  ];
}

/** Settings by which traffic is chosen, as they are called in a line for people. */
const TRAFFIC: Readonly<Partial<Record<keyof RunConfig, string>>> = {
  from: "interfaces",
  excludeFrom: "interfaces",
  local: "own traffic",
  select: "selectors",
  sidecar: "selectors of the pod",
};

function namedChanges<T extends { readonly name: string }>(
  before: readonly T[],
  after: readonly T[],
): string[] {
  const old = new Map(before.map((one) => [one.name, one]));
  const names = new Set(after.map(({ name }) => name));
  return [
    ...after.flatMap((one) => {
      const known = old.get(one.name);
      if (known === undefined) return [`${one.name} added`];
      return areEqual(known, one) ? [] : [`${one.name} changed`];
    }),
    ...before.flatMap(({ name }) => names.has(name) ? [] : [`${name} removed`]),
  ];
}

function countOf(rules: number): string {
  return rules === 1 ? "1 rule" : `${rules} rules`;
}

/** Of plain data, whatever the order of keys. */
function areEqual(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...keys].every((key) => areEqual((a as Values)[key], (b as Values)[key]));
}

type Values = Readonly<Record<string, unknown>>;
