/**
 * Datagrams through a SOCKS5 server: asks for a relay (UDP ASSOCIATE) and keeps the stream that it lasts as long as.
 *
 * @module
 */
import {
  AF_INET,
  type Dialogue,
  EADDRNOTAVAIL,
  ENETUNREACH,
  isLoopbackDestination,
  setSockaddrPort,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCKADDR_IN6_BYTES,
  sockaddrFamily,
  sockaddrLength,
  sockaddrPort,
} from "../ffi/mod.ts";
import type { DatagramPath, DatagramRequest, DatagramUpstream, StreamFailure } from "../flow/mod.ts";
import { reach } from "./chain.ts";
import { setMark } from "./connect.ts";
import type { UpstreamEnvironment } from "./environment.ts";
import { socketFailed, upstreamFailed } from "./failure.ts";
import type { Socks5Hop } from "./socks5.ts";
import { Socks5Framing } from "./socks5_framing.ts";
import { addressOf } from "./socks5_messages.ts";

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
      if (!("bound" in answer)) return answer;
      const relay = this.#relayAt(answer.bound, server);
      if (!(relay instanceof Uint8Array)) return relay;
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

  /** The sockaddr that datagrams go to, or why they cannot. */
  #relayAt(bound: Uint8Array | string, server: Uint8Array): Uint8Array | StreamFailure {
    const { label } = this.#hop;
    if (typeof bound === "string") {
      return upstreamFailed(`${label}: its relay is at ${bound}, a name; an address is wanted`);
    }
    const port = sockaddrPort(bound);
    if (port === 0) return upstreamFailed(`${label}: its relay is at port 0`);
    const own = server.slice();
    setSockaddrPort(own, port);
    if (addressOf(bound).every((byte) => byte === 0) || isSameHost(bound, own)) return own;
    const result = this.#tryRoute(bound, server);
    return result < 0 ? socketFailed(-result, `${label}: its relay cannot be reached`) : bound;
  }

  /**
   * Whether datagrams can be sent to a relay at an address other than the server's, which may be any that the server
   * chose to write. @returns 0 or -errno.
   */
  #tryRoute(relay: Uint8Array, server: Uint8Array): number {
    const { sys, address } = this.#environment;
    if (!this.#isLoopback(server) && this.#isLoopback(relay)) return -EADDRNOTAVAIL;
    if (isMulticast(relay)) return -ENETUNREACH;
    const fd = sys.socket(sockaddrFamily(relay), SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return fd;
    address.bytes.set(relay);
    const result = setMark(this.#environment, fd, 0) ||
      sys.connect(fd, address.pointer, sockaddrLength(relay));
    sys.close(fd);
    return result;
  }

  #isLoopback(sockaddr: Uint8Array): boolean {
    const { address } = this.#environment;
    address.bytes.set(sockaddr);
    return isLoopbackDestination(address.words, 0);
  }
}

/** No address, no port, of the same family: we do not know yet where we shall send from. */
function anyOf(sockaddr: Uint8Array): Uint8Array {
  const any = new Uint8Array(SOCKADDR_IN6_BYTES);
  any[0] = sockaddr[0]!;
  return any;
}

function isSameHost(a: Uint8Array, b: Uint8Array): boolean {
  const address = addressOf(b);
  return sockaddrFamily(a) === sockaddrFamily(b) && addressOf(a).every((byte, i) => byte === address[i]);
}

/** 224.0.0.0/4 or ff00::/8. */
function isMulticast(sockaddr: Uint8Array): boolean {
  const first = addressOf(sockaddr)[0]!;
  return sockaddrFamily(sockaddr) === AF_INET ? first >> 4 === 14 : first === 0xff;
}
