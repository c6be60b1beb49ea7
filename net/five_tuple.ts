/**
 * The five-tuple: protocol, source and destination. What a connection would have been without us.
 *
 * @module
 */
import { type ClientAddr, formatEndpoint, type OrigDst } from "./endpoint.ts";

/** Transport protocols that can be intercepted. */
export type Protocol = "tcp" | "udp";

/** A flow as the intercepted program and its peer know it. */
export interface FiveTuple {
  /** Transport protocol. */
  readonly protocol: Protocol;
  /** Source, as the destination would have seen it. */
  readonly client: ClientAddr;
  /** Destination, as the client dialled it. */
  readonly destination: OrigDst;
}

/** For example `tcp 192.0.2.7:41234 -> [2001:db8::1]:443`. */
export function formatFiveTuple(tuple: FiveTuple): string {
  return `${tuple.protocol} ${formatEndpoint(tuple.client)} -> ${formatEndpoint(tuple.destination)}`;
}
