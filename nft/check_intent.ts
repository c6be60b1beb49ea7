/**
 * Judges what the user asked for: values in range, and settings that cannot be together. Pure; every message names
 * the option it is about.
 *
 * @module
 */
import { parseMac } from "../net/mac.ts";
import { parseAddress, parsePrefix } from "../net/mod.ts";
import type { PortRange } from "../net/port_range.ts";
import { LAST_ID } from "../net/id_range.ts";
import type { Filter } from "../net/filter.ts";
import type { InterceptIntent, SidecarIntent } from "./intent.ts";
import type { PlanIssue } from "./check_plan.ts";

/** IFNAMSIZ without the terminating NUL. */
const INTERFACE_NAME_BYTES = 15;
/** As the configuration has it; each has a port and a chain. */
const MAX_WORKERS = 256;
/** NFT_NAME_MAXLEN is 256; a short limit leaves room in messages and is never met by accident. */
const TABLE_NAME = /^[A-Za-z_][A-Za-z0-9_-]{0,63}$/;
/** What nft and iptables take without quoting, and no step upwards. */
const CGROUP_PATH = /^(?!\.\.?(?:\/|$))[A-Za-z0-9_.@:-]+(?:\/(?!\.\.?(?:\/|$))[A-Za-z0-9_.@:-]+)*$/;

type Add = (option: string, message: string) => void;

/** All that is wrong with `intent`; empty when a plan may be built from it. */
export function checkIntent(intent: InterceptIntent): PlanIssue[] {
  const issues: PlanIssue[] = [];
  const add: Add = (option, message) => issues.push({ option, message: `${option}: ${message}` });
  checkTraffic(intent, add);
  checkSelectors(intent, add);
  checkPolicy(intent, add);
  if (intent.sidecar !== null) checkSidecar(intent, intent.sidecar, add);
  checkNames("--from", intent.from, add);
  checkNames("otherInterfaces", intent.otherInterfaces, add);
  checkMarks(intent, add);
  checkNumbers(intent, add);
  return issues;
}

function range(add: Add, option: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max) {
    add(option, `${value} found, a whole number from ${min} to ${max} wanted`);
  }
}

function checkTraffic(intent: InterceptIntent, add: Add): void {
  const { tcp, udp, from, local, sidecar, port, udpWorkers } = intent;
  if (from.includes("lo")) add("--from", "lo found: this host's own traffic is intercepted with --local");
  if (sidecar === null && tcp === "off" && udp === "off") return;
  if (sidecar === null && from.length === 0 && !local) {
    add("--from", "nothing to intercept: --from IFACE or --local wanted");
  }
  range(add, "--port", port, 1, 65535);
  if (udp === "off") return;
  range(add, "--workers", udpWorkers, 1, MAX_WORKERS);
  const last = port + udpWorkers - 1;
  if (last > 65535 && port <= 65535) {
    add("--port", `${port} found: ${udpWorkers} workers take the ports up to ${last}`);
  }
}

function checkSelectors({ select, from, local, sidecar }: InterceptIntent, add: Add): void {
  checkPrefixes("cidr", select.destinations, add);
  checkPrefixes("source", select.sources, add);
  checkPorts("--tcp-ports", select.tcpPorts.include, add);
  checkPorts("--exclude-tcp-ports", select.tcpPorts.exclude, add);
  checkPorts("--udp-ports", select.udpPorts.include, add);
  checkPorts("--exclude-udp-ports", select.udpPorts.exclude, add);
  checkNames("--to", select.outgoing.include, add);
  checkNames("--exclude-to", select.outgoing.exclude, add);
  each(
    "mac",
    select.macs,
    add,
    (mac) => parseMac(mac) === mac ? undefined : `"${mac}" is no Ethernet address`,
  );
  for (const name of ["uid", "gid"] as const) {
    each(
      name,
      name === "uid" ? select.uids : select.gids,
      add,
      ({ first, last }) =>
        isId(first) && isId(last) && first <= last
          ? undefined
          : `${first}-${last} found, numbers from 0 to ${LAST_ID} in ascending order wanted`,
    );
  }
  each(
    "cgroup",
    select.cgroups,
    add,
    (path) =>
      CGROUP_PATH.test(path) ? undefined : `"${path}" found, a path like system.slice/a.service wanted`,
  );
  each(
    "mark",
    select.marks,
    add,
    ({ value, mask }) =>
      isMark(value) && isMark(mask) && mask !== 0 && (value & ~mask) === 0
        ? undefined
        : `${hex(value)}/${hex(mask)} found, a value inside a mask other than 0 wanted`,
  );
  const own = local || sidecar !== null;
  const ownOnly = { "to": select.outgoing, uid: select.uids, gid: select.gids, cgroup: select.cgroups };
  for (const [name, { include, exclude }] of Object.entries(ownOnly)) {
    if (include.length + exclude.length === 0 || own) continue;
    const option = name === "to" ? "--to, --exclude-to" : `--include-${name}, --exclude-${name}`;
    add(option, "only this host's own traffic can be told by it: --local or --sidecar wanted");
  }
  const { include, exclude } = select.macs;
  if (include.length + exclude.length > 0 && from.length === 0) {
    add("--include-mac, --exclude-mac", "only forwarded traffic can be told by it: --from wanted");
  }
}

/** What control/ makes of rules that have been checked: so this is about what would not be a rule of any tool. */
function checkPolicy({ policy }: InterceptIntent, add: Add): void {
  const ids = new Set<string>();
  for (const { id, destinations, sources, destinationPorts, sourcePorts, incoming, uids } of policy) {
    const option = `policy ${id}`;
    if (ids.has(id)) add(option, "two verdicts of this id");
    ids.add(id);
    for (const text of [...destinations ?? [], ...sources ?? []]) {
      if (parsePrefix(text)?.text !== text) add(option, `"${text}" is no prefix`);
    }
    checkPorts(option, destinationPorts ?? [], add);
    checkPorts(option, sourcePorts ?? [], add);
    if (destinationPorts?.length === 0 || sourcePorts?.length === 0) add(option, "no port found, one wanted");
    checkNames(option, incoming ?? [], add);
    for (const { first, last } of uids ?? []) {
      if (!isId(first) || !isId(last) || first > last) add(option, `${first}-${last} is no range of numbers`);
    }
  }
}

function isId(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= LAST_ID;
}

function isMark(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= 0xffffffff;
}

function each<T>(name: string, filter: Filter<T>, add: Add, problem: (item: T) => string | undefined): void {
  for (const kind of ["include", "exclude"] as const) {
    for (const item of filter[kind]) {
      const found = problem(item);
      if (found !== undefined) add(`--${kind}-${name}`, found);
    }
  }
}

function checkPrefixes(name: string, filter: Filter<string>, add: Add): void {
  each(name, filter, add, (text) => parsePrefix(text)?.text === text ? undefined : `"${text}" is no prefix`);
}

function checkNames(option: string, names: readonly string[], add: Add): void {
  const seen = new Set<string>();
  for (const name of names) {
    // No space, slash or colon (dev_valid_name in the kernel); no control character, which `ip -j` does not escape; no
    // quote, and no asterisk or plus sign at the end, which nft and iptables expand.
    const valid = /^[^\s\p{Cc}/:"*\\]*[^\s\p{Cc}/:"*\\+]$/u.test(name) && name !== "." && name !== "..";
    if (!valid || new TextEncoder().encode(name).length > INTERFACE_NAME_BYTES) {
      add(option, `"${name}" is not an interface name`);
    } else if (seen.has(name)) add(option, `${name} is named twice`);
    seen.add(name);
  }
}

/** nft refuses a set in which ranges overlap. */
function checkPorts(option: string, ranges: readonly PortRange[], add: Add): void {
  const isPort = (value: number) => Number.isInteger(value) && value >= 1 && value <= 65535;
  for (const [i, { first, last }] of ranges.entries()) {
    if (!isPort(first) || !isPort(last) || first > last) {
      add(option, `${first}-${last} found, ports from 1 to 65535 in ascending order wanted`);
    } else if (ranges.slice(0, i).some((other) => first <= other.last && other.first <= last)) {
      add(option, `${first}-${last} overlaps another range`);
    }
  }
}

function checkSidecar(intent: InterceptIntent, sidecar: SidecarIntent, add: Add): void {
  const { inbound, dns, inboundPort } = sidecar;
  if (intent.from.length > 0 || intent.local) {
    add("--sidecar", "found with --from or --local, one of them wanted");
  }
  if (intent.tcp === "tproxy") {
    add("--tcp", "tproxy found: a sidecar takes outbound connections with redirect, or not at all (off)");
  }
  if (intent.udp !== "off") {
    add("--udp", "tproxy found: of a sidecar's datagrams only DNS is taken (--dns-port)");
  }
  if (intent.tcp === "off" && inbound === "off" && dns === null) add("--sidecar", "nothing to intercept");
  if (intent.source === "keep" && inbound !== "tproxy") {
    add("--source", `keep found: only with --inbound tproxy can a sidecar keep clients' addresses`);
  }
  if (sidecar.virtualInterfaces.length > 0 && intent.tcp === "off") {
    add("--virtual-interface", "found: what comes in by it is outbound, and --tcp is off");
  }
  range(add, "--inbound-port", inboundPort, 1, 65535);
  const ports = [["--port", intent.port], ["--inbound-port", inboundPort]] as [string, number][];
  if (dns !== null) {
    range(add, "--dns-port", dns.port, 1, 65535);
    ports.push(["--dns-port", dns.port]);
    for (const address of dns.servers) {
      if (parseAddress(address)?.text !== address) add("--dns-server", `"${address}" is no address`);
    }
  }
  ports.forEach(([option, port], i) => {
    const other = ports.slice(0, i).find(([, used]) => used === port);
    if (other !== undefined) add(option, `${port} found, as with ${other[0]}: a port of its own wanted`);
  });
  checkPorts("--inbound-ports", sidecar.inboundPorts.include, add);
  checkPorts("--exclude-inbound-ports", sidecar.inboundPorts.exclude, add);
  checkPorts("--outbound-ports", sidecar.outboundPorts, add);
  checkNames("--exclude-interface", sidecar.excludeInterfaces, add);
  checkNames("--virtual-interface", sidecar.virtualInterfaces, add);
  for (
    const [option, ids] of [["--proxy-uid", sidecar.proxyUids], ["--proxy-gid", sidecar.proxyGids]] as const
  ) {
    for (const { first, last } of ids) {
      if (!isId(first) || !isId(last) || first > last) add(option, `${first}-${last} is no range of numbers`);
    }
  }
}

function checkMarks({ marks }: InterceptIntent, add: Add): void {
  const { mask, dontFragment, fromHere } = marks;
  for (const [name, value] of Object.entries(marks)) {
    if (!Number.isInteger(value) || value < 1 || value > 0xffffffff) {
      add(`marks.${name}`, `${value} found, a 32-bit number other than 0 wanted`);
    }
  }
  // >>> 0: JavaScript's bit operations give signed numbers.
  const used = new Map<number, string>();
  for (const name of ["intercept", "bypass", "reply"] as const) {
    const value = marks[name];
    if ((value & mask) >>> 0 !== value) {
      add(`marks.${name}`, `${hex(value)} has bits outside ${hex(mask)}`);
    }
    const other = used.get(value);
    if (other !== undefined) {
      add(`marks.${name}`, `${hex(value)} found, another value than marks.${other} wanted`);
    }
    used.set(value, name);
  }
  for (const [name, bit] of [["dontFragment", dontFragment], ["fromHere", fromHere]] as const) {
    if ((bit & mask) !== 0 || (bit & (bit - 1)) !== 0) {
      add(`marks.${name}`, `${hex(bit)} found, one bit outside ${hex(mask)} wanted`);
    }
  }
  if (dontFragment === fromHere) {
    add("marks.fromHere", `${hex(fromHere)} found, another bit than dontFragment wanted`);
  }
}

function checkNumbers(
  { routeTable, routeProtocol, rulePreference, tableName }: InterceptIntent,
  add: Add,
): void {
  // 0 is "no table", 253 to 255 are default, main and local: a local default route there takes the host offline.
  range(add, "routeTable", routeTable, 1, 0xffffffff);
  if (routeTable >= 253 && routeTable <= 255) {
    add("routeTable", `${routeTable} found: 253, 254 and 255 are the host's own tables`);
  }
  // Up to 4 are the kernel's and `ip`'s own (RTPROT_STATIC): we delete by protocol, so it must be ours alone.
  range(add, "routeProtocol", routeProtocol, 5, 255);
  // 0 would come before the local table, 32766 is main: after that our rule is never asked.
  range(add, "rulePreference", rulePreference, 1, 32765);
  if (!TABLE_NAME.test(tableName)) {
    add("tableName", `"${tableName}" found, a letter and up to 63 letters, digits, _ or - wanted`);
  }
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
