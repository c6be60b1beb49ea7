/**
 * Counters as a worker's TCP side writes them, for tests that read them or do not care.
 *
 * @module
 */
import { COUNTERS, counterSlot } from "../dataplane/stats.ts";
import type { TcpCounterName, TcpCounters } from "../tcp/settings.ts";

/** All of them, in `values`. */
export function tcpCounters(values: Float64Array = new Float64Array(COUNTERS.length)): TcpCounters {
  const slots = Object.fromEntries(COUNTERS.map((name) => [name, counterSlot(name)]));
  return { values, slots: slots as Record<TcpCounterName, number> };
}
