/**
 * Counters that a worker writes and the control plane reads, without either waiting for the other.
 *
 * One `SharedArrayBuffer` a worker holds one 64-bit float a counter (exact up to 2^53). Only the worker writes
 * it, with plain stores: an aligned 8-byte store is one access on every architecture we support, so a reader
 * sees an old value or a new one, never half of each.
 *
 * @module
 */

/** Every counter, in the order of its slot. Names ending in `Now` are gauges, the others only grow. */
export const COUNTERS = [
  /** Connections taken from the listener's queue. */
  "tcpAccepted",
  /** Connections being dialled or carried. */
  "tcpOpenNow",
  /** Connections that were carried and have ended, however they ended. */
  "tcpFinished",
  /** Connections whose destination could not be reached. */
  "tcpDialFailed",
  /** Refused: the original destination is our own listener or loopback, or nothing had intercepted the connection. */
  "tcpRefusedLoop",
  /** Refused: `maxConnections` reached. */
  "tcpRefusedLimit",
  /** Refused: the client's own limit reached. */
  "tcpRefusedClientLimit",
  /** Refused: no file descriptor left for the connection. */
  "tcpRefusedFds",
  /** Not carried: the policy blocks them. */
  "tcpBlocked",
  /** Connections that an upstream could not open by its own fault; among those of `tcpDialFailed`. */
  "tcpUpstreamFailed",
  /** Times accepting was paused because the process or the system ran out of file descriptors. */
  "tcpAcceptPauses",
  /** Unexpected failures of accept4. */
  "tcpAcceptErrors",
  /** Connections that a reset from the client ended. */
  "tcpClientResets",
  /** Connections that a reset from the destination ended. */
  "tcpUpstreamResets",
  /** Connections that a timeout ended (connect, idle or half-closed). */
  "tcpTimeouts",
  /** `--source keep`: connections that kept the client's address but not its port. */
  "tcpSourcePortChanged",
  /** Payload bytes from clients to destinations. */
  "tcpBytesUp",
  /** Payload bytes from destinations to clients. */
  "tcpBytesDown",
  /** Pipes that exist, in use or pooled. */
  "pipesNow",
  /** Datagrams passed on from clients to destinations. */
  "udpDatagramsUp",
  /** Datagrams passed on from destinations to clients. */
  "udpDatagramsDown",
  /** Payload bytes of datagrams from clients to destinations. */
  "udpBytesUp",
  /** Payload bytes of datagrams from destinations to clients. */
  "udpBytesDown",
  /** Sessions begun: one for each client endpoint that sent something. */
  "udpSessionsOpened",
  /** Sessions that exist. */
  "udpSessionsNow",
  /** Sessions that ended because their client had sent nothing for the idle timeout. */
  "udpTimeouts",
  /** Sessions, the oldest idle ones, that ended to make room for newer ones: `maxSessions` reached. */
  "udpEvictedLimit",
  /** The same: the client's own limit reached. */
  "udpEvictedClientLimit",
  /** The same: no file descriptor left. */
  "udpEvictedFds",
  /** Datagrams dropped: the client's own limit reached, and none of its sessions could make room. */
  "udpRefusedClientLimit",
  /** Datagrams dropped: no file descriptor left for a session, and none could make room. */
  "udpRefusedFds",
  /** Sessions that could not be begun, or that an error of their socket ended. */
  "udpSessionErrors",
  /** Datagrams dropped: their destination is a listener of ours or loopback, or nothing had intercepted them. */
  "udpRefusedLoop",
  /** Datagrams dropped: the kernel did not say where they were going. */
  "udpNoDestination",
  /** Datagrams dropped: longer than the buffer (MSG_TRUNC). */
  "udpTruncated",
  /** Datagrams whose control data was cut off (MSG_CTRUNC). */
  "udpControlTruncated",
  /** Datagrams dropped: `--udp-filter` does not take them from that remote. */
  "udpFiltered",
  /** Datagrams that were too big for the next hop and must not be fragmented: the sender was told. */
  "udpTooBig",
  /** Datagrams to destinations that the kernel did not take. */
  "udpSendDropsUp",
  /** Datagrams to clients that the kernel did not take. */
  "udpSendDropsDown",
  /** Datagrams that the kernel dropped because a socket's buffer was full. */
  "udpReceiveDrops",
  /** Sessions whose port towards destinations is another than the client's. */
  "udpSourcePortChanged",
  /** ICMP errors sent to clients. */
  "udpIcmpSent",
  /** ICMP errors not sent to clients: too many in a short time, or not permitted. */
  "udpIcmpSuppressed",
  /** Sockets that answer clients, one for each source port. */
  "udpReplySocketsNow",
  /** Answers sent through a raw socket, because another program holds their source port. */
  "udpReplyRaw",
  /** Datagrams not carried: the policy blocks them. */
  "udpBlocked",
  /** Paths of upstreams that could not be opened, or ended while their session was in use. */
  "udpUpstreamFailed",
  /** Datagrams not carried: their upstream has just failed, or carries no datagrams. */
  "udpUpstreamRefused",
  /** Datagrams not carried: too many waited for a path of an upstream, or it failed while they waited. */
  "udpWaitDrops",
  /** Datagrams of upstreams without a header that can be read, or from whom none can come. */
  "udpBadAnswers",
  /** Queries that were passed to a resolver of `--dns`. */
  "dnsQueries",
  /** Answers that were passed to clients. */
  "dnsAnswers",
  /** Queries that wait for an answer. */
  "dnsPendingNow",
  /** Queries that were sent once more, to the next resolver. */
  "dnsRetries",
  /** Queries that were also sent to a resolver that had failed, to see whether it answers again. */
  "dnsProbes",
  /** Queries that a resolver did not answer within 2 s. */
  "dnsTimeouts",
  /** Times a resolver refused (ICMP port unreachable) or could not be reached. */
  "dnsRefused",
  /** Queries that no resolver answered. */
  "dnsUnanswered",
  /** Queries dropped to make room for newer ones: too many waited. */
  "dnsEvicted",
  /** Queries dropped: too short, no queries, or with a question that cannot be read. */
  "dnsMalformed",
  /** Answers dropped: of an unknown id, to another question, or no answers. */
  "dnsMismatched",
  /** Queries dropped: no socket could be opened, or the kernel did not take them. */
  "dnsSendDrops",
  /** Flow records dropped because the ring was full. */
  "flowRecordsDropped",
  /** Flows that the policy module was asked about. */
  "policyAsked",
  /** Answers of the policy module that could not be used: it threw, or named no upstream. The rules decided. */
  "policyErrors",
  /** Answers of the policy module that came too late. The rules decided. */
  "policyLate",
  /** Flows that the policy module was not asked about, because it had been late too often. The rules decided. */
  "policyPassedOver",
] as const;

/** Name of one counter. */
export type CounterName = (typeof COUNTERS)[number];

/** Where each counter is in a worker's block. */
export const COUNTER_SLOTS = Object.fromEntries(COUNTERS.map((name, slot) => [name, slot])) as Readonly<
  Record<CounterName, number>
>;

/** Bytes of one worker's block. */
export const STATS_BYTES: number = COUNTERS.length * Float64Array.BYTES_PER_ELEMENT;

/** Slot of a counter: look it up once, then add to `counters[slot]`. */
export function counterSlot(name: CounterName): number {
  return COUNTER_SLOTS[name];
}

/** The sum over all workers' blocks, by name. */
export function sumCounters(blocks: Iterable<SharedArrayBuffer>): Record<CounterName, number> {
  const sum = Object.fromEntries(COUNTERS.map((name) => [name, 0])) as Record<CounterName, number>;
  for (const block of blocks) {
    const values = new Float64Array(block);
    COUNTERS.forEach((name, slot) => sum[name] += values[slot]!);
  }
  return sum;
}
