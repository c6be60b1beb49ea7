/**
 * What the UDP data plane can be told, and the counters it keeps.
 *
 * @module
 */

/** From whom a session takes datagrams, in the words of RFC 4787, section 5. */
export type UdpFilter =
  /** From anyone (endpoint-independent: a full cone). */
  | "endpoint"
  /** From every port of the addresses that the client has written to. */
  | "address"
  /** From the endpoints that the client has written to. */
  | "address-port";

/** How intercepted datagrams reach this worker's listener and leave again. */
export interface UdpSettings {
  /** Listening port of this worker, on every address, both families. */
  readonly port: number;
  /** Listening ports of all workers are `firstPort` to `firstPort + workers - 1`. */
  readonly firstPort: number;
  readonly workers: number;
  /** Source address towards destinations: this host's, or the client's own address and port. */
  readonly source: "own" | "keep";
  /** Mark (SO_MARK) on every socket towards a destination, so that the rules let it pass; 0: none. */
  readonly bypassMark: number;
  /** Mark on every socket that answers clients: let pass as well, and not tracked; 0: none. */
  readonly replyMark: number;
  /** Bit of a received packet's mark (SO_RCVMARK) that says that no router would fragment it; 0: nobody says. */
  readonly dontFragmentMark: number;
  /** From whom a session takes datagrams. */
  readonly filter: UdpFilter;
  /** A session whose client has sent nothing for so long ends. */
  readonly idleTimeoutMs: number;
  /** Whether datagrams from a destination keep a session alive too. */
  readonly refreshInbound: boolean;
  /** Most sessions of this worker. */
  readonly maxSessions: number;
  /** Most sessions of one client address, over all workers; 0: no limit. */
  readonly maxSessionsPerClient: number;
  /** Most sockets of this worker that answer clients, each with a source port of its own. */
  readonly maxReplySockets: number;
}

/** What is counted; dataplane/stats.ts says what each name means. */
export type UdpCounterName =
  | "udpDatagramsUp"
  | "udpDatagramsDown"
  | "udpBytesUp"
  | "udpBytesDown"
  | "udpSessionsOpened"
  | "udpSessionsNow"
  | "udpTimeouts"
  | "udpEvictedLimit"
  | "udpEvictedClientLimit"
  | "udpEvictedFds"
  | "udpRefusedClientLimit"
  | "udpRefusedFds"
  | "udpSessionErrors"
  | "udpRefusedLoop"
  | "udpNoDestination"
  | "udpTruncated"
  | "udpControlTruncated"
  | "udpFiltered"
  | "udpTooBig"
  | "udpSendDropsUp"
  | "udpSendDropsDown"
  | "udpReceiveDrops"
  | "udpSourcePortChanged"
  | "udpIcmpSent"
  | "udpIcmpSuppressed"
  | "udpReplySocketsNow"
  | "udpReplyRaw"
  | "udpBlocked"
  | "udpUpstreamFailed"
  | "udpUpstreamRefused"
  | "udpWaitDrops"
  | "udpBadAnswers";

/** Counters in memory that somebody else may read: a value a slot, and the slot of each name. */
export interface UdpCounters {
  readonly values: Float64Array;
  readonly slots: Readonly<Record<UdpCounterName, number>>;
}
