/**
 * Whether what the proxy said, what the ends saw and what was dialled fit together. Exact comparison, nothing else:
 * every difference is a sentence, and no sentence means that all is right.
 *
 * @module
 */
import type { AppEvents, EndReason } from "../control/mod.ts";
import type { Protocol } from "../net/mod.ts";
import type { EndsReport } from "./traffic.ts";

/** A `flow` event, as `run --log json --flows` prints it. */
export type Flow = AppEvents["flow"];

/** One connection, from every side. */
export interface Observation {
  readonly protocol: Protocol;
  /** What the client dialled. */
  readonly dialled: string;
  readonly ends: EndsReport;
  /** Undefined when the proxy said nothing. */
  readonly flow: Flow | undefined;
}

/** How a connection should have come about. */
export interface Expectation {
  /** Without: the ends are to see each other. With: its `flow` event is to name all of it. */
  readonly proxy: "none" | "own-address" | "keeps-address";
  /** How it has to end; a connection that is refused reaches no server. */
  readonly end: EndReason;
}

/** Everything that is wrong. */
export function judge(seen: Observation, wanted: Expectation): string[] {
  const { ends } = seen;
  const wrong = [...ends.problems];
  if (ends.client === undefined) wrong.push("client: had no socket of its own to compare with");
  for (const { receiver, found, wanted: sha256 } of ends.checksums) {
    wrong.push(...differs(`sha256 of what the ${receiver} received`, found, sha256, "what was sent"));
  }
  if (wanted.proxy === "none") wrong.push(...differs("server's peer", ends.peer, ends.client, "the client"));
  else if (seen.flow === undefined) wrong.push("proxy: no flow event for this connection");
  else wrong.push(...judgeFlow(seen, seen.flow, wanted));
  return wrong;
}

function judgeFlow({ protocol, dialled, ends }: Observation, flow: Flow, wanted: Expectation): string[] {
  const wrong = [
    ...differs("flow.proto", flow.proto, protocol, "what the client used"),
    ...differs("flow.client", flow.client, ends.client, "the client's own socket"),
    ...differs("flow.destination", flow.destination, dialled, "what was dialled"),
    ...differs("flow.bytesUp", flow.bytesUp, ends.bytesUp, "what the client sent"),
    ...differs("flow.bytesDown", flow.bytesDown, ends.bytesDown, "what the client received"),
    ...differs("flow.datagramsUp", flow.datagramsUp, ends.datagrams?.up, "what the client sent"),
    ...differs("flow.datagramsDown", flow.datagramsDown, ends.datagrams?.down, "what the client received"),
    ...differs("flow.end.reason", flow.end.reason, wanted.end, "how it had to end"),
  ];
  if (wanted.end === "refused") {
    wrong.push(...differs("flow.end.side", flow.end.side, "upstream", "who refused"));
    wrong.push(...differs("server's peer", ends.peer, undefined, "nobody listens"));
  } else wrong.push(...differs("server's peer", ends.peer, flow.local, "flow.local"));
  if (wanted.proxy === "keeps-address") {
    wrong.push(...differs("flow.local", flow.local, ends.client, "the client's own socket"));
  } else if (flow.local !== undefined && flow.local === ends.client) {
    wrong.push(`flow.local: ${flow.local} found, an address of the gateway wanted`);
  }
  return wrong;
}

type Value = string | number | undefined;

function differs(what: string, found: Value, wanted: Value, why: string): string[] {
  return found === wanted ? [] : [`${what}: ${word(found)} found, ${word(wanted)} wanted (${why})`];
}

function word(value: Value): string {
  return value === undefined || value === "" ? "none" : String(value);
}
