/**
 * Where a SOCKS5 server's relay of datagrams is, from what its reply says.
 *
 * The address in there may be any that the server chose to write. What cannot be sent to is found out here, where another
 * server can still be taken, and not by the first datagram.
 *
 * @module
 */
import {
  AF_INET,
  ENETUNREACH,
  isLoopbackDestination,
  setSockaddrPort,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  sockaddrFamily,
  sockaddrLength,
  sockaddrPort,
} from "../ffi/mod.ts";
import { setMark, type StreamFailure } from "../flow/mod.ts";
import type { UpstreamEnvironment } from "./environment.ts";
import { socketFailed, upstreamFailed } from "./failure.ts";
import { addressOf } from "./socks5_messages.ts";

/**
 * The sockaddr that datagrams go to, or why they cannot.
 *
 * @param bound what the reply says: a sockaddr, or the text of a name.
 * @param server sockaddr of the server, as it was dialled.
 */
export function relayOf(
  environment: UpstreamEnvironment,
  label: string,
  bound: Uint8Array | string,
  server: Uint8Array,
): Uint8Array | StreamFailure {
  if (typeof bound === "string") {
    return upstreamFailed(`${label}: its relay is at ${bound}, a name; an address is wanted`);
  }
  const port = sockaddrPort(bound);
  if (port === 0) return upstreamFailed(`${label}: its relay is at port 0`);
  const own = server.slice();
  setSockaddrPort(own, port);
  // Unspecified: its own address, by which we have reached it.
  if (addressOf(bound).every((byte) => byte === 0) || isSameHost(bound, own)) return own;
  const result = tryRoute(environment, bound, server);
  return result < 0 ? socketFailed(-result, `${label}: its relay cannot be reached`) : bound;
}

/** Whether datagrams can be sent there. @returns 0 or -errno. */
function tryRoute(environment: UpstreamEnvironment, relay: Uint8Array, server: Uint8Array): number {
  const { sys, address } = environment;
  // A server elsewhere must not have us talk to services on loopback, which trust whoever reaches them.
  if (!isLoopback(environment, server) && isLoopback(environment, relay)) return -ENETUNREACH;
  if (isMulticast(relay)) return -ENETUNREACH;
  const fd = sys.socket(sockaddrFamily(relay), SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return fd;
  const marked = setMark(environment, fd, environment.mark);
  address.bytes.set(relay);
  const result = marked || sys.connect(fd, address.pointer, sockaddrLength(relay));
  sys.close(fd);
  return result;
}

function isLoopback({ address }: UpstreamEnvironment, sockaddr: Uint8Array): boolean {
  address.bytes.set(sockaddr);
  return isLoopbackDestination(address.words, 0);
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
