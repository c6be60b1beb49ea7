/**
 * The socket of a session towards destinations: opened, marked, and bound to the port number that the client has.
 *
 * It is not connected, so that it serves every destination and hears every remote (endpoint-independent mapping,
 * RFC 4787, REQ-1).
 *
 * @module
 */
import {
  AF_INET,
  EACCES,
  EADDRINUSE,
  EADDRNOTAVAIL,
  IP_MULTICAST_ALL,
  IP_RECVERR,
  IP_RECVTOS,
  IP_TRANSPARENT,
  IPV6_MULTICAST_ALL,
  IPV6_RECVERR,
  IPV6_RECVTCLASS,
  IPV6_TRANSPARENT,
  IPV6_V6ONLY,
  setSockaddrPort,
  SO_MARK,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  sockaddrFamily,
  sockaddrLength,
  sockaddrPort,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
} from "../ffi/mod.ts";
import type { Carriage } from "./carriage.ts";

/** Tries for a port of the same parity before any port will do. */
const PARITY_TRIES = 16;
/** Ports to try, from the range that the IANA leaves to dynamic use (RFC 6335, section 6). */
const DYNAMIC_FIRST = 49_152, DYNAMIC_COUNT = 16_384;
const PORT_AT = 2, V4_ADDRESS_AT = 4, V6_ADDRESS_AT = 8;

/**
 * Opens the socket of the client whose sockaddr is in `context.address`, which is changed.
 *
 * With source own it is bound to every address of this host; with keep to the client's, or where that port is taken
 * (the client may be a program on this host) to the client's address alone.
 *
 * @returns the descriptor, or -errno with nothing left open.
 */
export function openUpstreamSocket(context: Carriage): number {
  const { sys, address, settings } = context;
  const family = sockaddrFamily(address.bytes);
  const fd = sys.socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return fd;
  let result = setOptions(context, fd, family === AF_INET);
  if (settings.source === "own") {
    const addressAt = family === AF_INET ? V4_ADDRESS_AT : V6_ADDRESS_AT;
    address.bytes.fill(0, addressAt, sockaddrLength(address.bytes));
  }
  result ||= bindNear(context, fd);
  if (result === 0) return fd;
  sys.close(fd);
  return result;
}

function setOptions(context: Carriage, fd: number, isV4: boolean): number {
  const { sys, settings, one } = context;
  const level = isV4 ? SOL_IP : SOL_IPV6;
  let result = sys.setsockopt(fd, level, isV4 ? IP_RECVERR : IPV6_RECVERR, one.pointer, 4);
  result ||= sys.setsockopt(fd, level, isV4 ? IP_RECVTOS : IPV6_RECVTCLASS, one.pointer, 4);
  if (settings.bypassMark !== 0) {
    result ||= sys.setsockopt(fd, SOL_SOCKET, SO_MARK, context.bypassMark.pointer, 4);
  }
  // Or the port would be taken for IPv4 clients too.
  if (!isV4) result ||= sys.setsockopt(fd, SOL_IPV6, IPV6_V6ONLY, one.pointer, 4);
  // Or it would hear every group that any program of this host has joined.
  result ||= sys.setsockopt(fd, level, isV4 ? IP_MULTICAST_ALL : IPV6_MULTICAST_ALL, context.zero.pointer, 4);
  if (settings.source === "keep") {
    result ||= sys.setsockopt(fd, level, isV4 ? IP_TRANSPARENT : IPV6_TRANSPARENT, one.pointer, 4);
  }
  return result;
}

/** Binds to the port in `context.address`, else to one of the same parity (RFC 4787, REQ-4), else to any. */
function bindNear(context: Carriage, fd: number): number {
  const { address, settings } = context;
  const wanted = sockaddrPort(address.bytes);
  // A listening port of ours may be free while its worker is restarted, which needs it.
  const isOurs = wanted >= settings.firstPort && wanted < settings.firstPort + settings.workers;
  let result = isOurs && settings.source === "own" ? -EADDRINUSE : bindTo(context, fd);
  // A reply socket can have it again when it is needed, beside the session.
  if (result === -EADDRINUSE && context.answers.giveUpPort(address.words[0]!)) result = bindTo(context, fd);
  if (!isTaken(result)) return result;
  for (let i = 0; i < PARITY_TRIES && isTaken(result); i++) {
    const even = DYNAMIC_FIRST + (context.random() % DYNAMIC_COUNT & ~1);
    setSockaddrPort(address.bytes, even | wanted & 1);
    result = bindTo(context, fd);
  }
  if (isTaken(result)) {
    address.bytes.fill(0, PORT_AT, PORT_AT + 2);
    result = bindTo(context, fd);
  }
  if (result === 0) context.count("udpSourcePortChanged");
  return result;
}

function bindTo(context: Carriage, fd: number): number {
  return context.sys.bind(fd, context.address.pointer, sockaddrLength(context.address.bytes));
}

/** A port below 1024 without CAP_NET_BIND_SERVICE is as good as taken. */
function isTaken(result: number): boolean {
  return result === -EADDRINUSE || result === -EACCES || result === -EADDRNOTAVAIL;
}
