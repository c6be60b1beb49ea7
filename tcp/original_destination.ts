/**
 * Where an accepted connection was really going.
 *
 * @module
 */
import {
  AF_INET,
  IP6T_SO_ORIGINAL_DST,
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
  unmapSockaddr,
} from "../ffi/mod.ts";
import type { TcpContext } from "./worker_context.ts";

/**
 * Writes the original destination of `fd` to `context.destination`; an IPv4 one as `sockaddr_in`.
 *
 * `tproxy`: it is the accepted socket's own name. Conntrack is not asked: after its entry has expired, a late
 * retransmission makes a new one with a wrong answer.
 *
 * `redirect`: conntrack knows (net/netfilter/nf_conntrack_proto.c, getorigdst). `context.peer` must hold the
 * peer's address: its family tells whose table to ask.
 *
 * @returns 0 or -errno; ENOENT (`redirect`): conntrack knows no such connection.
 */
export function readOriginalDestination(context: TcpContext, fd: number): number {
  const { sys, destination, length } = context;
  length.words[0] = SOCKADDR_IN6_BYTES;
  if (context.settings.mode === "tproxy") {
    const result = sys.getsockname(fd, destination.pointer, length.pointer);
    unmapSockaddr(destination.bytes);
    return result;
  }
  return sockaddrFamily(context.peer.bytes) === AF_INET
    ? sys.getsockopt(fd, SOL_IP, SO_ORIGINAL_DST, destination.pointer, length.pointer)
    : sys.getsockopt(fd, SOL_IPV6, IP6T_SO_ORIGINAL_DST, destination.pointer, length.pointer);
}

/**
 * Whether `context.destination` is a listener of ours: then nobody intercepted the connection, somebody dialled our
 * port, and carrying it would be a connection to ourselves without end.
 *
 * The port alone does not tell, for another host may serve the same port. An address is this host's if a socket
 * may be bound to it. (With net.ipv4.ip_nonlocal_bind=1 every address may: then connections to our port number
 * on other hosts are refused too, which is the safe side.)
 */
export function isOwnListener(context: TcpContext): boolean {
  const { sys, destination, settings } = context;
  const port = sockaddrPort(destination.bytes);
  if (!settings.ownPorts.includes(port)) return false;
  const probe = sys.socket(sockaddrFamily(destination.bytes), SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (probe < 0) return true;
  setSockaddrPort(destination.bytes, 0);
  const result = sys.bind(probe, destination.pointer, sockaddrLength(destination.bytes));
  setSockaddrPort(destination.bytes, port);
  sys.close(probe);
  return result === 0;
}
