/**
 * Sockets that datagrams of clients arrive at: one a family, on every address.
 *
 * @module
 */
import {
  AF_INET,
  AF_INET6,
  IPV6_V6ONLY,
  meansNoIpv6,
  setReceiveBuffer,
  SOCK_DGRAM,
  type Socket,
  type SocketFactory,
  SOL_IPV6,
} from "../ffi/mod.ts";
import { ANY_V4, ANY_V6 } from "../net/mod.ts";

/** What is bound, and how. */
export interface DatagramListenerOptions {
  readonly family: 4 | 6;
  readonly port: number;
  readonly receiveBufferBytes: number;
  /** Sets what only some listeners want, before the socket is bound. */
  readonly prepare: (socket: Socket) => void;
}

/**
 * Opens the listening socket of a family.
 *
 * @returns undefined where there is no IPv6: in the kernel or in this network namespace.
 * @throws {SyscallError} EADDRINUSE, and what `prepare` throws.
 */
export function openDatagramListener(
  sockets: SocketFactory,
  { family, port, receiveBufferBytes, prepare }: DatagramListenerOptions,
): Socket | undefined {
  let socket: Socket | undefined;
  try {
    socket = sockets.open(family === 4 ? AF_INET : AF_INET6, SOCK_DGRAM);
    // Each family's own socket has the port.
    if (family === 6) socket.setInt(SOL_IPV6, IPV6_V6ONLY, 1, "IPV6_V6ONLY");
    prepare(socket);
    setReceiveBuffer(socket, receiveBufferBytes);
    socket.bind({ address: family === 4 ? ANY_V4 : ANY_V6, port });
    return socket;
  } catch (error) {
    socket?.[Symbol.dispose]();
    if (family === 6 && meansNoIpv6(error)) return undefined;
    throw error;
  }
}
