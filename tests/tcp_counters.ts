/**
 * Counters as a worker's TCP side writes them, for tests that read them or do not care.
 *
 * @module
 */
import { COUNTER_SLOTS, COUNTERS } from "../dataplane/stats.ts";
import type { TcpCounters } from "../tcp/settings.ts";

/** All of them, in `values`. */
export function tcpCounters(values: Float64Array = new Float64Array(COUNTERS.length)): TcpCounters {
  return { values, slots: COUNTER_SLOTS };
}
