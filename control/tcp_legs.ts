/**
 * The TCP listeners that a configuration asks for, and what tells each one's connections from the others'. A gateway
 * or a host has one; a pod one for each direction, and one for DNS.
 *
 * @module
 */
import type { RunConfig, SidecarConfig } from "../config/mod.ts";
import type { TcpSettings } from "../dataplane/protocol.ts";
import { type IpAddress, type IpFamily, parseAddress } from "../net/mod.ts";
import { type Marks, PASSTHROUGH_SOURCE } from "../nft/intent.ts";

/** The marks that sockets of ours set or read; 0: none. */
export type SocketMarks = Pick<Marks, "bypass" | "reply" | "dontFragment">;

/** What is not the same for all listeners. */
export type TcpLeg = Pick<
  TcpSettings,
  "mode" | "port" | "ownPorts" | "direction" | "dns" | "source" | "listenerMark" | "dialMark"
>;

/** How a leg is set apart, before all ports are known. */
type Leg = Omit<TcpLeg, "ownPorts">;

/** Every listener; none where no TCP is taken. */
export function tcpLegs(config: RunConfig, marks: SocketMarks): TcpLeg[] {
  const { sidecar } = config;
  const legs = sidecar === null ? plainLegs(config, marks) : [
    ...(config.tcp === "off" ? [] : [outboundLeg(config, marks)]),
    ...(sidecar.inbound === "off" ? [] : [inboundLeg(config, sidecar, sidecar.inbound, marks)]),
    ...(sidecar.dns === null ? [] : [dnsLeg(sidecar.dns.port, marks)]),
  ];
  const ownPorts = legs.map(({ port }) => port);
  return legs.map((leg) => ({ ...leg, ownPorts }));
}

function plainLegs({ tcp, port, source }: RunConfig, { bypass }: SocketMarks): Leg[] {
  if (tcp === "off") return [];
  return [{ mode: tcp, port, direction: undefined, dns: true, source, listenerMark: 0, dialMark: bypass }];
}

/** Marked `reply`: where it leads back to the pod, it is a connection to the pod, and the rules take it there. */
function outboundLeg({ port }: RunConfig, { reply }: SocketMarks): Leg {
  return {
    mode: "redirect",
    port,
    direction: "outbound",
    dns: false,
    source: "own",
    listenerMark: 0,
    dialMark: reply,
  };
}

/**
 * Its connections to the pod's programs must not be taken for some to the pod: they carry `bypass`, or an address of
 * their own. In a client's name, `bypass` also comes to be on the program's socket, which takes the mark of what
 * reaches it (tcp_fwmark_accept); so that our own listener does not, it has one already.
 */
function inboundLeg(
  { source }: RunConfig,
  { inboundPort }: SidecarConfig,
  mode: "redirect" | "tproxy",
  { bypass, reply }: SocketMarks,
): Leg {
  const keeps = source === "keep";
  return {
    mode,
    port: inboundPort,
    direction: "inbound",
    // A pod may be a name server: what asks it is to reach it.
    dns: false,
    source: keeps ? "keepAddress" : bypass === 0 ? PASSTHROUGH : "own",
    listenerMark: keeps ? reply : 0,
    dialMark: bypass,
  };
}

function dnsLeg(port: number, { bypass }: SocketMarks): Leg {
  return {
    mode: "redirect",
    port,
    direction: "outbound",
    dns: true,
    source: "own",
    listenerMark: 0,
    dialMark: bypass,
  };
}

const PASSTHROUGH: Readonly<Record<IpFamily, IpAddress>> = {
  4: parseAddress(PASSTHROUGH_SOURCE[4])!,
  6: parseAddress(PASSTHROUGH_SOURCE[6])!,
};
