/**
 * From the configuration to what each worker is told, and the memory that workers and control plane share.
 *
 * @module
 */
import type { RunConfig } from "../config/mod.ts";
import { flowRingBytes } from "../dataplane/flow_ring.ts";
import type {
  DnsListenerSettings,
  RoutingSettings,
  TcpSettings,
  UdpSettings,
  WorkerConfig,
} from "../dataplane/protocol.ts";
import { STATS_BYTES } from "../dataplane/stats.ts";
import type { FdBudget } from "./fd_budget.ts";
import { FLOW_RING_RECORDS } from "./flow_log.ts";
import { type SocketMarks, tcpLegs } from "./tcp_legs.ts";

/** A table of clients is at most half full and never tiny, so that probing stays short. */
const LEAST_CLIENT_SLOTS = 1024;
/** Two Int32: key and count. */
const CLIENT_SLOT_BYTES = 8;

/** Of all sessions, what one client may have unless something else was asked for. */
const SESSION_SHARE_OF_A_CLIENT = 1 / 4;
/** … but at least this: what a busy host needs who asks many resolvers. */
const SESSIONS_A_CLIENT_NEEDS = 256;

/** Without the capability to set marks there is no rule of ours either that they would be for. */
export const NO_MARKS: SocketMarks = { bypass: 0, reply: 0, dontFragment: 0 };

/** One configuration for each worker. */
export function workerConfigs(
  config: RunConfig,
  budget: FdBudget,
  marks: SocketMarks,
  routing: RoutingSettings,
): WorkerConfig[] {
  const tcp = tcpSettings(config, budget, marks);
  const openConnections = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
  const clientTable = clientTableFor(budget.maxConnections, config.maxConnectionsPerClient);
  const udpClientTable = clientTableFor(budget.maxSessions, sessionsPerClient(config, budget));
  const clientSeed = crypto.getRandomValues(new Int32Array(1))[0]!;
  return Array.from({ length: config.workers }, (_, index) => ({
    index,
    workers: config.workers,
    tcp,
    maxPipes: budget.maxPipesPerWorker,
    dns: dnsSettings(config, marks),
    udp: udpSettings(config, budget, marks, index),
    resolvers: config.dns,
    routing,
    stats: new SharedArrayBuffer(STATS_BYTES),
    openConnections,
    clientTable,
    udpClientTable,
    clientSeed,
    flowRing: config.flows ? new SharedArrayBuffer(flowRingBytes(FLOW_RING_RECORDS)) : undefined,
  }));
}

function tcpSettings(config: RunConfig, budget: FdBudget, marks: SocketMarks): TcpSettings[] {
  return tcpLegs(config, marks).map((leg) => ({
    ...leg,
    maxConnections: budget.maxConnections,
    maxConnectionsPerClient: config.maxConnectionsPerClient,
    connectTimeoutMs: config.connectTimeoutMs,
    idleTimeoutMs: config.idleTimeoutMs,
    halfClosedTimeoutMs: config.halfClosedTimeoutMs,
    keepaliveSeconds: Math.ceil(config.keepaliveMs / 1000),
    userTimeoutMs: config.userTimeoutMs,
  }));
}

function dnsSettings({ sidecar }: RunConfig, { bypass }: SocketMarks): DnsListenerSettings | undefined {
  if (sidecar === null || sidecar.dns === null) return undefined;
  return { port: sidecar.dns.port, bypassMark: bypass };
}

function udpSettings(
  config: RunConfig,
  budget: FdBudget,
  marks: SocketMarks,
  index: number,
): UdpSettings | undefined {
  if (config.udp === "off") return undefined;
  return {
    port: config.port + index,
    firstPort: config.port,
    workers: config.workers,
    source: config.source,
    bypassMark: marks.bypass,
    replyMark: marks.reply,
    dontFragmentMark: marks.dontFragment,
    filter: config.udpFilter,
    idleTimeoutMs: config.udpTimeoutMs,
    refreshInbound: config.udpRefreshInbound,
    // The rules spread client endpoints evenly.
    maxSessions: Math.ceil(budget.maxSessions / config.workers),
    maxSessionsPerClient: sessionsPerClient(config, budget),
    maxReplySockets: budget.maxReplySocketsPerWorker,
  };
}

function sessionsPerClient({ maxSessionsPerClient }: RunConfig, { maxSessions }: FdBudget): number {
  const share = Math.max(SESSIONS_A_CLIENT_NEEDS, Math.floor(maxSessions * SESSION_SHARE_OF_A_CLIENT));
  return maxSessionsPerClient ?? Math.min(share, maxSessions);
}

function clientTableFor(maxFlows: number, maxPerClient: number | undefined): SharedArrayBuffer | undefined {
  if (maxFlows === 0 || maxPerClient === undefined || maxPerClient === 0) return undefined;
  return new SharedArrayBuffer(clientTableBytes(maxFlows));
}

/** Slots are a power of two, at least twice as many as there can be clients at once. */
export function clientTableBytes(maxFlows: number): number {
  const slots = Math.max(LEAST_CLIENT_SLOTS, 2 ** Math.ceil(Math.log2(2 * maxFlows)));
  return slots * CLIENT_SLOT_BYTES;
}
