/**
 * The listening socket: one a worker on the same port, every address, both families.
 *
 * @module
 */
import { ANY_V4, ANY_V6 } from "../net/mod.ts";
import {
  AF_INET,
  AF_INET6,
  meansNoIpv6,
  setDualStack,
  setKeepalive,
  setNoDelay,
  setReuseAddress,
  setReusePort,
  setTransparent,
  setUrgentInline,
  setUserTimeout,
  SO_MARK,
  SOCK_STREAM,
  type Socket,
  type SocketFactory,
  SOL_SOCKET,
} from "../ffi/mod.ts";
import { KEEPALIVE_INTERVAL_SECONDS, KEEPALIVE_PROBES } from "./liveness.ts";
import type { TcpSettings } from "./settings.ts";

/** The kernel lowers it to net.core.somaxconn; it also bounds half-open connections (tcp(7)). */
export const BACKLOG = 65535;

/** A listener, and whether it takes IPv6 as well as IPv4. */
export interface ListenerSocket {
  readonly socket: Socket;
  readonly dualStack: boolean;
}

/**
 * Opens the listener: dual-stack, or IPv4 alone on a kernel without IPv6.
 *
 * Options set here are inherited by every accepted socket, which saves setting them there.
 *
 * @throws {SyscallError} EADDRINUSE; EPERM without CAP_NET_ADMIN (for `tproxy`, and for a mark).
 */
export function openListenerSocket(sockets: SocketFactory, settings: TcpSettings): ListenerSocket {
  try {
    return { socket: open(sockets, settings, true), dualStack: true };
  } catch (error) {
    if (!meansNoIpv6(error)) throw error;
    return { socket: open(sockets, settings, false), dualStack: false };
  }
}

function open(sockets: SocketFactory, settings: TcpSettings, dualStack: boolean): Socket {
  const socket = sockets.open(dualStack ? AF_INET6 : AF_INET, SOCK_STREAM);
  try {
    setReuseAddress(socket);
    setReusePort(socket);
    if (dualStack) setDualStack(socket);
    if (settings.mode === "tproxy") setTransparent(socket, dualStack ? 6 : 4);
    if (settings.listenerMark !== 0) {
      socket.setInt(SOL_SOCKET, SO_MARK, settings.listenerMark, "SO_MARK");
    }
    setNoDelay(socket);
    setUrgentInline(socket);
    if (settings.keepaliveSeconds > 0) {
      setKeepalive(socket, settings.keepaliveSeconds, KEEPALIVE_INTERVAL_SECONDS, KEEPALIVE_PROBES);
    }
    if (settings.userTimeoutMs > 0) setUserTimeout(socket, settings.userTimeoutMs);
    socket.bind({ address: dualStack ? ANY_V6 : ANY_V4, port: settings.port });
    socket.listen(BACKLOG);
    return socket;
  } catch (error) {
    socket[Symbol.dispose]();
    throw error;
  }
}
