/**
 * Matches that the chains of several builders share.
 *
 * @module
 */
import type { Match } from "./plan.ts";

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
