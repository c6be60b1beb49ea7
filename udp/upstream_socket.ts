/**
 * The socket of a session: opened, marked, and towards destinations bound to the port number that the client has.
 *
 * That one is not connected, so that it serves every destination and hears every remote (endpoint-independent mapping,
 * RFC 4787, REQ-1). One towards a relay is: from nobody else can an answer come.
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
  IPV6_MULTICAST_ALL,
  IPV6_RECVERR,
  IPV6_RECVTCLASS,
  IPV6_V6ONLY,
  setSockaddrPort,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  sockaddrFamily,
  sockaddrLength,
  sockaddrPort,
  SOL_IP,
  SOL_IPV6,
} from "../ffi/mod.ts";
import { bindToInterface, type DirectOptions, setMark, setTransparent } from "../flow/mod.ts";
import type { Carriage } from "./carriage.ts";

/** Tries for a port of the same parity before any port will do. */
const PARITY_TRIES = 16;
/** Ports to try, from the range that the IANA leaves to dynamic use (RFC 6335, section 6). */
const DYNAMIC_FIRST = 49_152, DYNAMIC_COUNT = 16_384;
const PORT_AT = 2, V4_ADDRESS_AT = 4, V6_ADDRESS_AT = 8;

/** As the settings have it. */
export const AS_SET: DirectOptions = { source: undefined, interface: undefined, mark: 0, dscp: undefined };

/**
 * Opens the socket of the client whose sockaddr is in `context.address`, which is changed.
 *
 * With source own it is bound to every address of this host; with keep to the client's, or where that port is taken
 * (the client may be a program on this host, or have a session by another route) to another port.
 *
 * @returns the descriptor, or -errno with nothing left open.
 */
export function openUpstreamSocket(context: Carriage, options: DirectOptions): number {
  const { sys, address } = context;
  const source = options.source ?? context.settings.source;
  const family = sockaddrFamily(address.bytes);
  const fd = sys.socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return fd;
  let result = setOptions(context, fd, family === AF_INET, options);
  if (source === "keep") result ||= setTransparent(context, fd, family);
  else {
    const addressAt = family === AF_INET ? V4_ADDRESS_AT : V6_ADDRESS_AT;
    address.bytes.fill(0, addressAt, sockaddrLength(address.bytes));
  }
  result ||= bindNear(context, fd, source === "own");
  if (result === 0) return fd;
  sys.close(fd);
  return result;
}

/**
 * Opens a socket that is connected to a relay, from any port: which one a client's datagrams seem to come from is the
 * relay's matter.
 *
 * @param relay sockaddr.
 * @returns the descriptor, or -errno with nothing left open.
 */
export function openRelaySocket(context: Carriage, relay: Uint8Array): number {
  const { sys, address } = context;
  const family = sockaddrFamily(relay);
  const fd = sys.socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return fd;
  let result = setOptions(context, fd, family === AF_INET, AS_SET);
  address.bytes.set(relay);
  result ||= sys.connect(fd, address.pointer, sockaddrLength(relay));
  if (result === 0) return fd;
  sys.close(fd);
  return result;
}

function setOptions(context: Carriage, fd: number, isV4: boolean, options: DirectOptions): number {
  const { sys, one } = context;
  const level = isV4 ? SOL_IP : SOL_IPV6;
  let result = sys.setsockopt(fd, level, isV4 ? IP_RECVERR : IPV6_RECVERR, one.pointer, 4);
  result ||= sys.setsockopt(fd, level, isV4 ? IP_RECVTOS : IPV6_RECVTCLASS, one.pointer, 4);
  result ||= setMark(context, fd, context.settings.bypassMark | options.mark);
  if (options.interface !== undefined) result ||= bindToInterface(context, fd, options.interface);
  // Or the port would be taken for IPv4 clients too.
  if (!isV4) result ||= sys.setsockopt(fd, SOL_IPV6, IPV6_V6ONLY, one.pointer, 4);
  // Or it would hear every group that any program of this host has joined.
  result ||= sys.setsockopt(fd, level, isV4 ? IP_MULTICAST_ALL : IPV6_MULTICAST_ALL, context.zero.pointer, 4);
  return result;
}

/** Binds to the port in `context.address`, else to one of the same parity (RFC 4787, REQ-4), else to any. */
function bindNear(context: Carriage, fd: number, isOwnAddress: boolean): number {
  const { address, settings } = context;
  const wanted = sockaddrPort(address.bytes);
  // A listening port of ours may be free while its worker is restarted, which needs it.
  const isOurs = wanted >= settings.firstPort && wanted < settings.firstPort + settings.workers;
  let result = isOurs && isOwnAddress ? -EADDRINUSE : bindTo(context, fd);
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
