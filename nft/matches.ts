/**
 * Matches and rules that the chains of several builders share.
 *
 * @module
 */
import type { PortRange } from "../net/port_range.ts";
import type { InterceptIntent } from "./intent.ts";
import type { Match, Rule, Verdict } from "./plan.ts";

/** The kernel's name for the interface by which this host talks to itself. */
export const LOOPBACK = "lo";

/** The packet's mark is `value`. */
export function packetMark(value: number): Match {
  return { kind: "mark", of: "packet", value, negate: false };
}

/** What its flow's first packet left behind is `value`. */
export function flowMark(value: number): Match {
  return { kind: "mark", of: "flow", value, negate: false };
}

/** Came in by `name`. */
export function incoming(name: string): Match {
  return { kind: "incoming", interface: name };
}

/** Leaves by `name`. */
export function outgoing(name: string): Match {
  return { kind: "outgoing", interface: name };
}

/** Of that transport protocol. */
export function protocol(name: "tcp" | "udp" | "tcpOrUdp" | "icmp"): Match {
  return { kind: "protocol", protocol: name };
}

/** To one of `ports`. */
export function toPorts(name: "tcp" | "udp", ports: readonly PortRange[]): Match {
  return { kind: "ports", protocol: name, side: "destination", ports };
}

/** A rule that is there while draining too. */
export function always(id: string, matches: readonly Match[], verdict: Verdict, why: string): Rule {
  return { id, during: "always", matches, verdict, why };
}

/** A rule on first packets, which nobody asks for while draining. */
export function first(id: string, matches: readonly Match[], verdict: Verdict, why: string): Rule {
  return { id, during: "intercept", matches, verdict, why };
}

/** A rule that leaves a first packet alone. */
export function spared(id: string, matches: readonly Match[], why: string): Rule {
  return first(id, matches, { kind: "pass" }, why);
}

/**
 * Lets go what another program of this host has marked, as a VPN that takes the default route marks its own packets
 * to get past that route. Ours would carry our mark instead, and be routed back into the VPN without end. Who names
 * marks to be taken knows whose they are: then there is no such rule.
 */
export function foreign({ select }: InterceptIntent, during: Rule["during"]): Rule[] {
  if (select.marks.include.length > 0) return [];
  return [{
    id: "foreign",
    during,
    matches: [{ kind: "foreignMark" }],
    verdict: { kind: "pass" },
    why: "marked by a program that routes it itself, as a VPN does",
  }];
}

/**
 * Destinations that are this host, or mean nothing beyond its link.
 *
 * The first four are this host to the kernel or to a socket: no route calls the next two local, and yet they would be
 * this host if we sent there, since a socket takes `::` for ::1, and a v4-mapped address for the IPv4 address.
 */
export function meantHere(): Rule[] {
  const to6 = (prefix: string): Match[] => [{ kind: "address", side: "destination", family: 6, prefix }];
  return [
    spared("here", [{ kind: "destinationHere" }], "to this host itself, or to many"),
    spared("unspecified", to6("::/127"), "from us it would go to our own loopback address"),
    spared("mapped", to6("::ffff:0:0/96"), "from us it would go to an IPv4 address, maybe our own"),
    // Another host's link-local address is an ordinary unicast address to the first rule.
    spared("link", to6("fe80::/10"), "link-local addresses mean nothing beyond their link"),
  ];
}

/** What an output chain must let go first. */
export function sentByUs(intent: InterceptIntent, during: Rule["during"]): Rule[] {
  const pass = { kind: "pass" } as const;
  return [
    {
      id: "bypass",
      during,
      matches: [packetMark(intent.marks.bypass)],
      verdict: pass,
      why: "sent by our own sockets; taking it would be a loop",
    },
    {
      id: "reply",
      during,
      matches: [packetMark(intent.marks.reply)],
      verdict: pass,
      why: "ours too: an answer to a client, in a remote's name",
    },
    {
      id: "loopback",
      during,
      matches: [outgoing(LOOPBACK)],
      verdict: pass,
      why: "stays on this host anyway",
    },
  ];
}
