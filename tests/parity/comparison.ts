/**
 * One table, one plan: what each backend's kernel did, against what the interpreter says, row by row.
 *
 * @module
 */
import { evaluate } from "../../nft/evaluate.ts";
import type { Evaluation } from "../../nft/evaluation.ts";
import type { PacketHost } from "../../nft/packet.ts";
import type { Plan } from "../../nft/plan.ts";
import type { NumberedRow } from "./bursts.ts";
import type { Sightings } from "./observer.ts";
import { predictedOutcome, seenOutcome } from "./outcome.ts";
import { ADDRESSES } from "./places.ts";
import { describeRow, type Row } from "./row.ts";
import { evaluateFirst, packetOf } from "./row_packet.ts";
import { type Burst, listenersOf, type Run } from "./world.ts";

/** Numbers are source ports: above those that listeners and destinations have. */
const FIRST_ID = 28_000, LAST_ID = 65_000;

/**
 * Gives out numbers. The half-open connections of a listener that has been closed stay for a second, so no number is
 * given out again before all others have been.
 */
export class RowNumbers {
  #next = FIRST_ID;

  /** The first of `count` numbers. */
  take(count: number): number {
    if (this.#next + count > LAST_ID) this.#next = FIRST_ID;
    const first = this.#next;
    this.#next += count;
    return first;
  }
}

/** Where kernel and interpreter are not of one mind, or the kernels. */
export interface Disagreement {
  readonly packet: string;
  readonly proxy: "up" | "down";
  readonly predicted: string;
  readonly decidedBy: string;
  /** By backend. */
  readonly seen: Readonly<Record<string, string>>;
}

/** How many packets all agreed on, by their verdict, and the others. */
export interface Comparison {
  readonly agreed: Readonly<Record<"pass" | "drop" | "taken", number>>;
  readonly disagreements: readonly Disagreement[];
}

/** What to send for `plan`. */
export function runOf(plan: Plan, rows: readonly Row[], numbers: RowNumbers): Run {
  const first = numbers.take(2 * rows.length);
  const up = rows.map((row, i): NumberedRow => ({ row, id: first + i }));
  // A redirected connection dies with the proxy, whatever becomes of the rules; and a half-open one outlives its
  // listener by up to a second.
  const stays = (row: Row) =>
    row.history !== "handshake" && (plan.intent.onProxyDown === "closed" || !isTaken(row));
  const down = rows.map((row, i): NumberedRow => ({ row, id: first + rows.length + i }))
    .filter(({ row }) => stays(row));
  return { plan, up: burstOf(plan, up), down: burstOf(plan, down) };
}

/** `seen` by backend. */
export function compare(
  { plan, up, down }: Run,
  seen: ReadonlyMap<string, ReadonlyMap<number, Sightings>>,
): Comparison {
  const disagreements: Disagreement[] = [];
  const agreed = { pass: 0, drop: 0, taken: 0 };
  for (const [proxy, { rows }] of [["up", up], ["down", down]] as const) {
    for (const { row, id } of rows) {
      const evaluation = evaluate(plan, packetOf(row, id, plan, hostWith(proxy)), hostWith(proxy));
      const predicted = predictedOutcome(evaluation);
      const outcomes = Object.fromEntries(
        [...seen].map(([name, sightings]) => [name, outcomeOf(plan, row, sightings.get(id))]),
      );
      if (Object.values(outcomes).every((outcome) => outcome === predicted)) {
        agreed[typeof evaluation.verdict === "object" ? "taken" : evaluation.verdict]++;
      } else {
        disagreements.push({
          packet: describeRow(row),
          ...{ proxy, predicted, seen: outcomes },
          decidedBy: formatDecision(evaluation),
        });
      }
    }
  }
  return { agreed, disagreements };
}

function burstOf(plan: Plan, rows: readonly NumberedRow[]): Burst {
  const unanswered = rows.filter(({ row, id }) =>
    isTaken(row) && evaluateFirst(row, id, plan, hostWith("up")).verdict === "pass"
  );
  return { rows, unansweredIds: new Set(unanswered.map(({ id }) => id)) };
}

function isTaken({ history }: Row): boolean {
  return history === "taken" || history === "handshake";
}

function hostWith(proxy: "up" | "down"): PacketHost {
  return { addresses: ADDRESSES, forwards: true, proxy };
}

function outcomeOf(plan: Plan, row: Row, sightings: Sightings | undefined): string {
  return seenOutcome(sightings, {
    plan,
    row,
    listeners: new Map(listenersOf(plan).map(({ mark, port }) => [mark >>> 0, port])),
  });
}

function formatDecision({ decidedBy, trail }: Evaluation): string {
  const steps = trail.map((step) =>
    step.kind === "rule" ? `${step.chain}/${step.rule}${step.done ? "" : " (not done)"}` : step.kind
  );
  return `${decidedBy === null ? "no rule" : `${decidedBy.chain}/${decidedBy.rule}`} of ${steps.join(" > ")}`;
}

/** For the list of a failed run. */
export function formatDisagreement(title: string, disagreement: Disagreement): string {
  const { packet, proxy, predicted, decidedBy, seen } = disagreement;
  const lines = Object.entries(seen).map(([name, outcome]) => `    ${name.padEnd(15)} ${outcome}`);
  return [
    `  ${title}, proxy ${proxy}: ${packet}`,
    ...lines,
    `    ${"evaluate".padEnd(15)} ${predicted}, by ${decidedBy}`,
  ].join("\n");
}
