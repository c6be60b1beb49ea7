/**
 * Takes finished flows out of the workers' rings and reports them, in batches.
 *
 * @module
 */
import { type FlowRecord, FlowRingReader } from "../dataplane/flow_ring.ts";
import { formatEndpoint } from "../net/mod.ts";
import type { EventSink } from "./events.ts";
import type { RouteNames } from "./route_names.ts";

/** Flows in one worker's ring: enough for 80,000 flows a second between two batches. */
export const FLOW_RING_RECORDS = 4096;
const BATCH_MS = 50;

/** The control plane's side of all rings. */
export class FlowLog implements Disposable {
  readonly #readers: FlowRingReader[];
  readonly #names: RouteNames;
  readonly #emit: EventSink;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param rings one for each worker.
   * @param names of the routes that flows left by.
   */
  constructor(rings: readonly SharedArrayBuffer[], names: RouteNames, emit: EventSink) {
    this.#readers = rings.map((ring) => new FlowRingReader(ring));
    this.#names = names;
    this.#emit = emit;
    // A reader is asleep, and so woken by the first record, only once it has looked.
    this.flush();
  }

  /** A ring has records: they are reported soon, with what else comes in until then. */
  notify(): void {
    this.#timer ??= setTimeout(() => this.flush(), BATCH_MS);
  }

  /** Reports everything that has been recorded. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const reader of this.#readers) {
      for (const record of reader.drain()) {
        const upstream = record.route && this.#names.nameOf(record.route);
        this.#emit({ event: "flow", ...flowFields(record, upstream) });
      }
    }
  }

  /** Reports what is left. */
  [Symbol.dispose](): void {
    this.flush();
  }
}

function flowFields(record: FlowRecord, upstream: string | undefined) {
  return {
    proto: record.protocol,
    ...(record.direction === undefined ? {} : { direction: record.direction }),
    client: formatEndpoint(record.client),
    destination: formatEndpoint(record.destination),
    ...(record.local === undefined ? {} : { local: formatEndpoint(record.local) }),
    ...(upstream === undefined ? {} : { upstream }),
    bytesUp: record.bytesUp,
    bytesDown: record.bytesDown,
    ...(record.protocol === "tcp"
      ? {}
      : { datagramsUp: record.datagramsUp, datagramsDown: record.datagramsDown }),
    durationMs: Math.round(record.durationMs * 1000) / 1000,
    end: record.end,
  };
}
