/**
 * Whether the selectors make sense: each value, what is included against what is excluded, and whether there is
 * traffic that a selector could be about.
 *
 * @module
 */
import {
  ACCOUNTS,
  CGROUPS,
  checkFilter,
  checkValues,
  type FilterPaths,
  INTERFACES,
  MACS,
  MARKS,
  PORTS,
  PREFIXES,
} from "./check_filter.ts";
import type { ConfigIssue } from "./config_error.ts";
import { isInterfacePattern } from "./interface_pattern.ts";
import type { RunConfig } from "./run_config.ts";
import type { Filter } from "../net/mod.ts";
import type { PrefixFilter, SelectorConfig } from "./selector_config.ts";

/** The flags of each selector. */
export const SELECTOR_PATHS: Readonly<Record<keyof SelectorConfig, FilterPaths>> = {
  destinations: { include: "--include-cidr", exclude: "--exclude-cidr" },
  sources: { include: "--include-source", exclude: "--exclude-source" },
  tcpPorts: { include: "--tcp-ports", exclude: "--exclude-tcp-ports" },
  udpPorts: { include: "--udp-ports", exclude: "--exclude-udp-ports" },
  outgoing: { include: "--to", exclude: "--exclude-to" },
  macs: { include: "--include-mac", exclude: "--exclude-mac" },
  uids: { include: "--include-uid", exclude: "--exclude-uid" },
  gids: { include: "--include-gid", exclude: "--exclude-gid" },
  cgroups: { include: "--include-cgroup", exclude: "--exclude-cgroup" },
  marks: { include: "--include-mark", exclude: "--exclude-mark" },
};

/** Every issue, in the order of the flags in the help. */
export function* checkSelectors(config: RunConfig): Generator<ConfigIssue> {
  const { select } = config;
  yield* checkFrom(config);
  yield* checkFilter(SELECTOR_PATHS.outgoing, select.outgoing, INTERFACES);
  yield* checkPrefixes(SELECTOR_PATHS.destinations, select.destinations);
  yield* checkPrefixes(SELECTOR_PATHS.sources, select.sources);
  yield* checkFilter(SELECTOR_PATHS.tcpPorts, select.tcpPorts, PORTS);
  yield* checkFilter(SELECTOR_PATHS.udpPorts, select.udpPorts, PORTS);
  yield* checkFilter(SELECTOR_PATHS.macs, select.macs, MACS);
  yield* checkFilter(SELECTOR_PATHS.uids, select.uids, ACCOUNTS);
  yield* checkFilter(SELECTOR_PATHS.gids, select.gids, ACCOUNTS);
  yield* checkFilter(SELECTOR_PATHS.cgroups, select.cgroups, CGROUPS);
  yield* checkFilter(SELECTOR_PATHS.marks, select.marks, MARKS);
  yield* checkSubjects(config);
}

function* checkFrom({ from, excludeFrom }: RunConfig): Generator<ConfigIssue> {
  yield* checkFilter({ include: "--from", exclude: "--exclude-from" }, {
    include: from,
    exclude: excludeFrom,
  }, INTERFACES);
  if (from.includes("lo")) {
    yield {
      path: "--from",
      found: "lo",
      wanted: "another interface",
      hint: "--local intercepts this host's own",
    };
  }
  const twice = from.find((name, i) => name !== "lo" && from.indexOf(name) < i);
  if (twice !== undefined) yield { path: "--from", found: `${twice} twice`, wanted: "each interface once" };
  if (excludeFrom.length > 0 && !from.some(isInterfacePattern)) {
    yield {
      path: "--exclude-from, --from",
      found: from.length === 0 ? "no interfaces" : from.join(),
      wanted: "a pattern such as br-* in --from",
      hint: "it takes interfaces out of what a pattern means",
    };
  }
}

function* checkPrefixes(paths: FilterPaths, filter: PrefixFilter): Generator<ConfigIssue> {
  // Each against each takes too long for many; files are for that, and are judged when they are read.
  const isSmall = filter.include.length * filter.exclude.length < 10_000;
  yield* isSmall
    ? checkFilter(paths, filter, PREFIXES)
    : checkValues(`${paths.include}, ${paths.exclude}`, [...filter.include, ...filter.exclude], PREFIXES);
  for (const path of ["include", "exclude"] as const) {
    const files = filter[`${path}Files`];
    if (files.some((file) => file === "")) {
      yield { path: `${paths[path]}-file`, found: '""', wanted: "a path" };
    }
  }
}

/** A selector that no packet could be asked for is a mistake, and an `include` of that kind would take nothing. */
function* checkSubjects({ tcp, udp, from, local, sidecar, select }: RunConfig): Generator<ConfigIssue> {
  const ownOnly = ["outgoing", "uids", "gids", "cgroups"] as const;
  if (!local && sidecar === null) {
    for (const name of ownOnly) {
      yield* unlessEmpty(name, select[name], "neither --local nor --sidecar", "--local, or without it");
    }
  }
  if (from.length === 0) yield* unlessEmpty("macs", select.macs, "no --from", "--from IFACE, or without it");
  if (tcp === "off") yield* unlessEmpty("tcpPorts", select.tcpPorts, "--tcp off", "one or the other");
  if (udp === "off") yield* unlessEmpty("udpPorts", select.udpPorts, "--udp off", "one or the other");
  // Of what reaches a pod, and of its queries, they choose nothing.
  if (tcp === "off" && sidecar !== null) {
    for (const name of ["destinations", "sources", ...ownOnly, "marks"] as const) {
      yield* unlessEmpty(name, select[name], "--tcp off", "one or the other");
    }
  }
}

function* unlessEmpty(
  name: keyof SelectorConfig,
  filter: Filter<unknown> & Partial<Pick<PrefixFilter, "includeFiles" | "excludeFiles">>,
  without: string,
  wanted: string,
): Generator<ConfigIssue> {
  for (const side of ["include", "exclude"] as const) {
    const path = SELECTOR_PATHS[name][side], found = `set, and ${without}`;
    if (filter[side].length > 0) yield { path, found, wanted };
    if ((filter[`${side}Files`] ?? []).length > 0) yield { path: `${path}-file`, found, wanted };
  }
}
