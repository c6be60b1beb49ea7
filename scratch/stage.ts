/**
 * The shell script that makes a scratch namespace a place where a packet can go its way: interfaces of the names
 * that it asks for, the host's addresses, a way out. Pure.
 *
 * @module
 */
import type { Packet, PacketHost } from "../nft/packet.ts";

/** A pair of interfaces: what is sent out by the far one comes in by the near one. */
export interface Link {
  readonly name: string;
  readonly mac: string;
  readonly far: string;
  readonly farMac: string;
  readonly farIndex: number;
}

/** Where packets come in, and where they leave. */
export interface Stage {
  readonly in: Link;
  readonly out: Link;
  readonly script: string;
}

/** Nobody has these, so they can stand in where a host has named no address of its own. */
const STAND_IN = { 4: ["192.0.0.9/32", "192.0.0.10/32"], 6: ["100::9/128", "100::a/128"] } as const;

/** The stage for `packet`, which comes in by, or leaves by, the interface that it names. */
export function stageFor(packet: Packet, host: PacketHost): Stage {
  const arrives = packet.way.kind === "arriving";
  const named = packet.way.interface === "lo" ? undefined : packet.way.interface;
  const incoming = link(arrives && named !== undefined ? named : "scratch-in", 0);
  const outgoing = link(!arrives && named !== undefined ? named : "scratch-out", 1);
  const home = arrives ? incoming : outgoing;
  const lines = [
    ...writes({
      // The way back is no concern here, and there may be none.
      "net/ipv4/conf/all/rp_filter": "0",
      "net/ipv4/conf/default/rp_filter": "0",
      "net/ipv4/ip_forward": "1",
      "net/ipv6/conf/default/accept_dad": "0",
      "net/ipv6/conf/default/accept_ra": "0",
      // No link-local addresses: what they have to say would be packets too.
      "net/ipv6/conf/default/addr_gen_mode": "1",
      "net/ipv6/conf/all/forwarding": arrives || host.forwards ? "1" : "0",
    }),
    "ip -batch - <<'END'",
    "link set lo up",
    ...[incoming, outgoing].flatMap(renderLink),
    ...addressesFor(packet, host).map((address) =>
      `addr add ${address} dev ${home.name}${address.includes(":") ? " nodad" : ""}`
    ),
    `route add default dev ${outgoing.name}`,
    "END",
    `ip -6 route add default dev ${outgoing.name}`,
    "",
  ];
  return { in: incoming, out: outgoing, script: lines.join("\n") };
}

/** Interfaces' indices differ from their peers', or the kernel would wait before it believes in the carrier. */
function link(name: string, position: number): Link {
  const index = 100 + 2 * position;
  return {
    name,
    mac: `02:00:00:00:00:${index.toString(16)}`,
    far: `scratch-far${position}`,
    farMac: `02:00:00:00:00:${(index + 1).toString(16)}`,
    farIndex: index + 1,
  };
}

function renderLink({ name, mac, far, farMac, farIndex }: Link): string[] {
  return [
    `link add name ${name} index ${farIndex - 1} address ${mac} type veth ` +
    `peer name ${far} index ${farIndex} address ${farMac}`,
    // Nobody answers on it, so nobody is asked for an Ethernet address.
    `link set dev ${name} arp off up`,
    `link set dev ${far} arp off up`,
  ];
}

/** NAT needs an address of the packet's family where it comes in. */
function addressesFor({ family, destination }: Packet, { addresses }: PacketHost): string[] {
  const outside = addresses.filter((text) => !text.startsWith("127.") && !text.startsWith("::1/"));
  if (outside.some((text) => (text.includes(":") ? 6 : 4) === family)) return outside;
  const standIn = STAND_IN[family].find((text) => !text.startsWith(`${destination}/`));
  return [...outside, standIn!];
}

function writes(settings: Readonly<Record<string, string>>): string[] {
  return Object.entries(settings).map(([key, value]) => `echo ${value} > /proc/sys/${key}`);
}
