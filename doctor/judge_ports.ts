/**
 * Whether the ports that we listen on, and answer from, are free.
 *
 * @module
 */
import { portFlag } from "../control/listener_ports.ts";
import { formatPortRange, mergePortRanges, type PortRange } from "../net/mod.ts";
import { type Finding, finding, fine } from "./findings.ts";
import { ourTables } from "./ourselves.ts";
import type { HostFacts } from "./host_facts.ts";
import type { Listener } from "./sockets.ts";
import { ourPorts, type Subject } from "./subject.ts";

/** Judges them. */
export function judgePorts(facts: HostFacts, subject: Subject): Finding[] {
  return [
    ...judgeListeners(facts, subject),
    ...judgeAnswers(facts, subject),
    ...judgePortRange(facts, subject),
  ];
}

function isIn(ranges: readonly PortRange[], port: number): boolean {
  return ranges.some(({ first, last }) => first <= port && port <= last);
}

function describe({ address, port, protocol, holder }: Listener): string {
  const endpoint = address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
  return `${protocol} ${endpoint} by ${holder ?? "a process that may not be looked into"}`;
}

function judgeListeners(facts: HostFacts, subject: Subject): Finding[] {
  const wanted = ourPorts(subject);
  const taken = facts.listeners.filter(({ protocol, port }) => isIn(wanted[protocol], port));
  const all = [...wanted.tcp, ...wanted.udp].map(formatPortRange).join(", ");
  if (taken.length === 0) return [fine("ports.ours", `ports ${all} are free`)];
  const text = { found: `taken: ${taken.map(describe).join("; ")}` };
  if (ourTables(facts.firewall, facts.livingHolders).some(({ isHeld }) => isHeld)) {
    return [finding("info", "ports.ours", {
      ...text,
      breaks: "a second start; rules of a running proxy are in place, which is most likely who has them",
      mend: null,
    })];
  }
  const tool = taken[0]!.protocol === "tcp" ? "ss -ltnp" : "ss -lunp";
  return [finding("error", "ports.ours", {
    ...text,
    breaks: "the start: `port-taken`",
    mend: `pellucid run ${
      portFlag(subject.config, taken[0]!.port)
    } N, or stop who has it: ${tool} 'sport = :${taken[0]!.port}'`,
  })];
}

const DNS = 53;
const EVERY_ADDRESS = ["0.0.0.0", "::"];

/** An answer to a UDP client comes from the port that it wrote to. */
function judgeAnswers({ listeners }: HostFacts, { intent }: Subject): Finding[] {
  if (intent.udp === "off") return [];
  const holders = listeners.filter(({ protocol, address, port }) =>
    protocol === "udp" && port === DNS && EVERY_ADDRESS.includes(address)
  );
  if (holders.length === 0) return [fine("ports.dns", "nobody has UDP port 53 on every address")];
  return [finding("warning", "ports.dns", {
    found: `UDP port 53 is held on every address: ${holders.map(describe).join("; ")}`,
    breaks:
      "speed: answers of name servers to clients go through a raw socket (CAP_NET_RAW), unless who has the " +
      "port shares it",
    mend: mendResolver(holders[0]!),
  })];
}

/** The line that binds a resolver to addresses of its own. */
function mendResolver({ holder = "" }: Listener): string {
  if (holder.startsWith("dnsmasq")) return "dnsmasq.conf: bind-dynamic";
  if (holder.startsWith("unbound")) {
    return "unbound.conf: interface: 127.0.0.1 (and each address it is to answer on)";
  }
  if (holder.startsWith("named")) return "named.conf: listen-on { 127.0.0.1; 192.0.2.1; };";
  if (holder.startsWith("systemd-resolve")) return "resolved.conf: DNSStubListenerExtra= with an address";
  return "let it bind to addresses instead of 0.0.0.0 and [::]";
}

function judgePortRange({ sysctls }: HostFacts, subject: Subject): Finding[] {
  const [first, last] = (sysctls.get("net/ipv4/ip_local_port_range") ?? "").split(/\s+/).map(Number);
  if (first === undefined || last === undefined) return [];
  const reserved = parseRanges(sysctls.get("net/ipv4/ip_local_reserved_ports") ?? "");
  const wanted = ourPorts(subject);
  const exposed = [...wanted.tcp, ...wanted.udp].filter((range) =>
    range.first <= last && range.last >= first &&
    !reserved.some((one) => one.first <= range.first && range.last <= one.last)
  );
  if (exposed.length === 0) {
    return [
      fine("ports.range", `our ports are outside of ip_local_port_range (${first} to ${last}), or reserved`),
    ];
  }
  const ports = mergePortRanges([...reserved, ...exposed]).map(formatPortRange).join(",");
  return [finding("warning", "ports.range", {
    found: `${
      exposed.map(formatPortRange).join(", ")
    } is inside of ip_local_port_range (${first} to ${last})`,
    breaks: "now and then a start (`port-taken`): any program's outgoing connection may have the port",
    mend: `sysctl -w net.ipv4.ip_local_reserved_ports=${ports}`,
  })];
}

function parseRanges(text: string): PortRange[] {
  return text.split(",").flatMap((part) => {
    const match = /^(\d+)(?:-(\d+))?$/.exec(part.trim());
    return match === null ? [] : [{ first: Number(match[1]), last: Number(match[2] ?? match[1]) }];
  });
}
