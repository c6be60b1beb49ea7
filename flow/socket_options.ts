/**
 * Options of sockets that leave this host, the same for connections, datagrams and upstreams.
 *
 * All return 0 or -errno.
 *
 * @module
 */
import {
  AF_INET,
  type Block,
  IP_BIND_ADDRESS_NO_PORT,
  IP_TOS,
  IP_TRANSPARENT,
  IPV6_TCLASS,
  IPV6_TRANSPARENT,
  SO_BINDTODEVICE,
  SO_MARK,
  SO_REUSEADDR,
  sockaddrFamily,
  sockaddrLength,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
  type Syscalls,
} from "../ffi/mod.ts";

/** Bytes of an interface's name with its final zero. */
export const IFNAMSIZ = 16;

/** What options are set with. */
export interface OptionMemory {
  readonly sys: Syscalls;
  /** The int 1. */
  readonly one: Block;
  /** Written before use, {@linkcode IFNAMSIZ} bytes or more. */
  readonly value: Block;
}

/** The mark of what it sends; 0: none, and nothing is asked of the kernel. */
export function setMark({ sys, value }: OptionMemory, fd: number, mark: number): number {
  if (mark === 0) return 0;
  value.words[0] = mark;
  return sys.setsockopt(fd, SOL_SOCKET, SO_MARK, value.pointer, 4);
}

/** What it sends leaves by this interface alone. */
export function bindToInterface({ sys, value }: OptionMemory, fd: number, name: string): number {
  const { written } = utf8.encodeInto(name, value.bytes);
  return sys.setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, value.pointer, written);
}

const utf8 = new TextEncoder();

/** The codepoint of what it sends: the upper six bits of the octet, of which the lower two are the kernel's (ECN). */
export function setCodepoint({ sys, value }: OptionMemory, fd: number, family: number, dscp: number): number {
  value.words[0] = dscp << 2;
  return family === AF_INET
    ? sys.setsockopt(fd, SOL_IP, IP_TOS, value.pointer, 4)
    : sys.setsockopt(fd, SOL_IPV6, IPV6_TCLASS, value.pointer, 4);
}

/** It may have an address that is not this host's. */
export function setTransparent({ sys, one }: OptionMemory, fd: number, family: number): number {
  return family === AF_INET
    ? sys.setsockopt(fd, SOL_IP, IP_TRANSPARENT, one.pointer, 4)
    : sys.setsockopt(fd, SOL_IPV6, IPV6_TRANSPARENT, one.pointer, 4);
}

/** Binds a socket that is going to connect to a client's address, and to its port unless that is 0. */
export function bindToClient(memory: OptionMemory, fd: number, client: Block): number {
  const { sys, one } = memory;
  let result = setTransparent(memory, fd, sockaddrFamily(client.bytes));
  // With the port: other connections of the same client endpoint, to other destinations, are bound to it too.
  // Without: the port is chosen on connect, when the destination is known and only the tuple must be unique.
  result ||= client.bytes[2] !== 0 || client.bytes[3] !== 0
    ? sys.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, one.pointer, 4)
    : sys.setsockopt(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, one.pointer, 4);
  return result || sys.bind(fd, client.pointer, sockaddrLength(client.bytes));
}
