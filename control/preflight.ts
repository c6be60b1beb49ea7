/**
 * Whether this host lets us do what the configuration asks, looked at before anything is started or changed.
 *
 * What a failed system call would say later in its own words is said here in the user's. Rules have their own
 * check (nft/detect.ts).
 *
 * @module
 */
import {
  ConfigError,
  type ConfigIssue,
  isInterfacePattern,
  type RunConfig,
  type SidecarConfig,
} from "../config/mod.ts";
import type { IdRange } from "../net/mod.ts";
import { AccountIds } from "./account_ids.ts";
import { listInterfaces } from "./interfaces.ts";
import { waitForPorts } from "./listener_ports.ts";
import { StartError } from "./start_error.ts";

/** What the host grants. */
export interface HostGrants {
  /** Whether our sockets may carry marks. */
  readonly marks: boolean;
}

/** Bits of a capability set, linux/capability.h. */
const CAPABILITY_BITS = { CAP_NET_BIND_SERVICE: 10n, CAP_NET_ADMIN: 12n, CAP_NET_RAW: 13n } as const;
type Capability = keyof typeof CAPABILITY_BITS;

/** Ports below are privileged where no sysctl says otherwise. */
const UNPRIVILEGED_PORT_START = 1024;

/** @throws {StartError} for the first thing that is in the way of a start. */
export async function preflight(config: RunConfig): Promise<HostGrants> {
  const grants = checkGrants(config);
  await waitForPorts(config);
  return grants;
}

/** What the host grants, whether or not the proxy runs. @throws {StartError} for the first thing that it does not. */
export function checkGrants(config: RunConfig): HostGrants {
  const status = Deno.readTextFileSync("/proc/self/status");
  const marks = mayMark(status, Deno.osRelease());
  if (!hasCapability(status, "CAP_NET_ADMIN")) checkUnprivileged(config, marks);
  if (!marks && config.sidecar !== null) checkOwner(config.sidecar, Deno.uid()!, Deno.gid()!);
  if (answersFromLowPorts(config) && !hasCapability(status, "CAP_NET_BIND_SERVICE")) {
    throw new StartError(
      "not-permitted",
      "privilege: CAP_NET_BIND_SERVICE missing, wanted to answer UDP clients from low ports, such as 53 for DNS",
      "grant it beside CAP_NET_ADMIN (AmbientCapabilities= in a systemd unit), or leave UDP alone with --udp off",
    );
  }
  checkInterfaces(config.from);
  return { marks };
}

/** Whether the effective set in the text of /proc/self/status holds the capability. */
export function hasCapability(status: string, capability: Capability): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0";
  return (BigInt(`0x${effective}`) >> CAPABILITY_BITS[capability] & 1n) === 1n;
}

/** Whether SO_MARK is granted: CAP_NET_ADMIN, since Linux 5.17 CAP_NET_RAW too. */
export function mayMark(status: string, release: string): boolean {
  if (hasCapability(status, "CAP_NET_ADMIN")) return true;
  const [major = 0, minor = 0] = release.split(".", 2).map((part) => parseInt(part));
  return hasCapability(status, "CAP_NET_RAW") && (major > 5 || major === 5 && minor >= 17);
}

/** Without CAP_NET_ADMIN a plain listener is all there can be. */
function checkUnprivileged(config: RunConfig, marks: boolean): void {
  const why = wantsNetAdmin(config, marks);
  if (why === undefined) return;
  throw new StartError(
    "not-permitted",
    `privilege: CAP_NET_ADMIN missing, wanted ${why}`,
    "run as root (sudo) or with that capability; `pellucid demo` shows it all without, " +
      "and `unshare -Urn` opens a shell with it in a network of its own",
  );
}

/** What CAP_NET_ADMIN is for. @param marks whether sockets may be marked without. */
export function wantsNetAdmin(config: RunConfig, marks: boolean): string | undefined {
  const direct = config.upstreams.filter((upstream) => upstream.kind === "direct");
  return config.rules !== "none"
    ? "to load rules and routes"
    : config.sidecar?.inbound === "tproxy"
    ? "for the inbound listener's IP_TRANSPARENT"
    : config.tcp === "tproxy"
    ? "for the listener's IP_TRANSPARENT"
    : config.source === "keep" || direct.some(({ source }) => source === "keep")
    ? "to keep client addresses (IP_TRANSPARENT)"
    : config.local
    ? "to mark our own connections (SO_MARK), or the rules would send them back to us"
    : config.udp === "tproxy"
    ? "for UDP (IP_TRANSPARENT), which --udp off leaves alone"
    : !marks && direct.some(({ mark }) => mark !== 0)
    ? "for the marks of direct upstreams (SO_MARK)"
    : undefined;
}

/** Answers to a client come from the port that it dialled, which takes a privilege where the port is a low one. */
function answersFromLowPorts({ udp, select }: RunConfig): boolean {
  if (udp === "off") return false;
  const start = unprivilegedPortStart();
  const { include } = select.udpPorts;
  return include.length === 0 ? start > 1 : include.some(({ first }) => first < start);
}

function unprivilegedPortStart(): number {
  try {
    return Number(Deno.readTextFileSync("/proc/sys/net/ipv4/ip_unprivileged_port_start"));
  } catch (error) {
    // Since Linux 4.11; hidden in some containers.
    if (error instanceof Deno.errors.NotFound) return UNPRIVILEGED_PORT_START;
    throw error;
  }
}

/**
 * A proxy that may not mark its sockets is known by its user or group. What it sends would come back to it otherwise.
 *
 * @throws {StartError} when it runs as nobody whom the configuration exempts.
 */
export function checkOwner({ proxyUids, proxyGids }: SidecarConfig, uid: number, gid: number): void {
  const accounts = new AccountIds(), issues: ConfigIssue[] = [];
  const isAmong = (ranges: readonly IdRange[], id: number) =>
    ranges.some(({ first, last }) => first <= id && id <= last);
  const isExempt = isAmong(accounts.resolve("user", "--proxy-uid", proxyUids, issues), uid) ||
    isAmong(accounts.resolve("group", "--proxy-gid", proxyGids, issues), gid);
  if (issues.length > 0) throw new ConfigError(issues);
  if (isExempt) return;
  throw new StartError(
    "not-permitted",
    `--proxy-uid, --proxy-gid: neither has this process (user ${uid}, group ${gid}), one of them wanted: ` +
      "without CAP_NET_ADMIN (since Linux 5.17 CAP_NET_RAW will do) our connections cannot be marked, and the rules would send them back to us",
    `name the user that runs the proxy, here and for the rules: --proxy-uid ${uid}`,
  );
}

function checkInterfaces(names: readonly string[]): void {
  const existing = listInterfaces();
  // What a pattern fits is looked for with everything else that the rules need (resolve_intent.ts).
  const unknown = names.filter((name) => !isInterfacePattern(name) && !existing.includes(name));
  if (unknown.length === 0) return;
  const choice = existing.filter((name) => name !== "lo");
  throw new StartError(
    "interface-unknown",
    `--from: ${unknown.join(", ")} found, an interface of this network namespace wanted: ` +
      (choice.length === 0 ? "it has none beside lo" : `it has ${choice.join(", ")}`),
    "`ip link` lists the interfaces",
  );
}
