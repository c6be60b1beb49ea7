/**
 * Everything the judges ask for, read once and kept as plain values: so that a judge is a function of them.
 *
 * What could not be read is said (`unread`), since nothing found there would prove nothing.
 *
 * @module
 */
import { DEFAULT_KERNEL_NUMBERS } from "../nft/intent.ts";
import { isLiving } from "../nft/living_process.ts";
import type { FirewallTable } from "./firewall.ts";
import type { Ask, Host } from "./host.ts";
import { type IpRuleFact, parseIpRules, parseRoutes, type RouteFact } from "./ip_listing.ts";
import { type LinkFact, readLinks } from "./links.ts";
import { parseIptablesSave } from "./iptables_save.ts";
import { parseNftRuleset } from "./nft_ruleset.ts";
import { holdersIn } from "./ourselves.ts";
import { type ProbeResults, runProbes } from "./run_probes.ts";
import { type Listener, readListeners } from "./sockets.ts";

/** What was found out about the host. */
export interface HostFacts {
  /** CAP_NET_ADMIN over this network namespace. */
  readonly isPrivileged: boolean;
  readonly links: readonly LinkFact[];
  /** By key below /proc/sys, with slashes; without those that this kernel does not have. */
  readonly sysctls: ReadonlyMap<string, string>;
  /** Text of /proc/self/limits. */
  readonly limits: string;
  readonly listeners: readonly Listener[];
  readonly ipRules: readonly IpRuleFact[];
  /** In our routing table, or with our protocol number. */
  readonly routes: readonly RouteFact[];
  /** Of every tool; what iptables-nft made is told by it and not by nft as well. */
  readonly firewall: readonly FirewallTable[];
  /** Processes that rules of ours belong to, as far as they are running. */
  readonly livingHolders: ReadonlySet<string>;
  readonly probes: ProbeResults;
  /** What could not be looked at, and what the tool said. */
  readonly unread: readonly { readonly what: string; readonly said: string }[];
}

/** Settings that are asked for whatever the interfaces. */
const SYSCTLS = [
  "fs/file-max",
  "fs/file-nr",
  "fs/nr_open",
  "net/bridge/bridge-nf-call-ip6tables",
  "net/bridge/bridge-nf-call-iptables",
  "net/core/somaxconn",
  "net/ipv4/ip_local_port_range",
  "net/ipv4/ip_local_reserved_ports",
  "net/ipv4/tcp_fwmark_accept",
  "net/ipv4/tcp_syncookies",
  "net/netfilter/nf_conntrack_buckets",
  "net/netfilter/nf_conntrack_count",
  "net/netfilter/nf_conntrack_max",
] as const;
/** Settings of each interface, below net/ipv4/conf and net/ipv6/conf. */
const LINK_SYSCTLS = {
  ipv4: ["forwarding", "route_localnet", "rp_filter", "src_valid_mark"],
  ipv6: ["disable_ipv6", "forwarding"],
} as const;

/** CAP_NET_ADMIN, linux/capability.h. */
const NET_ADMIN_BIT = 12n;

/** Reads them all. Changes nothing of the host. */
export async function readHostFacts(host: Host): Promise<HostFacts> {
  const unread: { what: string; said: string }[] = [];
  const ask = async (what: string, argv: readonly string[]): Promise<string> => {
    const { code, stdout, stderr } = await host.run(argv);
    if (code !== 0) unread.push({ what, said: stderr.trim() || `exit code ${code}` });
    return code === 0 ? stdout : "";
  };
  const [links, probes, ipRules, routes, firewall] = await Promise.all([
    readLinks(host, ask),
    runProbes(host),
    readIpRules(ask),
    readRoutes(host),
    readFirewall(host, ask),
  ]);
  return {
    isPrivileged: isPrivileged(host),
    links,
    sysctls: readSysctls(host, links),
    limits: host.readFile("/proc/self/limits") ?? "",
    listeners: readListeners(host),
    ipRules,
    routes,
    firewall,
    livingHolders: await readLivingHolders(host, firewall),
    probes,
    unread,
  };
}

function isPrivileged(host: Host): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(host.readFile("/proc/self/status") ?? "")?.[1] ?? "0";
  return (BigInt(`0x${effective}`) >> NET_ADMIN_BIT & 1n) === 1n;
}

function readSysctls(host: Host, links: readonly LinkFact[]): ReadonlyMap<string, string> {
  const keys: string[] = [...SYSCTLS];
  for (const name of ["all", ...links.map((link) => link.name)]) {
    for (const [family, settings] of Object.entries(LINK_SYSCTLS)) {
      keys.push(...settings.map((setting) => `net/${family}/conf/${name}/${setting}`));
    }
  }
  const values = new Map<string, string>();
  for (const key of keys) {
    const value = host.readFile(`/proc/sys/${key}`)?.trim();
    if (value !== undefined) values.set(key, value);
  }
  return values;
}

/** Numbers (-N), since a host may have given tables and protocols names; details (-d), for the protocol. */
const IP = (family: 4 | 6) => ["ip", "-N", "-d", "-j", `-${family}`];

async function readIpRules(ask: Ask): Promise<IpRuleFact[]> {
  const families = [4, 6] as const;
  const listings = await Promise.all(
    families.map((family) => ask(`ip rules, IPv${family}`, [...IP(family), "rule", "list"])),
  );
  return families.flatMap((family, index) => parseIpRules(listings[index]!, family));
}

/** A table without routes is an error to `ip`, so its complaints say nothing. */
async function readRoutes(host: Host): Promise<RouteFact[]> {
  const { routeTable, routeProtocol } = DEFAULT_KERNEL_NUMBERS;
  const found = await Promise.all(
    ([4, 6] as const).flatMap((family) =>
      [["table", `${routeTable}`], ["table", "all", "proto", `${routeProtocol}`]].map(async (words) => {
        const { stdout } = await host.run([...IP(family), "route", "list", ...words]);
        const asked = words.length === 2 ? { table: routeTable } : { protocol: routeProtocol };
        return parseRoutes(stdout, family, asked);
      })
    ),
  );
  const unique = new Map(found.flat().map((route) => [JSON.stringify(route), route]));
  return [...unique.values()];
}

/** Rules of the policy `closed`, and what a kill of everything leaves, name a process that has ended. */
async function readLivingHolders(host: Host, firewall: readonly FirewallTable[]): Promise<Set<string>> {
  const living = new Set<string>();
  for (const holder of holdersIn(firewall)) if (await isLiving(holder, host)) living.add(holder);
  return living;
}

const COMPATIBLE_TABLES = ["raw", "mangle", "nat", "filter", "security"];

async function readFirewall(host: Host, ask: Ask): Promise<FirewallTable[]> {
  const [ruleset, ...saved] = await Promise.all([
    ask("rules of nft", ["nft", "-s", "-t", "list", "ruleset"]),
    ...(["ip", "ip6"] as const).flatMap((family) => [
      readIptables(host, ask, "iptables", family),
      readIptables(host, ask, "iptables-legacy", family),
    ]),
  ]);
  const byIptables = saved.flat();
  const native = parseNftRuleset(ruleset).filter(({ family, name }) =>
    !(COMPATIBLE_TABLES.includes(name) &&
      byIptables.some((table) => table.tool === "iptables" && table.family === family && table.name === name))
  );
  return [...native, ...byIptables];
}

async function readIptables(
  host: Host,
  ask: Ask,
  tool: "iptables" | "iptables-legacy",
  family: "ip" | "ip6",
): Promise<FirewallTable[]> {
  // Without a table's name it lists the tables there are, and creates none.
  for (
    const program of [
      `${family}tables-${tool === "iptables" ? "nft" : "legacy"}-save`,
      `${family}tables-save`,
    ]
  ) {
    const version = await host.run([program, "--version"]);
    if (version.code !== 0 || version.stdout.includes("nf_tables") !== (tool === "iptables")) continue;
    return parseIptablesSave(await ask(`rules of ${program.replace("-save", "")}`, [program]), tool, family);
  }
  return [];
}
