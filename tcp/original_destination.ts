/**
 * Where an accepted connection was really going.
 *
 * @module
 */
import {
  AF_INET,
  AF_INET6,
  IP6T_SO_ORIGINAL_DST,
  isV4MappedSockaddr,
  setSockaddrPort,
  SO_ORIGINAL_DST,
  SOCK_CLOEXEC,
  SOCK_STREAM,
  SOCKADDR_IN6_BYTES,
  sockaddrFamily,
  sockaddrLength,
  sockaddrPort,
  SOL_IP,
  SOL_IPV6,
} from "../ffi/mod.ts";
import type { TcpContext } from "./worker_context.ts";

/**
 * Writes the original destination of `fd` to `context.destination`, in the address family of the listener.
 *
 * `tproxy`: it is the accepted socket's own name. Conntrack is not asked: after its entry has expired, a late
 * retransmission makes a new one with a wrong answer.
 *
 * `redirect`: conntrack knows (net/netfilter/nf_conntrack_proto.c, getorigdst). `context.peer` must hold the
 * peer's address: it tells which family's table to ask.
 *
 * @returns 0 or -errno; ENOENT (`redirect`): conntrack knows no such connection.
 */
export function readOriginalDestination(context: TcpContext, fd: number): number {
  const { sys, destination, length } = context;
  length.words[0] = SOCKADDR_IN6_BYTES;
  if (context.settings.mode === "tproxy") return sys.getsockname(fd, destination.pointer, length.pointer);
  const peerIsV6 = sockaddrFamily(context.peer.bytes) === AF_INET6;
  if (peerIsV6 && !isV4MappedSockaddr(context.peer.bytes)) {
    return sys.getsockopt(fd, SOL_IPV6, IP6T_SO_ORIGINAL_DST, destination.pointer, length.pointer);
  }
  const result = sys.getsockopt(fd, SOL_IP, SO_ORIGINAL_DST, destination.pointer, length.pointer);
  if (result === 0 && peerIsV6) mapToV6(destination.bytes);
  return result;
}

/** sockaddr_in to the sockaddr_in6 of the v4-mapped address, in place. */
function mapToV6(bytes: Uint8Array): void {
  bytes.copyWithin(20, 4, 8);
  bytes.fill(0, 4, 18);
  bytes.fill(0xff, 18, 20);
  bytes.fill(0, 24, 28);
  bytes[0] = AF_INET6;
}

/**
 * Whether `context.destination` is this worker's own listener: then nobody intercepted the connection, somebody
 * dialled our port, and carrying it would be a connection to ourselves without end.
 *
 * The port alone does not tell, for another host may serve the same port. An address is this host's if a socket
 * may be bound to it. (With net.ipv4.ip_nonlocal_bind=1 every address may: then connections to our port number
 * on other hosts are refused too, which is the safe side.)
 */
export function isOwnListener(context: TcpContext): boolean {
  const { sys, destination, settings } = context;
  if (sockaddrPort(destination.bytes) !== settings.port) return false;
  const family = sockaddrFamily(destination.bytes);
  const probe = sys.socket(family === AF_INET ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (probe < 0) return true;
  setSockaddrPort(destination.bytes, 0);
  const result = sys.bind(probe, destination.pointer, sockaddrLength(destination.bytes));
  setSockaddrPort(destination.bytes, settings.port);
  sys.close(probe);
  return result === 0;
}
