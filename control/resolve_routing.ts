/**
 * From the configuration to what workers are told about ways out: names of hosts, users and interfaces become numbers,
 * secrets and lists are read, names of upstreams become indexes.
 *
 * A configuration that is read again is resolved again; what cannot be resolved is an error, and what was resolved
 * before stays in force.
 *
 * @module
 */
import {
  ConfigError,
  type ConfigIssue,
  type CredentialsConfig,
  type GroupConfig,
  type RunConfig,
  type ServerConfig,
  type UpstreamConfig,
} from "../config/mod.ts";
import { type Endpoint, parseAddress } from "../net/mod.ts";
import { healthBytes } from "../upstream/health_state.ts";
import type {
  Credentials,
  GroupSettings,
  RoutingSettings,
  Server,
  UpstreamSettings,
} from "../upstream/settings.ts";
import { compilePolicy } from "../policy/mod.ts";
import { type HostLookups, THIS_HOST } from "./host_lookups.ts";
import { resolvePolicyModule } from "./policy_module.ts";
import { resolvePolicyRules } from "./resolve_policy.ts";
import { checkRouteMarks } from "./route_marks.ts";
import type { RouteNames } from "./route_names.ts";
import { readSecret } from "./secrets.ts";

/** Of a group that is looked after by its flows alone. */
const UNCHECKED = { rise: 1, fall: 3 };

/**
 * What `config` means on this host now.
 *
 * @param names of all routings of this process.
 * @throws {ConfigError} with everything that cannot be resolved, so that one try is enough to mend it.
 */
export async function resolveRouting(
  config: RunConfig,
  names: RouteNames,
  host: HostLookups = THIS_HOST,
): Promise<RoutingSettings> {
  const { upstreams } = config;
  const issues: ConfigIssue[] = [...checkRouteMarks(upstreams)];
  const routes = [...upstreams, ...config.groups].map(({ name }) => name);
  const indexOf = (name: string) => routes.indexOf(name);
  const resolver = new UpstreamResolver(host, issues, indexOf, laterHops(upstreams, config));
  const [settings, rules, module] = await Promise.all([
    Promise.all([
      ...upstreams.map((upstream) => resolver.upstream(upstream)),
      ...config.groups.map((group) => resolver.group(group)),
    ]),
    resolvePolicyRules(config.policy.rules, indexOf, host, issues),
    resolvePolicyModule(config.policy, issues),
  ]);
  if (issues.length > 0) throw new ConfigError(issues);
  return {
    generation: names.generationOf(routes),
    upstreams: settings as UpstreamSettings[],
    policy: rules.length === 0 ? undefined : compilePolicy(rules),
    otherwise: indexOf(config.policy.otherwise),
    ...(module === undefined ? {} : { module }),
  };
}

/** Upstreams that are only ever reached through others: whoever is before them resolves their names. */
function laterHops(upstreams: readonly UpstreamConfig[], { groups, policy }: RunConfig): Set<string> {
  const later = new Set<string>();
  const direct = new Set([policy.otherwise, ...policy.rules.map(({ to }) => to)]);
  for (const { members } of groups) members.forEach((member) => direct.add(member));
  for (const upstream of upstreams) {
    if (upstream.kind !== "chain") continue;
    direct.add(upstream.hops[0]!);
    for (const hop of upstream.hops.slice(1)) later.add(hop);
  }
  return later.difference(direct);
}

class UpstreamResolver {
  readonly #host: HostLookups;
  readonly #issues: ConfigIssue[];
  readonly #indexOf: (name: string) => number;
  readonly #laterHops: ReadonlySet<string>;

  constructor(
    host: HostLookups,
    issues: ConfigIssue[],
    indexOf: (name: string) => number,
    laterHops: ReadonlySet<string>,
  ) {
    this.#host = host;
    this.#issues = issues;
    this.#indexOf = indexOf;
    this.#laterHops = laterHops;
  }

  /** undefined: there is an issue. */
  async upstream(upstream: UpstreamConfig): Promise<UpstreamSettings | undefined> {
    const { name } = upstream, path = `upstream.${name}`;
    switch (upstream.kind) {
      case "direct":
        return {
          ...upstream,
          source: upstream.source ?? undefined,
          interface: upstream.interface ?? undefined,
          dscp: upstream.dscp ?? undefined,
        };
      case "block":
        return upstream;
      case "chain":
        return { kind: "chain", name, hops: upstream.hops.map(this.#indexOf) };
      case "socks5":
      case "http": {
        const [server, credentials] = await Promise.all([
          this.#server(`${path}.server`, upstream.server, this.#laterHops.has(name)),
          this.#credentials(path, upstream.kind, upstream.credentials),
        ]);
        return server && { ...upstream, server, credentials };
      }
      case "proxy-protocol": {
        if (upstream.server === null) return { ...upstream, server: undefined };
        const server = await this.#server(`${path}.server`, upstream.server, this.#laterHops.has(name));
        return server && { ...upstream, server };
      }
    }
  }

  group(group: GroupConfig): GroupSettings {
    const { kind, name, check, liveFlows } = group;
    const target = check === null || check.target === null
      ? undefined
      // Whoever is asked to open a stream there resolves the name.
      : serverByName(check.target);
    return {
      kind,
      name,
      members: group.members.map(this.#indexOf),
      check: check === null
        ? undefined
        : { target, intervalMs: check.intervalMs, timeoutMs: check.timeoutMs },
      rise: check?.rise ?? UNCHECKED.rise,
      fall: check?.fall ?? UNCHECKED.fall,
      liveFlows,
      health: new SharedArrayBuffer(healthBytes(group.members.length)),
    };
  }

  async #server(path: string, server: ServerConfig, isLaterHop: boolean): Promise<Server | undefined> {
    const known = serverByName(server);
    if (isLaterHop || !("host" in known)) return known;
    const { host, port } = server;
    try {
      const [address] = await this.#host.addresses(host);
      if (address !== undefined) return { address, port };
      this.#issues.push({
        path,
        found: `${JSON.stringify(host)}, which has no address`,
        wanted: WANTED_SERVER,
      });
    } catch (error) {
      this.#issues.push({
        path,
        found: `${JSON.stringify(host)}, which cannot be resolved (${
          error instanceof Error ? error.message : error
        })`,
        wanted: WANTED_SERVER,
      });
    }
    return undefined;
  }

  async #credentials(
    path: string,
    kind: "socks5" | "http",
    credentials: CredentialsConfig | null,
  ): Promise<Credentials | undefined> {
    if (credentials === null) return undefined;
    const { username, password } = credentials;
    const text = await readSecret(path, kind, password, this.#host, this.#issues);
    return text === undefined ? undefined : { username, password: text };
  }
}

const WANTED_SERVER = "an address, or a name that this host can resolve";

/** With its address, if that is what it is called by. */
function serverByName({ host, port }: ServerConfig): Endpoint | { host: string; port: number } {
  const address = parseAddress(host);
  return address === undefined ? { host, port } : { address, port };
}
