/**
 * What a policy may ask about the datagram that an inbox looks at.
 *
 * @module
 */
import { IPPROTO_UDP, SOCK_DIAG_BYTES, SockDiag } from "../ffi/mod.ts";
import type { FlowFacts } from "../flow/mod.ts";
import type { Inbox } from "./inbox.ts";
import type { UdpContext } from "./worker_context.ts";

/** Its index in every network namespace; what comes in by it is this host's own. */
const LO_INDEX = 1;
const CODEPOINT_SHIFT = 2;

/** Arena bytes that they take. */
export const DATAGRAM_FACTS_BYTES = SOCK_DIAG_BYTES;

/** Facts of one datagram after the other. */
export class DatagramFacts implements FlowFacts {
  readonly #inbox: Inbox;
  readonly #words: Int32Array;
  readonly #diag: SockDiag;
  #clientAt = 0;

  constructor({ sys, arena }: UdpContext, inbox: Inbox) {
    this.#inbox = inbox;
    this.#words = arena.words;
    this.#diag = new SockDiag(sys, arena);
  }

  /** From now on the client is the one whose sockaddr is at that word. */
  begin(clientAt: number): void {
    this.#clientAt = clientAt;
  }

  interfaceIndex(): number {
    const { interfaceIndex } = this.#inbox;
    return interfaceIndex === LO_INDEX ? 0 : interfaceIndex;
  }

  dscp(): number {
    return this.#inbox.trafficClass >> CODEPOINT_SHIFT;
  }

  uid(): number {
    // Of what comes from elsewhere, a socket of this host with that port on every address would be taken for the sender.
    if (this.#inbox.interfaceIndex !== LO_INDEX) return -1;
    return this.#diag.ownerOf(IPPROTO_UDP, this.#words, this.#clientAt, this.#inbox.destinationAt >> 2);
  }

  close(): void {
    this.#diag.close();
  }
}
