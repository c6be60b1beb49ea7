/**
 * The sockets that intercepted datagrams arrive at: one a family, on every address, on this worker's own port.
 *
 * @module
 */
import {
  AF_INET,
  AF_INET6,
  errnoName,
  IP_RECVORIGDSTADDR,
  IP_RECVTOS,
  IPV6_RECVFRAGSIZE,
  IPV6_RECVORIGDSTADDR,
  IPV6_RECVTCLASS,
  IPV6_V6ONLY,
  isSyscallError,
  setTransparent,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SO_RCVMARK,
  SOCK_DGRAM,
  type Socket,
  type SocketFactory,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
  SOL_UDP,
  UDP_GRO,
} from "../ffi/mod.ts";
import { ANY_V4, ANY_V6 } from "../net/mod.ts";
import type { UdpSettings } from "./settings.ts";

/** Datagrams of all clients wait here while others are carried: some ms of what a network card can bring. */
const RECEIVE_BUFFER_BYTES = 8 << 20;

/**
 * Opens the listening socket of a family.
 *
 * @returns undefined where there is no IPv6: in the kernel (ipv6.disable=1) or in this network namespace.
 * @throws {SyscallError} EADDRINUSE; EPERM without CAP_NET_ADMIN.
 */
export function openListenerSocket(
  sockets: SocketFactory,
  settings: UdpSettings,
  family: 4 | 6,
): Socket | undefined {
  let socket: Socket | undefined;
  try {
    socket = sockets.open(family === 4 ? AF_INET : AF_INET6, SOCK_DGRAM);
    if (family === 4) setOptionsV4(socket);
    else setOptionsV6(socket);
    setTransparent(socket, family);
    socket.setInt(SOL_UDP, UDP_GRO, 1, "UDP_GRO");
    if (settings.dontFragmentMark !== 0) setWhereKnown(socket, SOL_SOCKET, SO_RCVMARK, 1, "SO_RCVMARK");
    // The limit net.core.rmem_max holds without CAP_NET_ADMIN in the first user namespace.
    setWhereKnown(socket, SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER_BYTES, "SO_RCVBUF");
    setWhereKnown(socket, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES, "SO_RCVBUFFORCE");
    socket.bind({ address: family === 4 ? ANY_V4 : ANY_V6, port: settings.port });
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

function setOptionsV4(socket: Socket): void {
  socket.setInt(SOL_IP, IP_RECVORIGDSTADDR, 1, "IP_RECVORIGDSTADDR");
  socket.setInt(SOL_IP, IP_RECVTOS, 1, "IP_RECVTOS");
}

function setOptionsV6(socket: Socket): void {
  socket.setInt(SOL_IPV6, IPV6_V6ONLY, 1, "IPV6_V6ONLY");
  socket.setInt(SOL_IPV6, IPV6_RECVORIGDSTADDR, 1, "IPV6_RECVORIGDSTADDR");
  socket.setInt(SOL_IPV6, IPV6_RECVTCLASS, 1, "IPV6_RECVTCLASS");
  socket.setInt(SOL_IPV6, IPV6_RECVFRAGSIZE, 1, "IPV6_RECVFRAGSIZE");
}

/** An option that may be missing (SO_RCVMARK before 5.19) or not ours to set: what it gives is done without. */
function setWhereKnown(socket: Socket, level: number, name: number, setting: number, option: string): void {
  try {
    socket.setInt(level, name, setting, option);
  } catch (error) {
    if (!isSyscallError(error)) throw error;
  }
}
