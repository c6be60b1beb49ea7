/**
 * The checked tier: a socket that owns its descriptor, and one function an option. Errors are exceptions.
 *
 * For set-up and rare paths; what happens for each connection or each packet uses the raw tier.
 *
 * @module
 */
import type { Endpoint } from "../net/mod.ts";
import type { Arena, Block } from "./arena.ts";
import {
  IP_TRANSPARENT,
  IPV6_TRANSPARENT,
  IPV6_V6ONLY,
  SO_KEEPALIVE,
  SO_OOBINLINE,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
  SOL_TCP,
  TCP_KEEPCNT,
  TCP_KEEPIDLE,
  TCP_KEEPINTVL,
  TCP_NODELAY,
  TCP_USER_TIMEOUT,
} from "./constants.ts";
import { checked, isSyscallError } from "./errno.ts";
import { decodeSockaddr, encodeSockaddr, SOCKADDR_IN6_BYTES } from "./sockaddr.ts";
import type { Syscalls } from "./syscalls.ts";

/** Opens sockets: holds the system calls and the scratch memory that their arguments pass through. */
export class SocketFactory {
  readonly sys: Syscalls;
  readonly address: Block;
  readonly value: Block;

  constructor(sys: Syscalls, arena: Arena) {
    this.sys = sys;
    this.address = arena.allocate(SOCKADDR_IN6_BYTES);
    this.value = arena.allocate(8);
  }

  /**
   * A non-blocking socket, closed on exec.
   *
   * @param domain AF_INET or AF_INET6.
   * @param type SOCK_STREAM or SOCK_DGRAM.
   * @throws {SyscallError} EAFNOSUPPORT where the kernel has no IPv6; EMFILE, ENFILE, ENOBUFS.
   */
  open(domain: number, type: number): Socket {
    const fd = checked("socket", this.sys.socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    return new Socket(this, fd);
  }
}

/** A socket and the duty to close it. */
export class Socket implements Disposable {
  readonly #factory: SocketFactory;
  #fd: number;

  constructor(factory: SocketFactory, fd: number) {
    this.#factory = factory;
    this.#fd = fd;
  }

  /** The descriptor; -1 once closed or released. */
  get fd(): number {
    return this.#fd;
  }

  /** Hands the descriptor to somebody who will close it. */
  release(): number {
    const fd = this.#fd;
    this.#fd = -1;
    return fd;
  }

  /** bind(2). @throws {SyscallError} EADDRINUSE, EADDRNOTAVAIL, EACCES. */
  bind(endpoint: Endpoint): void {
    const { sys, address } = this.#factory;
    const length = encodeSockaddr(endpoint, address.bytes);
    checked("bind", sys.bind(this.#fd, address.pointer, length));
  }

  /** listen(2); the kernel lowers `backlog` to net.core.somaxconn. */
  listen(backlog: number): void {
    checked("listen", this.#factory.sys.listen(this.#fd, backlog));
  }

  /** getsockname(2). */
  localEndpoint(): Endpoint {
    const { sys, address, value } = this.#factory;
    value.words[0] = SOCKADDR_IN6_BYTES;
    checked("getsockname", sys.getsockname(this.#fd, address.pointer, value.pointer));
    return decodeSockaddr(address.bytes)!;
  }

  /** setsockopt(2) with an int. @throws {SyscallError} EPERM, ENOPROTOOPT, EINVAL; the text names `option`. */
  setInt(level: number, name: number, setting: number, option: string): void {
    const { sys, value } = this.#factory;
    value.words[0] = setting;
    checked("setsockopt", sys.setsockopt(this.#fd, level, name, value.pointer, 4), option);
  }

  [Symbol.dispose](): void {
    if (this.#fd < 0) return;
    this.#factory.sys.close(this.#fd);
    this.#fd = -1;
  }
}

/** SO_REUSEADDR (socket(7)): bind although connections of an earlier listener linger in TIME_WAIT. */
export function setReuseAddress(socket: Socket): void {
  socket.setInt(SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
}

/** SO_REUSEPORT (socket(7)): several listeners on one port, connections spread by a hash of the four-tuple. */
export function setReusePort(socket: Socket): void {
  socket.setInt(SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT");
}

/** IPV6_V6ONLY off (ipv6(7)): an IPv6 listener that takes IPv4 as well, as ::ffff:a.b.c.d. */
export function setDualStack(socket: Socket): void {
  socket.setInt(SOL_IPV6, IPV6_V6ONLY, 0, "IPV6_V6ONLY");
}

/**
 * IP_TRANSPARENT (ip(7)) or IPV6_TRANSPARENT: accept and bind addresses that are not this host's. Both set the
 * same bit of the socket, and one dual-stack socket needs only the IPv6 one.
 *
 * @throws {SyscallError} EPERM without CAP_NET_ADMIN.
 */
export function setTransparent(socket: Socket, family: 4 | 6): void {
  if (family === 4) socket.setInt(SOL_IP, IP_TRANSPARENT, 1, "IP_TRANSPARENT");
  else socket.setInt(SOL_IPV6, IPV6_TRANSPARENT, 1, "IPV6_TRANSPARENT");
}

/** SO_RCVBUF, up to net.core.rmem_max, and beyond it where we may: with CAP_NET_ADMIN in the first user namespace. */
export function setReceiveBuffer(socket: Socket, bytes: number): void {
  socket.setInt(SOL_SOCKET, SO_RCVBUF, bytes, "SO_RCVBUF");
  try {
    socket.setInt(SOL_SOCKET, SO_RCVBUFFORCE, bytes, "SO_RCVBUFFORCE");
  } catch (error) {
    if (!isSyscallError(error)) throw error;
  }
}

/** TCP_NODELAY (tcp(7)); an accepted socket has what its listener had. */
export function setNoDelay(socket: Socket): void {
  socket.setInt(SOL_TCP, TCP_NODELAY, 1, "TCP_NODELAY");
}

/** SO_OOBINLINE (socket(7)): urgent data stays in its place in the stream; inherited by accepted sockets. */
export function setUrgentInline(socket: Socket): void {
  socket.setInt(SOL_SOCKET, SO_OOBINLINE, 1, "SO_OOBINLINE");
}

/** SO_KEEPALIVE: first probe after `idleSeconds`, then `probes` more, `intervalSeconds` apart (tcp(7)). */
export function setKeepalive(
  socket: Socket,
  idleSeconds: number,
  intervalSeconds: number,
  probes: number,
): void {
  socket.setInt(SOL_SOCKET, SO_KEEPALIVE, 1, "SO_KEEPALIVE");
  socket.setInt(SOL_TCP, TCP_KEEPIDLE, idleSeconds, "TCP_KEEPIDLE");
  socket.setInt(SOL_TCP, TCP_KEEPINTVL, intervalSeconds, "TCP_KEEPINTVL");
  socket.setInt(SOL_TCP, TCP_KEEPCNT, probes, "TCP_KEEPCNT");
}

/** TCP_USER_TIMEOUT (tcp(7)): give up when sent data stays unacknowledged for so many milliseconds. */
export function setUserTimeout(socket: Socket, timeoutMs: number): void {
  socket.setInt(SOL_TCP, TCP_USER_TIMEOUT, timeoutMs, "TCP_USER_TIMEOUT");
}
