/**
 * Datagrams through a SOCKS5 server: asks for a relay (UDP ASSOCIATE) and keeps the stream that it lasts as long as.
 *
 * @module
 */
import {
  type Dialogue,
  SO_KEEPALIVE,
  SOCKADDR_IN6_BYTES,
  SOL_SOCKET,
  SOL_TCP,
  TCP_KEEPCNT,
  TCP_KEEPIDLE,
  TCP_KEEPINTVL,
} from "../ffi/mod.ts";
import type { DatagramPath, DatagramRequest, DatagramUpstream, StreamFailure } from "../flow/mod.ts";
import { reach } from "./chain.ts";
import type { UpstreamEnvironment } from "./environment.ts";
import type { Socks5Hop } from "./socks5.ts";
import { Socks5Framing } from "./socks5_framing.ts";
import { relayOf } from "./socks5_relay.ts";

/** The datagrams of a SOCKS5 upstream. */
export class Socks5Datagrams implements DatagramUpstream {
  readonly name: string;
  readonly #environment: UpstreamEnvironment;
  readonly #hop: Socks5Hop;
  readonly #framing: Socks5Framing;

  constructor(environment: UpstreamEnvironment, name: string, hop: Socks5Hop) {
    this.name = name;
    this.#environment = environment;
    this.#hop = hop;
    this.#framing = new Socks5Framing(environment.arena);
  }

  *openDatagrams(request: DatagramRequest): Dialogue<DatagramPath | StreamFailure> {
    const { reactor, sys } = this.#environment;
    const deadlineMs = Math.min(request.deadlineMs, reactor.now + this.#hop.timeoutMs);
    // It has no server but its own: the client stands in for a target that is never asked for.
    const reached = yield* reach(this.#environment, this.#hop, request.client, deadlineMs);
    if ("detail" in reached) return reached;
    const control = reached.fd;
    let isKept = false;
    try {
      const server = this.#hop.server as Uint8Array;
      const answer = yield* this.#hop.associate(control, anyOf(server), deadlineMs);
      // It was asked for nobody's destination: whatever keeps it from relaying is its own affair.
      if (!("bound" in answer)) return { ...answer, atUpstream: true };
      const relay = relayOf(this.#environment, this.#hop.label, answer.bound, server);
      if (!(relay instanceof Uint8Array)) return relay;
      this.#probe(control);
      reactor.remove(control);
      isKept = true;
      return { relay, framing: this.#framing, control };
    } finally {
      if (!isKept) {
        reactor.forget(control);
        sys.close(control);
      }
    }
  }

  /**
   * Nothing is ever said on a control stream: that its server is gone, with the relay, only keepalive probes tell. A
   * client that keeps sending would otherwise send to nobody for ever.
   */
  #probe(control: number): void {
    const { sys, one, value } = this.#environment;
    sys.setsockopt(control, SOL_SOCKET, SO_KEEPALIVE, one.pointer, 4);
    for (const [name, setting] of PROBES) {
      value.words[0] = setting;
      sys.setsockopt(control, SOL_TCP, name, value.pointer, 4);
    }
  }
}

/** Idle seconds before a control stream is probed, between two probes, and how many may go unanswered. */
const PROBES: readonly (readonly [name: number, setting: number])[] = [
  [TCP_KEEPIDLE, 30],
  [TCP_KEEPINTVL, 10],
  [TCP_KEEPCNT, 3],
];

/** No address, no port, of the same family: we do not know yet where we shall send from. */
function anyOf(sockaddr: Uint8Array): Uint8Array {
  const any = new Uint8Array(SOCKADDR_IN6_BYTES);
  any[0] = sockaddr[0]!;
  return any;
}
