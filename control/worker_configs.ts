/**
 * From the configuration to what each worker is told, and the memory that workers and control plane share.
 *
 * @module
 */
import type { RunConfig } from "../config/mod.ts";
import { flowRingBytes } from "../dataplane/flow_ring.ts";
import type { WorkerConfig } from "../dataplane/protocol.ts";
import { STATS_BYTES } from "../dataplane/stats.ts";
import type { FdBudget } from "./fd_budget.ts";
import { FLOW_RING_RECORDS } from "./flow_log.ts";

/** A table of clients is at most half full and never tiny, so that probing stays short. */
const LEAST_CLIENT_SLOTS = 1024;
/** Two Int32: key and count. */
const CLIENT_SLOT_BYTES = 8;

/**
 * One configuration for each worker.
 *
 * @param bypassMark for sockets towards destinations; 0: none.
 */
export function workerConfigs(config: RunConfig, budget: FdBudget, bypassMark: number): WorkerConfig[] {
  if (config.tcp === "off") return [];
  const openConnections = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
  const clientTable = config.maxConnectionsPerClient === 0
    ? undefined
    : new SharedArrayBuffer(clientTableBytes(budget.maxConnections));
  const tcp = {
    mode: config.tcp,
    port: config.port,
    source: config.source,
    bypassMark,
    maxConnections: budget.maxConnections,
    maxConnectionsPerClient: config.maxConnectionsPerClient,
    connectTimeoutMs: config.connectTimeoutMs,
    idleTimeoutMs: config.idleTimeoutMs,
    halfClosedTimeoutMs: config.halfClosedTimeoutMs,
    keepaliveSeconds: Math.ceil(config.keepaliveMs / 1000),
    userTimeoutMs: config.userTimeoutMs,
    maxPipes: budget.maxPipesPerWorker,
  };
  return Array.from({ length: config.workers }, (_, index) => ({
    index,
    tcp,
    udp: undefined,
    resolvers: [],
    stats: new SharedArrayBuffer(STATS_BYTES),
    openConnections,
    clientTable,
    udpClientTable: undefined,
    flowRing: config.flows ? new SharedArrayBuffer(flowRingBytes(FLOW_RING_RECORDS)) : undefined,
  }));
}

/** Slots are a power of two, at least twice as many as there can be clients at once. */
export function clientTableBytes(maxConnections: number): number {
  const slots = Math.max(LEAST_CLIENT_SLOTS, 2 ** Math.ceil(Math.log2(2 * maxConnections)));
  return slots * CLIENT_SLOT_BYTES;
}
