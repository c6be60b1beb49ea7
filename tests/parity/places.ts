/**
 * The lab of the parity tests: a gateway with three interfaces, and one host at the other end of all of them, which
 * has no addresses and answers nothing. Neighbours are told, not asked for, so that nothing but the table's packets
 * is on the wire.
 *
 * @module
 */
import { type IpFamily, parseAddress, parsePrefix, prefixContains } from "../../net/mod.ts";
import type { HostSpec, LinkSpec, Topology } from "../lab/mod.ts";

/** The host whose rules are tried, and the one that sends to it. */
export const GATEWAY = "gateway", WIRE = "wire";

const INTERFACES: Readonly<Record<string, readonly string[]>> = {
  lan0: ["192.0.2.1/24", "2001:db8:1::1/64"],
  lan1: ["198.18.1.1/24", "2001:db8:2::1/64"],
  wan0: ["198.18.0.1/24", "2001:db8:ffff::1/64"],
};
const NEIGHBOURS: Readonly<Record<string, readonly string[]>> = {
  lan0: ["192.0.2.2", "2001:db8:1::2"],
  lan1: ["198.18.1.2", "2001:db8:2::2"],
  wan0: ["198.18.0.2", "2001:db8:ffff::2"],
};
const NEIGHBOUR_MAC = "02:00:00:00:00:99";

/** The gateway's addresses with their prefix lengths. */
export const ADDRESSES: readonly string[] = Object.values(INTERFACES).flat();

/** Ethernet address of an interface of the gateway. */
export function macOf(name: string): string {
  return `02:00:00:00:00:0${Object.keys(INTERFACES).indexOf(name) + 1}`;
}

/** The interface of the wire's host at the other end. */
export function farEnd(name: string): string {
  return `far_${name}`;
}

/** By which the gateway sends when no rule says otherwise. */
export function outgoingInterface(destination: string): string {
  const address = parseAddress(destination)!;
  if (isOwn(destination)) return "lo";
  const direct = Object.entries(INTERFACES).find(([, prefixes]) =>
    prefixes.some((text) => prefixContains(parsePrefix(text)!, address))
  );
  return direct?.[0] ?? "wan0";
}

/** Whether it is an address of the gateway. */
export function isOwn(address: string): boolean {
  return /^(127\.|::1$)/.test(address) || ADDRESSES.some((text) => text.startsWith(`${address}/`));
}

/** What `Lab.start` builds. */
export function parityTopology(): Topology {
  const gateway: HostSpec = {
    forwarding: true,
    routes: [
      { to: "default", via: NEIGHBOURS.wan0![0]! },
      { to: "default", via: NEIGHBOURS.wan0![1]! },
    ],
    sysctls: {
      "net/ipv4/tcp_syncookies": "0",
      "net/ipv4/tcp_max_syn_backlog": "8192",
      // A SYN with data is an established connection at once: accepted without cookie, on every listener.
      "net/ipv4/tcp_fastopen": "1538",
      "net/ipv4/conf/all/rp_filter": "0",
      "net/ipv4/conf/default/rp_filter": "0",
    },
  };
  const links = Object.entries(INTERFACES).map(([name, addresses]): LinkSpec => ({
    ends: [
      { host: GATEWAY, interface: name, addresses },
      { host: WIRE, interface: farEnd(name), addresses: [] },
    ],
  }));
  const wire: HostSpec = { sysctls: { "net/ipv6/conf/default/disable_ipv6": "1" } };
  return { hosts: { [GATEWAY]: gateway, [WIRE]: wire }, links };
}

/** What the topology cannot say, for a shell in the gateway. */
export function gatewaySetup(): string {
  return Object.keys(INTERFACES).flatMap((name) => [
    `ip link set ${name} address ${macOf(name)}`,
    ...NEIGHBOURS[name]!.map((address) =>
      `ip -${familyOf(address)} neigh replace ${address} lladdr ${NEIGHBOUR_MAC} dev ${name} nud permanent`
    ),
  ]).join(" && ");
}

function familyOf(address: string): IpFamily {
  return parseAddress(address)!.family;
}
