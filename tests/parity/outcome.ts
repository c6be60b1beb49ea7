/**
 * What became of a packet, in the same words for the kernel and for the interpreter: the two are compared as text.
 *
 * @module
 */
import type { Evaluation } from "../../nft/evaluation.ts";
import type { Plan } from "../../nft/plan.ts";
import type { Sighting, Sightings, WatchedHook } from "./observer.ts";
import type { Row } from "./row.ts";

/** What the words depend on beside the packet. */
export interface OutcomeContext {
  readonly plan: Plan;
  readonly row: Row;
  /** Ports of our listeners by the marks of their sockets. */
  readonly listeners: ReadonlyMap<number, number>;
}

/** As {@linkcode Evaluation} has it. */
interface Outcome {
  readonly verdict: Evaluation["verdict"];
  readonly mark: number;
  readonly flowMark: number | null;
  readonly zone: number | null;
  readonly untracked: boolean;
}

/** The interpreter's word. */
export function predictedOutcome(evaluation: Evaluation): string {
  return formatOutcome(evaluation);
}

/**
 * The kernel's word. What it loses between two hooks, without a mark of ours, is lost without us as well and counts
 * as passed.
 *
 * @param sightings undefined: nobody has seen it, so it was never sent.
 */
export function seenOutcome(sightings: Sightings | undefined, context: OutcomeContext): string {
  if (sightings === undefined) return "never seen";
  if (sightings.lostAt.size > 0) return formatOutcome({ ...NOTHING, verdict: "drop" });
  const last = (["input", "postrouting", "prerouting", "output"] as const)
    .find((hook) => sightings.left.has(hook))!;
  const states = sightings.left.get(last)!;
  const outcomes = states.map((state) => ofState(sightings, last, state, context));
  return [...new Set(outcomes)].join(" AND ");
}

const NOTHING: Omit<Outcome, "verdict"> = { mark: 0, flowMark: null, zone: null, untracked: false };

function ofState(
  sightings: Sightings,
  last: WatchedHook,
  { mark, destinationPort }: Sighting,
  context: OutcomeContext,
): string {
  const flow = sightings.flows.get(last);
  return formatOutcome({
    verdict: verdictOf(sightings, last, { mark, destinationPort }, context),
    mark,
    flowMark: flow?.mark ?? null,
    zone: flow === undefined || flow.zone === 0 ? null : flow.zone,
    untracked: sightings.untracked,
  });
}

function verdictOf(
  sightings: Sightings,
  last: WatchedHook,
  { mark, destinationPort }: Sighting,
  { plan, row, listeners }: OutcomeContext,
): Evaluation["verdict"] {
  const { intercept, mask } = plan.intent.marks;
  const { socketMarks, transparent, wildcard, here, rewritten } = sightings;
  const isMarked = (mark & mask) >>> 0 === intercept;
  // What has been given to a socket and is then not routed to it is lost.
  if (last !== "input") return isMarked && last === "prerouting" ? "drop" : "pass";
  if (!isMarked && !rewritten) return "pass";
  const ports = wildcard ? socketMarks.flatMap((socketMark) => listeners.get(socketMark) ?? []) : [];
  if (ports.length > 0) return { taken: row.segment === "udp" ? workersOf(plan, ports) : ports };
  if (socketMarks.length > 0 || transparent) return { taken: rewritten ? [destinationPort] : [] };
  return here && !rewritten ? "pass" : "drop";
}

/** Which of the workers is each backend's choice; that it is one for all that an endpoint sends is not. */
function workersOf({ intent }: Plan, ports: readonly number[]): readonly number[] {
  const workers = Array.from({ length: intent.udpWorkers }, (_, i) => intent.port + i);
  return ports.length === 1 && workers.includes(ports[0]!) ? workers : ports;
}

function formatOutcome({ verdict, mark, flowMark, zone, untracked }: Outcome): string {
  if (verdict === "drop") return "drop";
  const words = [verdict === "pass" ? "pass" : `taken by ${verdict.taken.join(" or ") || "its socket"}`];
  if (mark !== 0) words.push(`mark 0x${mark.toString(16)}`);
  if (flowMark !== null && flowMark !== 0) words.push(`flow mark 0x${flowMark.toString(16)}`);
  // What conntrack cannot place has no zone to show.
  if (zone !== null && flowMark !== null) words.push(`zone ${zone}`);
  if (untracked) words.push("untracked");
  return words.join(", ");
}
