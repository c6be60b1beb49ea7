/**
 * What the DNS side can be told, and the counters it keeps.
 *
 * @module
 */

/** How queries reach us that rules redirect to a port of ours. */
export interface DnsListenerSettings {
  /** Listening port, both families. */
  readonly port: number;
  /** Mark (SO_MARK) on its sockets and on those towards resolvers, by which the rules know them; 0: none. */
  readonly bypassMark: number;
}

/** What is counted; dataplane/stats.ts says what each name means. */
export type DnsCounterName =
  /** Queries that were passed to a resolver. */
  | "dnsQueries"
  /** Answers that were passed to clients. */
  | "dnsAnswers"
  /** Queries that wait for an answer. */
  | "dnsPendingNow"
  /** Queries that were sent once more, to the next resolver. */
  | "dnsRetries"
  /** Queries that were also sent to a resolver that had failed, to see whether it answers again. */
  | "dnsProbes"
  /** Queries that a resolver did not answer within 2 s. */
  | "dnsTimeouts"
  /** Times a resolver refused (ICMP port unreachable) or could not be reached. */
  | "dnsRefused"
  /** Queries that no resolver answered. */
  | "dnsUnanswered"
  /** Queries dropped to make room for newer ones: too many waited. */
  | "dnsEvicted"
  /** Queries dropped: too short, too long, no queries, with a question that cannot be read, or not this pod's. */
  | "dnsMalformed"
  /** Answers dropped: of an unknown id, to another question, or no answers. */
  | "dnsMismatched"
  /** Queries dropped: no socket could be opened, or the kernel did not take them. */
  | "dnsSendDrops";

/** Counters in memory that somebody else may read: a value a slot, and the slot of each name. */
export interface DnsCounters {
  readonly values: Float64Array;
  readonly slots: Readonly<Record<DnsCounterName, number>>;
}

/** Conditions that an operator should hear of; the receiver limits their rate. */
export type DnsWarning = "dns-resolver-down" | "dns-limit" | "dns-fds-exhausted" | "dns-error";
