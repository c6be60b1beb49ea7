/**
 * Matches that the chains of several builders share.
 *
 * @module
 */
import type { Match, Rule } from "./plan.ts";

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

/**
 * Lets go what another program of this host has marked, as a VPN that takes the default route marks its own packets
 * to get past that route. Ours would carry our mark instead, and be routed back into the VPN without end.
 *
 * @param first tells the packets that are asked; none: every one.
 */
export function routedElsewhere(first: readonly Match[], during: Rule["during"]): Rule {
  return {
    id: "foreign",
    during,
    matches: [...first, { kind: "foreignMark" }],
    verdict: { kind: "pass" },
    why: "marked by a program that routes it itself, as a VPN does",
  };
}

/**
 * Destinations that no route calls local, and that would yet be this host if we sent there: a socket takes `::` for
 * ::1, and a v4-mapped address for the IPv4 address, which may be one of ours.
 */
export const MEANT_HERE: readonly { readonly id: string; readonly match: Match; readonly why: string }[] = [
  {
    id: "unspecified",
    match: { kind: "destinationIn", family: 6, prefix: "::/127" },
    why: "from us it would go to our own loopback address",
  },
  {
    id: "mapped",
    match: { kind: "destinationIn", family: 6, prefix: "::ffff:0:0/96" },
    why: "from us it would go to an IPv4 address, maybe our own",
  },
];
