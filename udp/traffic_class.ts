/**
 * The octet of a packet's header that says how it wants to be treated (RFC 2474): a codepoint, and two bits of ECN.
 *
 * @module
 */

/** The part of the traffic class that is not the codepoint. */
const ECN_BITS = 3, CODEPOINT_SHIFT = 2;

/** What a datagram leaves with: the client's traffic class, with another codepoint where one is set. */
export function withCodepoint(trafficClass: number, dscp: number | undefined): number {
  return dscp === undefined ? trafficClass : trafficClass & ECN_BITS | dscp << CODEPOINT_SHIFT;
}
