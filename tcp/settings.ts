/**
 * What the TCP data plane can be told, and the counters it keeps.
 *
 * @module
 */

/** How intercepted TCP connections reach the listener and leave again. */
export interface TcpSettings {
  readonly mode: "tproxy" | "redirect";
  /** Listening port on every address, both families. */
  readonly port: number;
  /** Source address towards the destination: this host's, or the client's own address and port. */
  readonly source: "own" | "keep";
  /** Mark (SO_MARK) on every socket towards a destination, so that the rules let it pass; 0: none. */
  readonly bypassMark: number;
  /** Most connections at once, over all workers. */
  readonly maxConnections: number;
  /** Most connections at once from one client address (IPv6: one /64), over all workers; 0: no limit. */
  readonly maxConnectionsPerClient: number;
  /** A connection that the destination has not answered by then is given up. */
  readonly connectTimeoutMs: number;
  /** Ends a connection that has carried nothing for so long; 0: never. */
  readonly idleTimeoutMs: number;
  /** The same for a connection of which one direction is closed; 0: never. */
  readonly halfClosedTimeoutMs: number;
  /** First keepalive probe after so many idle seconds (TCP_KEEPIDLE); 0: no probes. */
  readonly keepaliveSeconds: number;
  /** Unacknowledged data may wait so long (TCP_USER_TIMEOUT); 0: the kernel's default. */
  readonly userTimeoutMs: number;
  /** Most pipes this worker may hold at once for spliced and stalled data. */
  readonly maxPipes: number;
}

/** What is counted; dataplane/stats.ts says what each name means. */
export type TcpCounterName =
  | "tcpAccepted"
  | "tcpOpenNow"
  | "tcpFinished"
  | "tcpDialFailed"
  | "tcpRefusedLoop"
  | "tcpRefusedLimit"
  | "tcpRefusedClientLimit"
  | "tcpRefusedFds"
  | "tcpAcceptPauses"
  | "tcpAcceptErrors"
  | "tcpClientResets"
  | "tcpUpstreamResets"
  | "tcpTimeouts"
  | "tcpSourcePortChanged"
  | "tcpBytesUp"
  | "tcpBytesDown"
  | "pipesNow";

/** Counters in memory that somebody else may read: a value a slot, and the slot of each name. */
export interface TcpCounters {
  readonly values: Float64Array;
  readonly slots: Readonly<Record<TcpCounterName, number>>;
}
