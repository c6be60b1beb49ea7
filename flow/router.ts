/**
 * Which way a new flow leaves, as tcp/ and udp/ ask it.
 *
 * @module
 */
import type { DatagramUpstream, DirectOptions, StreamUpstream } from "./upstream.ts";

/** What a policy may ask about a flow beside its two endpoints. Each costs a system call, so only where a rule asks. */
export interface FlowFacts {
  /** Index of the interface that its first packet came in by; 0: not known, or this host's own. */
  interfaceIndex(): number;
  /** Differentiated services codepoint of its first packet, 0 to 63; -1: not known. */
  dscp(): number;
  /** User that owns the sending socket, where that is on this host; -1: not known. */
  uid(): number;
}

/** From here, as without a policy, or with other options on the socket. */
export interface DirectRoute extends DirectOptions {
  readonly kind: "direct";
  /** Number of the route, as the policy has it, less than 256. */
  readonly id: number;
  readonly name: string;
}

/** Not at all. */
export interface BlockRoute {
  readonly kind: "block";
  readonly id: number;
  readonly name: string;
  /**
   * `reset`: TCP is reset, of UDP the client is told by ICMP that the port is unreachable; `icmp`: the same, but told that
   * it is prohibited; `drop`: nobody hears anything.
   */
  readonly how: "reset" | "icmp" | "drop";
}

/** By an upstream, or a group of them. */
export interface UpstreamRoute {
  readonly kind: "upstream";
  readonly id: number;
  readonly name: string;
  readonly streams: StreamUpstream;
  /** undefined: it carries none, and they are treated as blocked with `icmp`. */
  readonly datagrams: DatagramUpstream | undefined;
  readonly connectTimeoutMs: number;
}

/** One way for flows to leave. */
export type Route = DirectRoute | BlockRoute | UpstreamRoute;

/** Decides for each new flow. Exchanged as a whole when the configuration is read again. */
export interface Router {
  /** Whether every flow leaves by this one route, so that nothing has to be asked. */
  readonly only: Route | undefined;
  /**
   * The route of a new flow.
   *
   * @param network IPPROTO_TCP or IPPROTO_UDP.
   * @param words the arena's.
   * @param clientAt offset in words of the client's sockaddr (v4 not mapped).
   * @param destinationAt the same of the destination's.
   */
  choose(
    network: number,
    words: Int32Array,
    clientAt: number,
    destinationAt: number,
    facts: FlowFacts,
  ): Route;
}

/** Where a worker's listeners find the router of the day. Flows that there are keep the routes that they were given. */
export interface Routing {
  current: Router;
}
