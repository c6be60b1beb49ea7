/**
 * The sockets that intercepted datagrams arrive at: one a family, on every address, on this worker's own port.
 *
 * @module
 */
import {
  IP_PKTINFO,
  IP_RECVORIGDSTADDR,
  IP_RECVTOS,
  IPV6_RECVFRAGSIZE,
  IPV6_RECVORIGDSTADDR,
  IPV6_RECVPKTINFO,
  IPV6_RECVTCLASS,
  isSyscallError,
  setTransparent,
  SO_RCVMARK,
  type Socket,
  type SocketFactory,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
  SOL_UDP,
  UDP_GRO,
} from "../ffi/mod.ts";
import { openDatagramListener } from "../flow/mod.ts";
import type { UdpSettings } from "./settings.ts";
import type { UdpContext } from "./worker_context.ts";

/** Datagrams of all clients wait here while others are carried: some ms of what a network card can bring. */
const RECEIVE_BUFFER_BYTES = 8 << 20;

/**
 * Opens the listening socket of a family.
 *
 * @returns undefined where there is no IPv6.
 * @throws {SyscallError} EADDRINUSE; EPERM without CAP_NET_ADMIN.
 */
export function openListenerSocket(
  sockets: SocketFactory,
  settings: UdpSettings,
  family: 4 | 6,
): Socket | undefined {
  return openDatagramListener(sockets, {
    family,
    port: settings.port,
    receiveBufferBytes: RECEIVE_BUFFER_BYTES,
    prepare(socket) {
      if (family === 4) setOptionsV4(socket);
      else setOptionsV6(socket);
      setTransparent(socket, family);
      socket.setInt(SOL_UDP, UDP_GRO, 1, "UDP_GRO");
      if (settings.dontFragmentMark !== 0) receiveMarks(socket);
    },
  });
}

/** Whether the kernel is to tell by which interface each datagram came in: those that arrive from now on. */
export function tellInterfaces(
  { sys, one, zero }: UdpContext,
  fd: number,
  family: 4 | 6,
  tells: boolean,
): void {
  const [level, name] = family === 4 ? [SOL_IP, IP_PKTINFO] : [SOL_IPV6, IPV6_RECVPKTINFO];
  sys.setsockopt(fd, level, name, tells ? one.pointer : zero.pointer, 4);
}

function setOptionsV4(socket: Socket): void {
  socket.setInt(SOL_IP, IP_RECVORIGDSTADDR, 1, "IP_RECVORIGDSTADDR");
  socket.setInt(SOL_IP, IP_RECVTOS, 1, "IP_RECVTOS");
}

function setOptionsV6(socket: Socket): void {
  socket.setInt(SOL_IPV6, IPV6_RECVORIGDSTADDR, 1, "IPV6_RECVORIGDSTADDR");
  socket.setInt(SOL_IPV6, IPV6_RECVTCLASS, 1, "IPV6_RECVTCLASS");
  socket.setInt(SOL_IPV6, IPV6_RECVFRAGSIZE, 1, "IPV6_RECVFRAGSIZE");
}

/** SO_RCVMARK, which kernels before 5.19 do not know: what it tells is done without. */
function receiveMarks(socket: Socket): void {
  try {
    socket.setInt(SOL_SOCKET, SO_RCVMARK, 1, "SO_RCVMARK");
  } catch (error) {
    if (!isSyscallError(error)) throw error;
  }
}
