/**
 * Renders a topology to the one shell script that builds it and then holds it.
 *
 * The script is process 1 of the lab's pid namespace: when its standard input ends it ends, and the kernel kills
 * everything else in the lab. One script with `ip -batch` keeps the start at a few forks a host.
 *
 * @module
 */
import type { HostSpec, LinkSpec, Topology } from "./topology.ts";

/** The line the script prints when everything is up. */
export const READY_LINE = "lab ready";

const FIRST_INTERFACE_INDEX = 10;

/** @throws {TypeError} when a name or a value could not be written into the script as it is. */
export function renderSetupScript(topology: Topology): string {
  const names = Object.keys(topology.hosts);
  const lines = [
    "set -eu",
    // A /run of our own: named namespaces, resolv.conf overrides and lock files never touch the machine's.
    // -n: mount(8) would note it in the machine's /run first.
    "mount -n -t tmpfs tmpfs /run",
    ...batch(undefined, names.map((name) => `netns add ${word(name)}`)),
    ...names.flatMap((name) => renderSysctls(name, topology.hosts[name]!)),
    ...batch(undefined, topology.links.map(renderLink)),
    ...names.flatMap((name) => batch(name, renderHost(name, topology.hosts[name]!, topology.links))),
    `echo "${READY_LINE}"`,
    // Ignoring SIGCHLD makes the kernel reap what is orphaned into process 1; a plain cat would collect zombies.
    "exec env --ignore-signal=CHLD cat >/dev/null",
  ];
  return lines.join("\n") + "\n";
}

function renderSysctls(name: string, host: HostSpec): string[] {
  const sysctls: Record<string, string> = {
    // Without duplicate address detection an IPv6 address works the moment it is added. "default" has to be set
    // before an interface exists, because that is when it is copied.
    "net/ipv6/conf/default/accept_dad": "0",
    "net/ipv6/conf/default/accept_ra": "0",
    ...(host.forwarding === true ? { "net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1" } : {}),
    ...host.sysctls,
  };
  const writes = Object.entries(sysctls).map(([key, value]) =>
    `echo ${word(value)} > /proc/sys/${word(key)}`
  );
  return [`ip netns exec ${name} sh -e <<'END'`, ...writes, "END"];
}

function renderLink({ ends: [a, b], mtu }: LinkSpec, position: number): string {
  // When an interface has the same index as its peer, the kernel takes it for a physical one and lets up to a second
  // pass before it believes in its carrier (linkwatch_urgent_event); until then IPv6 does not answer on it.
  const index = FIRST_INTERFACE_INDEX + 2 * position;
  const mtuWords = mtu === undefined ? "" : ` mtu ${mtu}`;
  return `link add ${word(a.interface)} index ${index} netns ${word(a.host)}${mtuWords} type veth ` +
    `peer name ${word(b.interface)} index ${index + 1} netns ${word(b.host)}${mtuWords}`;
}

function renderHost(name: string, host: HostSpec, links: readonly LinkSpec[]): string[] {
  const commands = ["link set lo up"];
  for (const address of host.addresses ?? []) commands.push(renderAddress(address, "lo"));
  for (const end of links.flatMap((link) => link.ends)) {
    if (end.host !== name) continue;
    for (const address of end.addresses) commands.push(renderAddress(address, end.interface));
    commands.push(`link set ${end.interface} up`);
  }
  for (const { to, via } of host.routes ?? []) commands.push(`route add ${word(to)} via ${word(via)}`);
  return commands;
}

function renderAddress(address: string, device: string): string {
  return `addr add ${word(address)} dev ${word(device)}${address.includes(":") ? " nodad" : ""}`;
}

function batch(host: string | undefined, commands: string[]): string[] {
  return commands.length === 0
    ? []
    : [`ip${host === undefined ? "" : ` -n ${host}`} -batch - <<'END'`, ...commands, "END"];
}

function word(text: string): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9_.:/-]*$/.test(text)) {
    throw new TypeError(`lab topology: unusable word "${text}"`);
  }
  return text;
}
