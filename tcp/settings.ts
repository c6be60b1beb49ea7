/**
 * What the TCP data plane can be told, and the counters it keeps.
 *
 * @module
 */

import type { IpAddress, IpFamily } from "../net/mod.ts";

/** Where a connection towards a destination comes from. */
export type DialSource =
  /** This host's address. */
  | "own"
  /** The client's address and port. */
  | "keep"
  /**
   * The client's address and another port. For destinations on this host: the accepted socket already has the client's
   * endpoint at its far end and the destination at its near one, and would be given what is meant for a second such.
   */
  | "keepAddress"
  /** These addresses of this host, by which rules tell the connection. */
  | Readonly<Record<IpFamily, IpAddress>>;

/** How intercepted TCP connections reach one listener and leave again. */
export interface TcpSettings {
  readonly mode: "tproxy" | "redirect";
  /** Listening port on every address, both families. */
  readonly port: number;
  /** This port and those of all other TCP listeners of ours: what was going there is not carried. */
  readonly ownPorts: readonly number[];
  /** Of a pod's connections, those to it or those from it; undefined: no pod's. */
  readonly direction: "inbound" | "outbound" | undefined;
  /** What the resolvers answer: connections to port 53, or none. */
  readonly dns: boolean;
  readonly source: DialSource;
  /** Mark (SO_MARK) on the listening socket and on those it accepts; 0: none. */
  readonly listenerMark: number;
  /** Mark on every socket towards a destination, by which the rules know it; 0: none. */
  readonly dialMark: number;
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
  | "tcpBlocked"
  | "tcpUpstreamFailed"
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
