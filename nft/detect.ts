/**
 * Asks the host what it can do, by trying: `nft --check` hands the kernel a whole transaction and takes it
 * back before it is committed, so a feature that passes is there, whatever versions and modules say.
 *
 * @module
 */
import { COMMAND_MISSING, type Exec } from "./exec.ts";
import type { IpFamily } from "../net/address.ts";
import type { BackendName } from "./backend.ts";
import { parseIpJson } from "./ip_json.ts";
import type { Match, Plan, Verdict } from "./plan.ts";

/** What a plan may need of its host. `delivery`: packets that are routed to lo arrive. */
export type Need = "delivery" | "tproxy" | "socket" | "redirect" | "zones" | "conntrack" | "spread";

/** Something the host lacks, and what to do about it. */
export interface Finding {
  readonly code:
    | "nft-missing"
    | "ip-missing"
    | "not-privileged"
    | "nft-unusable"
    | "no-fib"
    | "no-tproxy"
    | "no-socket"
    | "no-redirect"
    | "no-zones"
    | "no-conntrack"
    | "no-hash"
    | "no-owner-tables"
    | "loopback-down"
    | "no-ipv6"
    | "no-address";
  readonly message: string;
  readonly hint: string;
  /** Plans with one of these needs cannot work; empty for what only makes a difference. */
  readonly blocks: readonly Need[];
  /** The backend that it is about; undefined: it is about every one. */
  readonly of?: BackendName;
}

/** What was found out about the host. */
export interface HostFacts {
  /** As the tools print it; undefined when missing. */
  readonly nftVersion: string | undefined;
  readonly ipVersion: string | undefined;
  /** Names of all interfaces but lo. */
  readonly interfaces: readonly string[];
  /** Whether lo speaks IPv6. */
  readonly ipv6: boolean;
  /** The families of which an interface has an address, by its name. */
  readonly addressed: ReadonlyMap<string, ReadonlySet<IpFamily>>;
  /** Tables that end with the process that made them: nft 0.9.9, Linux 5.12. */
  readonly ownerTables: boolean;
  readonly findings: readonly Finding[];
}

const EVERY_NEED: readonly Need[] = [
  "delivery",
  "tproxy",
  "socket",
  "redirect",
  "zones",
  "conntrack",
  "spread",
];

interface Feature {
  readonly code: Finding["code"];
  readonly chain: string;
  readonly what: string;
  /** The kernel's module for it; its build option is the name in capitals. */
  readonly module: string;
  readonly blocks: readonly Need[];
}

const MANGLE = "type filter hook prerouting priority mangle;";
const FEATURES: readonly Feature[] = [
  {
    code: "no-fib",
    chain: `${MANGLE} fib daddr type local accept`,
    what: "fib",
    module: "nft_fib_inet",
    blocks: EVERY_NEED,
  },
  {
    code: "no-tproxy",
    chain: `${MANGLE} meta l4proto tcp tproxy to :1 accept`,
    what: "tproxy",
    module: "nft_tproxy",
    blocks: ["tproxy"],
  },
  {
    code: "no-socket",
    chain: `${MANGLE} socket transparent 1 socket wildcard 0 socket mark 0x1 accept`,
    what: "socket",
    module: "nft_socket",
    blocks: ["socket"],
  },
  {
    code: "no-redirect",
    chain: "type nat hook prerouting priority -100; meta l4proto tcp redirect to :1",
    what: "redirect",
    module: "nft_redir",
    blocks: ["redirect"],
  },
  {
    code: "no-zones",
    chain: "type filter hook prerouting priority raw; ct zone set 1",
    what: "ct zone",
    module: "nft_ct",
    blocks: ["zones"],
  },
  {
    code: "no-conntrack",
    chain: "type filter hook output priority raw; ct status confirmed accept; notrack",
    what: "ct, notrack",
    module: "nft_ct",
    blocks: ["conntrack"],
  },
  {
    code: "no-hash",
    chain: `${MANGLE} jhash ip saddr . udp sport mod 2 vmap { 0 : accept, 1 : drop }`,
    what: "jhash",
    module: "nft_hash",
    blocks: ["spread"],
  },
];

/** What this host offers; never throws for what it lacks. @throws {RuleApplyError} when `ip` cannot be understood. */
export async function detectHost(exec: Exec): Promise<HostFacts> {
  const [nft, ip, addresses, all] = await Promise.all([
    exec.run(["nft", "--version"]),
    exec.run(["ip", "-V"]),
    exec.run(["ip", "-j", "addr", "show"]),
    probe(exec, `flags owner; ${FEATURES.map((feature, i) => probeChain(feature, i)).join(" ")}`),
  ]);
  const findings: Finding[] = [];
  if (nft.code === COMMAND_MISSING) {
    findings.push({ ...missing("nft-missing", "nft", "nftables"), of: "nft" });
  }
  if (ip.code === COMMAND_MISSING) findings.push(missing("ip-missing", "ip", "iproute2"));
  const links = parseLinks(addresses.stdout);
  if (ip.code === 0) findings.push(...judgeLinks(links));
  let ownerTables = all === undefined;
  if (all !== undefined && nft.code !== COMMAND_MISSING) {
    const parts = await probeParts(exec);
    ownerTables = parts.ownerTables;
    findings.push(...parts.findings.map((finding): Finding => ({ ...finding, of: "nft" })));
  }
  return {
    nftVersion: nft.code === 0 ? nft.stdout.trim() : undefined,
    ipVersion: ip.code === 0 ? ip.stdout.trim() : undefined,
    interfaces: links.names.filter((name) => name !== "lo"),
    ipv6: hasIpv6(links),
    addressed: links.addressed,
    ownerTables,
    findings,
  };
}

/** What of `host` keeps `plan` from working by that backend. */
export function findingsAgainst(plan: Plan, host: HostFacts, backend: BackendName): Finding[] {
  const needs = planNeeds(plan);
  return host.findings.filter(({ blocks, of }) =>
    (of === undefined || of === backend) && blocks.some((need) => needs.has(need))
  );
}

/** REDIRECT sends a packet to the first address of the interface it came in by, and drops it without one. */
export function missingAddresses(plan: Plan, host: HostFacts): Finding[] {
  if (plan.intent.tcp !== "redirect") return [];
  const families: readonly IpFamily[] = host.ipv6 ? [4, 6] : [4];
  return plan.intent.from.flatMap((name) =>
    families.filter((family) => host.addressed.get(name)?.has(family) === false).map((family): Finding => ({
      code: "no-address",
      message:
        `${name} has no IPv${family} address: redirect loses the IPv${family} connections that come in by it`,
      hint: `give ${name} an address, or use --tcp tproxy`,
      blocks: [],
    }))
  );
}

/** Read off the rules: so it is true of every kind of interception. */
function planNeeds(plan: Plan): Set<Need> {
  const needs = new Set<Need>(plan.routes.length > 0 ? ["delivery"] : []);
  for (const { matches, verdict } of plan.chains.flatMap(({ rules }) => rules)) {
    for (const match of matches) matchNeeds(match).forEach((need) => needs.add(need));
    verdictNeeds(verdict).forEach((need) => needs.add(need));
  }
  return needs;
}

function matchNeeds(match: Match): readonly Need[] {
  if (match.kind === "mark") {
    return match.of === "socket" ? ["socket"] : match.of === "flow" ? ["conntrack"] : [];
  }
  if (match.kind === "socket") return ["socket"];
  return match.kind.startsWith("flow") ? ["conntrack"] : [];
}

function verdictNeeds(verdict: Verdict): readonly Need[] {
  switch (verdict.kind) {
    case "tproxy":
    case "intercept": {
      const needs: Need[] = verdict.kind === "tproxy" ? ["tproxy"] : [];
      return verdict.remember ? [...needs, "conntrack"] : needs;
    }
    case "tproxyDatagram":
      return ["tproxy", "conntrack"];
    case "redirect":
      return ["redirect"];
    case "zone":
      return ["zones"];
    case "untrack":
      return ["conntrack"];
    case "spread":
      return ["spread"];
    default:
      return [];
  }
}

function missing(code: "nft-missing" | "ip-missing", program: string, packageName: string): Finding {
  return {
    code,
    message: `${program} is not installed`,
    hint: `install the package ${packageName}`,
    blocks: EVERY_NEED,
  };
}

/** What the kernel or nft said against a scratch table with this body; undefined: nothing. */
async function probe(exec: Exec, body: string): Promise<string | undefined> {
  const result = await exec.run(["nft", "--check", "-f", "-"], {
    stdin: `table inet pellucid_probe { ${body} }\n`,
  });
  return result.code === 0 ? undefined : result.stderr;
}

function probeChain(feature: Feature, index: number): string {
  return `chain probe${index} { ${feature.chain}; };`;
}

/** The scratch table was refused as a whole: finds out which parts of it are to blame. */
async function probeParts(exec: Exec): Promise<{ ownerTables: boolean; findings: Finding[] }> {
  const empty = await probe(exec, "");
  if (empty !== undefined) return { ownerTables: false, findings: [unusable(empty)] };
  const [owner, ...features] = await Promise.all([
    probe(exec, "flags owner;"),
    ...FEATURES.map((feature, i) => probe(exec, probeChain(feature, i))),
  ]);
  const findings = FEATURES.flatMap((feature, i): Finding[] =>
    features[i] === undefined ? [] : [{
      code: feature.code,
      message: `the kernel or nft lacks "${feature.what}"`,
      hint:
        `\`modprobe ${feature.module}\` as root, or a kernel with CONFIG_${feature.module.toUpperCase()}, ` +
        "and nft 1.0 or newer",
      blocks: feature.blocks,
    }]
  );
  if (owner !== undefined) {
    findings.push({
      code: "no-owner-tables",
      message: "the kernel or nft cannot tie a table to a process",
      hint:
        "nothing has to be done: a watchdog takes the rules away when the program ends, unless it is killed too (Linux 5.12 and " +
        "nft 0.9.9 need none)",
      blocks: [],
    });
  }
  return { ownerTables: owner === undefined, findings };
}

function unusable(stderr: string): Finding {
  // EPERM as nft prints it, for lack of CAP_NET_ADMIN over the network namespace.
  return stderr.includes("Operation not permitted")
    ? {
      code: "not-privileged",
      message: "no permission to change this host's rules (CAP_NET_ADMIN)",
      hint: "run as root, or try `demo`, which needs no privilege",
      blocks: EVERY_NEED,
    }
    : {
      code: "nft-unusable",
      message: `nft does not work here: ${stderr.trim()}`,
      hint: "the kernel needs nftables (CONFIG_NF_TABLES) with the inet family",
      blocks: EVERY_NEED,
    };
}

interface Links {
  readonly names: readonly string[];
  readonly loopbackUp: boolean;
  readonly addressed: HostFacts["addressed"];
}

/** As far as needed of one element of `ip -j addr show`. */
interface LinkObject {
  readonly ifname?: unknown;
  readonly flags?: readonly unknown[];
  readonly addr_info?: readonly { readonly family?: unknown }[];
}

function parseLinks(text: string): Links {
  const links: LinkObject[] = parseIpJson("ip -j addr show", text, "check");
  const addressed = new Map<string, Set<IpFamily>>();
  for (const { ifname, addr_info = [] } of links) {
    if (typeof ifname !== "string") continue;
    addressed.set(ifname, new Set(addr_info.map(({ family }): IpFamily => family === "inet6" ? 6 : 4)));
  }
  return {
    names: [...addressed.keys()],
    loopbackUp: links.find((link) => link.ifname === "lo")?.flags?.includes("UP") ?? false,
    addressed,
  };
}

/** The kernel gives lo its ::1 unless IPv6 is absent or switched off there, and our IPv6 route leads to lo. */
function hasIpv6(links: Links): boolean {
  return links.addressed.get("lo")?.has(6) ?? false;
}

function judgeLinks(links: Links): Finding[] {
  if (!links.loopbackUp) {
    return [{
      code: "loopback-down",
      message: "the interface lo is down",
      hint: "ip link set lo up",
      blocks: ["delivery"],
    }];
  }
  return hasIpv6(links) ? [] : [{
    code: "no-ipv6",
    message: "lo has no IPv6: IPv4 connections are intercepted, IPv6 ones, if there are any, pass untouched",
    hint: "to intercept both, the sysctl net.ipv6.conf.lo.disable_ipv6 must be 0",
    blocks: [],
  }];
}
