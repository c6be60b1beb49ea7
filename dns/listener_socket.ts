/**
 * The sockets that redirected queries arrive at: one a family and worker, on every address.
 *
 * @module
 */
import {
  AF_INET,
  AF_INET6,
  errnoName,
  IP_PKTINFO,
  IPV6_RECVPKTINFO,
  IPV6_V6ONLY,
  isSyscallError,
  setReusePort,
  SO_MARK,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SOCK_DGRAM,
  type Socket,
  type SocketFactory,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
} from "../ffi/mod.ts";
import { ANY_V4, ANY_V6 } from "../net/mod.ts";
import type { DnsListenerSettings } from "./settings.ts";

/** A burst of queries waits here: some thousands, with what the kernel adds to each. */
const RECEIVE_BUFFER_BYTES = 4 << 20;

/**
 * Opens the listening socket of a family.
 *
 * @returns undefined where there is no IPv6: in the kernel (ipv6.disable=1) or in this network namespace.
 * @throws {SyscallError} EADDRINUSE; EPERM for a mark without CAP_NET_ADMIN.
 */
export function openListenerSocket(
  sockets: SocketFactory,
  { port, bypassMark }: DnsListenerSettings,
  family: 4 | 6,
): Socket | undefined {
  let socket: Socket | undefined;
  try {
    socket = sockets.open(family === 4 ? AF_INET : AF_INET6, SOCK_DGRAM);
    setReusePort(socket);
    if (family === 4) socket.setInt(SOL_IP, IP_PKTINFO, 1, "IP_PKTINFO");
    else {
      socket.setInt(SOL_IPV6, IPV6_V6ONLY, 1, "IPV6_V6ONLY");
      socket.setInt(SOL_IPV6, IPV6_RECVPKTINFO, 1, "IPV6_RECVPKTINFO");
    }
    setReceiveBuffer(socket);
    if (bypassMark !== 0) socket.setInt(SOL_SOCKET, SO_MARK, bypassMark, "SO_MARK");
    socket.bind({ address: family === 4 ? ANY_V4 : ANY_V6, port });
    return socket;
  } catch (error) {
    socket?.[Symbol.dispose]();
    if (family === 6 && isSyscallError(error)) {
      const name = errnoName(error.errno);
      if (name === "EAFNOSUPPORT" || name === "EADDRNOTAVAIL") return undefined;
    }
    throw error;
  }
}

/** Up to net.core.rmem_max, and beyond it where we may: with CAP_NET_ADMIN in the first user namespace. */
function setReceiveBuffer(socket: Socket): void {
  socket.setInt(SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER_BYTES, "SO_RCVBUF");
  try {
    socket.setInt(SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES, "SO_RCVBUFFORCE");
  } catch (error) {
    if (!isSyscallError(error)) throw error;
  }
}
