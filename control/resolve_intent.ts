/**
 * From the configuration to what is to be intercepted: patterns, names and files are resolved against this host.
 *
 * What was resolved may change while we run. {@linkcode intentSources} says what to watch, and after a change
 * {@linkcode resolveIntent} is called again; when it throws, the rules that are in place stay as they are.
 *
 * @module
 */
import {
  ConfigError,
  type ConfigIssue,
  fitsInterfacePattern,
  isInterfacePattern,
  type PrefixFilter,
  RESOLV_CONF,
  type RunConfig,
  type SelectorConfig,
  type SidecarConfig,
  type SourceMode,
} from "../config/mod.ts";
import { type Filter, mergePortRanges } from "../net/mod.ts";
import {
  DEFAULT_KERNEL_NUMBERS,
  type InterceptIntent,
  type Selectors,
  type SidecarDns,
  type SidecarIntent,
} from "../nft/intent.ts";
import { AccountIds } from "./account_ids.ts";
import { type HostLookups, THIS_HOST } from "./host_lookups.ts";
import { listInterfaces } from "./interfaces.ts";
import { collectPrefixes, readNameServers } from "./list_files.ts";
import { mayPushDown, resolvePushDown } from "./push_down.ts";

/** What an intent was made from beside the configuration. */
export interface IntentSources {
  /** Paths of files that were read, each once. */
  readonly files: readonly string[];
  /** Whether other interfaces would have made another intent. */
  readonly interfaces: boolean;
}

/** What has to be watched so that the intent of `config` stays right. */
export function intentSources(config: RunConfig): IntentSources {
  const { from, select, sidecar } = config;
  const files = [select.destinations, select.sources].flatMap((
    one,
  ) => [...one.includeFiles, ...one.excludeFiles]);
  if (sidecar?.dns?.servers === "system") files.push(RESOLV_CONF);
  const pushed = mayPushDown(config) ? config.policy.rules : [];
  for (const { destinationFiles, sourceFiles } of pushed) files.push(...destinationFiles, ...sourceFiles);
  const names = [
    ...from,
    ...select.outgoing.include,
    ...select.outgoing.exclude,
    ...sidecar?.excludeInterfaces ?? [],
    ...sidecar?.virtualInterfaces ?? [],
  ];
  return {
    files: [...new Set(files)],
    // Rules know interfaces by number, and are about those that there are.
    interfaces: sourceOf(config) === "keep" || names.some(isInterfacePattern) ||
      pushed.some((rule) => rule.interfaces.length > 0),
  };
}

/**
 * What `config` means on this host now, or on one that has `interfaces`.
 *
 * @throws {ConfigError} with everything that cannot be resolved, so that one try is enough to mend it.
 */
export async function resolveIntent(
  config: RunConfig,
  interfaces: readonly string[] = listInterfaces(),
  host: HostLookups = THIS_HOST,
): Promise<InterceptIntent> {
  const issues: ConfigIssue[] = [];
  const from = interfacesTaken(config, interfaces, issues);
  const accounts = new AccountIds();
  const source = sourceOf(config);
  const intent: InterceptIntent = {
    ...DEFAULT_KERNEL_NUMBERS,
    tcp: config.tcp,
    udp: config.udp,
    udpWorkers: config.workers,
    from,
    local: config.local,
    sidecar: config.sidecar && await resolveSidecar(config.sidecar, interfaces, accounts, issues),
    select: await resolveSelectors(config.select, interfaces, accounts, issues),
    policy: (await resolvePushDown(config, issues, host)).verdicts,
    port: config.port,
    source,
    onProxyDown: config.onProxyDown,
    otherInterfaces: source === "keep"
      ? interfaces.filter((name) => name !== "lo" && !from.includes(name))
      : [],
  };
  if (issues.length > 0) throw new ConfigError(issues);
  return intent;
}

/**
 * Rules for clients' addresses do no harm to connections with ours, and those that keep one are lost without. A pod's
 * clients have the pod's own address where an upstream is asked.
 */
function sourceOf({ source, upstreams, sidecar }: RunConfig): SourceMode {
  const keeps = upstreams.some((upstream) => upstream.kind === "direct" && upstream.source === "keep");
  return keeps && sidecar === null ? "keep" : source;
}

async function resolveSelectors(
  select: SelectorConfig,
  interfaces: readonly string[],
  accounts: AccountIds,
  issues: ConfigIssue[],
): Promise<Selectors> {
  return {
    destinations: await resolvePrefixes("cidr", select.destinations, issues),
    sources: await resolvePrefixes("source", select.sources, issues),
    tcpPorts: bothSides(select.tcpPorts, mergePortRanges),
    udpPorts: bothSides(select.udpPorts, mergePortRanges),
    outgoing: {
      include: interfacesNamed("--to", select.outgoing.include, interfaces, issues),
      exclude: interfacesMeant(select.outgoing.exclude, interfaces),
    },
    macs: bothSides(select.macs, distinct),
    uids: {
      include: accounts.resolve("user", "--include-uid", select.uids.include, issues),
      exclude: accounts.resolve("user", "--exclude-uid", select.uids.exclude, issues),
    },
    gids: {
      include: accounts.resolve("group", "--include-gid", select.gids.include, issues),
      exclude: accounts.resolve("group", "--exclude-gid", select.gids.exclude, issues),
    },
    cgroups: bothSides(select.cgroups, distinct),
    marks: select.marks,
  };
}

async function resolveSidecar(
  sidecar: SidecarConfig,
  interfaces: readonly string[],
  accounts: AccountIds,
  issues: ConfigIssue[],
): Promise<SidecarIntent> {
  const { virtualInterfaces } = sidecar;
  return {
    inbound: sidecar.inbound,
    inboundPort: sidecar.inboundPort,
    inboundPorts: bothSides(sidecar.inboundPorts, mergePortRanges),
    outboundPorts: mergePortRanges(sidecar.outboundPorts),
    proxyUids: accounts.resolve("user", "--proxy-uid", sidecar.proxyUids, issues),
    proxyGids: accounts.resolve("group", "--proxy-gid", sidecar.proxyGids, issues),
    excludeInterfaces: interfacesMeant(sidecar.excludeInterfaces, interfaces),
    virtualInterfaces: interfacesMeant(virtualInterfaces, interfaces),
    dns: sidecar.dns === null ? null : await resolveDns(sidecar.dns, issues),
    dropInvalid: sidecar.dropInvalid,
  };
}

async function resolveDns(
  { port, servers }: NonNullable<SidecarConfig["dns"]>,
  issues: ConfigIssue[],
): Promise<SidecarDns> {
  if (servers === "all") return { port, servers: [] };
  if (servers !== "system") return { port, servers };
  return { port, servers: await readNameServers("--capture-dns", RESOLV_CONF, issues) };
}

async function resolvePrefixes(
  name: string,
  filter: PrefixFilter,
  issues: ConfigIssue[],
): Promise<Filter<string>> {
  return {
    include: await collectPrefixes(`--include-${name}`, "include", filter, issues),
    exclude: await collectPrefixes(`--exclude-${name}`, "exclude", filter, issues),
  };
}

/** Interfaces of `--from`: those named, there or not, and those that a pattern means. */
function interfacesTaken(config: RunConfig, interfaces: readonly string[], issues: ConfigIssue[]): string[] {
  const { from, excludeFrom } = config;
  const named = interfacesNamed("--from", from, interfaces, issues);
  const taken = named.filter((name) => !excludeFrom.some((pattern) => fitsInterfacePattern(pattern, name)));
  // Patterns that mean nothing at all have been reported.
  if (taken.length === 0 && named.length > 0) {
    issues.push({
      path: "--from, --exclude-from",
      found: `${named.join(", ")}, all of them excluded`,
      wanted: "one that is not",
    });
  }
  return taken;
}

/** As {@linkcode interfacesMeant}, where none would mean all. */
function interfacesNamed(
  path: string,
  names: readonly string[],
  interfaces: readonly string[],
  issues: ConfigIssue[],
): string[] {
  const meant = interfacesMeant(names, interfaces);
  if (meant.length === 0 && names.length > 0) {
    const choice = interfaces.filter((name) => name !== "lo");
    issues.push({
      path,
      found: `no interface that fits ${names.join(", ")}`,
      wanted: choice.length === 0
        ? "one beside lo, which is all that this network namespace has"
        : `a pattern that fits one of ${choice.join(", ")}`,
      hint: "one has to be there; a `run` takes those that come later as well",
    });
  }
  return meant;
}

/** Names as they are, patterns by the interfaces there are; each once, names in the order given. */
function interfacesMeant(names: readonly string[], interfaces: readonly string[]): string[] {
  return distinct(names.flatMap((name) =>
    isInterfacePattern(name)
      // The kernel lists them in the order in which they came: another order would be another plan.
      ? interfaces.filter((one) => fitsInterfacePattern(name, one)).sort()
      : [name]
  ));
}

function bothSides<T>(filter: Filter<T>, change: (values: readonly T[]) => T[]): Filter<T> {
  return { include: change(filter.include), exclude: change(filter.exclude) };
}

function distinct<T>(values: readonly T[]): T[] {
  return [...new Set(values)];
}
