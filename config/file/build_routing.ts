/**
 * Upstreams, groups and policy of a configuration file, with the defaults of what it does not say.
 *
 * @module
 */
import type { PolicyConfig, PolicyRuleConfig } from "../policy_config.ts";
import type { RoutingConfig } from "../run_config.ts";
import {
  BUILT_IN_UPSTREAMS,
  type CredentialsConfig,
  type GroupConfig,
  type HealthCheckConfig,
  type SecretConfig,
  UPSTREAM_TIMEOUT_MS,
  type UpstreamConfig,
} from "../upstream_config.ts";
import type { ConfigFile } from "./schema.ts";
import type { SchemaFault } from "./schema_issues.ts";
import type { KeyPath } from "./toml_text.ts";

/** What holds where nothing is said, as the schema tells editors. */
const CHECK: HealthCheckConfig = { target: null, intervalMs: 10_000, timeoutMs: 5_000, rise: 2, fall: 3 };

/**
 * What `file` says, and what is wrong with it that no single value shows.
 *
 * @param pathOf the path that a path in the file means.
 */
export function buildRouting(
  file: ConfigFile,
  pathOf: (path: string) => string,
): { readonly routing: RoutingConfig; readonly faults: readonly SchemaFault[] } {
  const faults: SchemaFault[] = [];
  const upstreams = Object.entries(file.upstream ?? {}).map(([name, table]) => {
    if ("username" in table || passwordKeys(table).length > 0) {
      faults.push(...checkLogin(["upstream", name], table as LoginTable));
    }
    return upstreamOf(name, table, pathOf);
  });
  const named = new Set(upstreams.map(({ name }) => name));
  const routing: RoutingConfig = {
    upstreams: [...BUILT_IN_UPSTREAMS.filter(({ name }) => !named.has(name)), ...upstreams],
    groups: Object.entries(file.group ?? {}).map(([name, table]) => groupOf(name, table)),
    policy: {
      rules: (file.rule ?? []).map((table) => ruleOf(table, pathOf)),
      otherwise: file.policy?.default ?? "direct",
      pushDown: file.policy?.["push-down"] ?? true,
      ...moduleOf(file.policy, pathOf),
    },
  };
  return { routing, faults };
}

/** An address stays what it is; a path is relative to the file, and then absolute. */
function moduleOf(
  policy: ConfigFile["policy"],
  pathOf: (path: string) => string,
): Pick<PolicyConfig, "module" | "budgetMs"> {
  const { module, budget } = policy ?? {};
  return {
    ...(module === undefined ? {} : { module: URL.canParse(module) ? module : pathOf(module) }),
    ...(budget === undefined ? {} : { budgetMs: budget }),
  };
}

type UpstreamTable = NonNullable<ConfigFile["upstream"]>[string];
type LoginTable = Extract<UpstreamTable, { kind: "socks5" }>;

function upstreamOf(name: string, table: UpstreamTable, pathOf: (path: string) => string): UpstreamConfig {
  switch (table.kind) {
    case "direct":
      return {
        kind: "direct",
        name,
        source: table.source ?? null,
        interface: table.interface ?? null,
        mark: table.mark ?? 0,
        dscp: table.dscp ?? null,
      };
    case "socks5":
      return {
        kind: "socks5",
        name,
        server: table.server,
        credentials: credentialsOf(table, pathOf),
        pipeline: table.pipeline ?? true,
        udp: table.udp ?? true,
        timeoutMs: table.timeout ?? UPSTREAM_TIMEOUT_MS,
      };
    case "http":
      return {
        kind: "http",
        name,
        server: table.server,
        credentials: credentialsOf(table, pathOf),
        timeoutMs: table.timeout ?? UPSTREAM_TIMEOUT_MS,
      };
    case "proxy-protocol":
      return {
        kind: "proxy-protocol",
        name,
        version: table.version ?? 2,
        server: table.server ?? null,
        timeoutMs: table.timeout ?? UPSTREAM_TIMEOUT_MS,
      };
    case "block":
      return { kind: "block", name, how: table.how ?? "reset" };
    case "chain":
      return { kind: "chain", name, hops: table.hops };
  }
}

const PASSWORD_KEYS = ["password", "password-file", "password-env"] as const;
type Login = Partial<Record<"username" | (typeof PASSWORD_KEYS)[number], string | undefined>>;

function passwordKeys(table: object): (typeof PASSWORD_KEYS)[number][] {
  return PASSWORD_KEYS.filter((key) => (table as Login)[key] !== undefined);
}

function* checkLogin(path: KeyPath, table: Login): Generator<SchemaFault> {
  const passwords = passwordKeys(table);
  if (table.username === undefined) {
    yield {
      path: [...path, passwords[0]!],
      atKey: true,
      found: `${passwords[0]} without a name`,
      wanted: "username with it",
    };
  } else if (passwords.length === 0) {
    yield {
      path: [...path, "username"],
      atKey: true,
      found: "a name without a password",
      wanted: `one of ${PASSWORD_KEYS.join(", ")}`,
    };
  }
  if (passwords.length > 1) {
    yield {
      path: [...path, passwords[1]!],
      atKey: true,
      found: passwords.join(" and "),
      wanted: "one of them",
    };
  }
}

function credentialsOf(table: Login, pathOf: (path: string) => string): CredentialsConfig | null {
  const { username, password, "password-file": file, "password-env": env } = table;
  if (username === undefined) return null;
  const secret: SecretConfig | undefined = password !== undefined
    ? { kind: "text", text: password }
    : file !== undefined
    ? { kind: "file", path: pathOf(file) }
    : env !== undefined
    ? { kind: "env", name: env }
    : undefined;
  return secret === undefined ? null : { username, password: secret };
}

function groupOf(name: string, table: NonNullable<ConfigFile["group"]>[string]): GroupConfig {
  const { check } = table;
  return {
    kind: table.kind,
    name,
    members: table.members,
    check: check?.enabled === false ? null : {
      target: check?.target ?? CHECK.target,
      intervalMs: check?.interval ?? CHECK.intervalMs,
      timeoutMs: check?.timeout ?? CHECK.timeoutMs,
      rise: check?.rise ?? CHECK.rise,
      fall: check?.fall ?? CHECK.fall,
    },
    liveFlows: table["live-flows"] ?? "keep",
  };
}

function ruleOf(
  table: NonNullable<ConfigFile["rule"]>[number],
  pathOf: (path: string) => string,
): PolicyRuleConfig {
  return {
    network: table.network,
    destinations: table.destination ?? [],
    destinationFiles: (table["destination-file"] ?? []).map(pathOf),
    destinationPorts: table["destination-port"] ?? [],
    sources: table.source ?? [],
    sourceFiles: (table["source-file"] ?? []).map(pathOf),
    sourcePorts: table["source-port"] ?? [],
    interfaces: table.interface ?? [],
    uids: table.uid ?? [],
    dscp: table.dscp ?? [],
    to: table.use,
  };
}
