/**
 * How file descriptors are shared out: between TCP connections, the pipes that splice needs, UDP sessions, the
 * sockets that answer their clients, and the rest.
 *
 * Workers raise the process's soft limit to the hard one, so the hard one is what counts.
 *
 * @module
 */
import { MAX_CONNECTIONS_UNASKED, MAX_SESSIONS_UNASKED, type RunConfig } from "../config/mod.ts";

/** Standard streams, the runtime's own, epoll instances, listeners, doorbells, the nft child's pipes. */
const RESERVED_FDS = 256;
const FDS_PER_CONNECTION = 2;
/** Its socket; through a SOCKS5 server also the connection that its association lasts as long as. */
const FDS_PER_SESSION = { direct: 1, associated: 2 };
const FDS_PER_PIPE = 2;
/** Pipes are borrowed only while bytes are in flight: this many for one worker is ample. */
const PIPES_PER_WORKER = 512;
/** One for each port that a remote answers from, closed when idle. */
const REPLY_SOCKETS_PER_WORKER = 1024;
/** Each worker's, for each resolver of --dns: see dns/resolver.ts. */
const FDS_PER_RESOLVER = 8;
/** At most this part of all descriptors goes into pipes, and the same part into sockets that answer clients. */
const SIDE_SHARE = 1 / 16;

/**
 * TCP's part of the descriptors where there are too few for both: a connection takes two and most sessions one. A number
 * that the user asked for comes before one that nobody did, of which a sixteenth is left.
 */
const TCP_PART = { alike: 2 / 3, connectionsAsked: 15 / 16, sessionsAsked: 1 / 16 };

/** What the configuration says of descriptors. */
export type FdDemand = Pick<
  RunConfig,
  "tcp" | "udp" | "sidecar" | "workers" | "dns" | "upstreams" | "maxConnections" | "maxSessions"
>;

/** What the descriptors allow. */
export interface FdBudget {
  /** Over all workers; 0 without TCP. */
  readonly maxConnections: number;
  readonly maxPipesPerWorker: number;
  /** Over all workers; 0 without UDP. */
  readonly maxSessions: number;
  readonly maxReplySocketsPerWorker: number;
}

/**
 * Shares out the descriptors.
 *
 * @param hardLimit RLIMIT_NOFILE, the hard one; may be Infinity.
 */
export function shareFds(hardLimit: number, demand: FdDemand): FdBudget {
  const { workers } = demand;
  const hasTcp = takesTcp(demand), hasUdp = demand.udp !== "off";
  const perWorker = (most: number, each: number) =>
    Math.max(1, Math.min(most, Math.floor(hardLimit * SIDE_SHARE / each / workers)));
  const pipes = hasTcp ? perWorker(PIPES_PER_WORKER, FDS_PER_PIPE) : 0;
  const replySockets = hasUdp ? perWorker(REPLY_SOCKETS_PER_WORKER, 1) : 0;
  const resolverSockets = demand.dns.length * FDS_PER_RESOLVER;
  const left = hardLimit - RESERVED_FDS - workers * (pipes * FDS_PER_PIPE + replySockets + resolverSockets);
  const tcpWish = hasTcp ? FDS_PER_CONNECTION * (demand.maxConnections ?? MAX_CONNECTIONS_UNASKED) : 0;
  const perSession = demand.upstreams.some((upstream) => upstream.kind === "socks5" && upstream.udp)
    ? FDS_PER_SESSION.associated
    : FDS_PER_SESSION.direct;
  const udpWish = hasUdp ? perSession * (demand.maxSessions ?? MAX_SESSIONS_UNASKED) : 0;
  const tcpFds = Math.min(tcpWish, Math.max(left * tcpPart(demand), left - udpWish));
  const udpFds = Math.min(udpWish, left - tcpFds);
  return {
    maxConnections: hasTcp ? Math.max(1, Math.floor(tcpFds / FDS_PER_CONNECTION)) : 0,
    maxPipesPerWorker: pipes,
    maxSessions: hasUdp ? Math.max(1, Math.floor(udpFds / perSession)) : 0,
    maxReplySocketsPerWorker: replySockets,
  };
}

function takesTcp({ tcp, sidecar }: FdDemand): boolean {
  return tcp !== "off" || sidecar !== null && (sidecar.inbound !== "off" || sidecar.dns !== null);
}

function tcpPart({ maxConnections, maxSessions }: FdDemand): number {
  if ((maxConnections === undefined) === (maxSessions === undefined)) return TCP_PART.alike;
  return maxConnections === undefined ? TCP_PART.sessionsAsked : TCP_PART.connectionsAsked;
}

/** The hard limit of open files, from the text of /proc/self/limits; Infinity when there is none. */
export function parseHardFdLimit(limits: string): number {
  const hard = /^Max open files\s+\S+\s+(\S+)/m.exec(limits)?.[1];
  return hard === undefined || hard === "unlimited" ? Infinity : Number(hard);
}
