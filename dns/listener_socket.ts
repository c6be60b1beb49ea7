/**
 * The sockets that redirected queries arrive at: one a family and worker, on every address.
 *
 * @module
 */
import {
  IP_PKTINFO,
  IPV6_RECVPKTINFO,
  setReusePort,
  SO_MARK,
  type Socket,
  type SocketFactory,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
} from "../ffi/mod.ts";
import { openDatagramListener } from "../flow/mod.ts";
import type { DnsListenerSettings } from "./settings.ts";

/** A burst of queries waits here: some thousands, with what the kernel adds to each. */
const RECEIVE_BUFFER_BYTES = 4 << 20;

/**
 * Opens the listening socket of a family.
 *
 * @returns undefined where there is no IPv6.
 * @throws {SyscallError} EADDRINUSE; EPERM for a mark that it may not have.
 */
export function openListenerSocket(
  sockets: SocketFactory,
  { port, bypassMark }: DnsListenerSettings,
  family: 4 | 6,
): Socket | undefined {
  return openDatagramListener(sockets, {
    family,
    port,
    receiveBufferBytes: RECEIVE_BUFFER_BYTES,
    prepare(socket) {
      setReusePort(socket);
      if (family === 4) socket.setInt(SOL_IP, IP_PKTINFO, 1, "IP_PKTINFO");
      else socket.setInt(SOL_IPV6, IPV6_RECVPKTINFO, 1, "IPV6_RECVPKTINFO");
      if (bypassMark !== 0) socket.setInt(SOL_SOCKET, SO_MARK, bypassMark, "SO_MARK");
    },
  });
}
