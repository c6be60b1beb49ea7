/**
 * The socket towards the destination: opened, marked, bound to the client's address where that is to be kept,
 * and sent off to connect.
 *
 * @module
 */
import {
  AF_INET,
  EACCES,
  EADDRINUSE,
  EADDRNOTAVAIL,
  EINPROGRESS,
  IP_BIND_ADDRESS_NO_PORT,
  IP_TOS,
  IP_TRANSPARENT,
  IPV6_TCLASS,
  IPV6_TRANSPARENT,
  setSockaddrPort,
  SO_BINDTODEVICE,
  SO_MARK,
  SO_REUSEADDR,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  sockaddrFamily,
  sockaddrLength,
  sockaddrPort,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
  SOL_TCP,
  TCP_NODELAY,
  TCP_QUICKACK,
} from "../ffi/mod.ts";
import type { DirectRoute, Route } from "../flow/mod.ts";
import type { DialSource } from "./settings.ts";
import type { TcpContext } from "./worker_context.ts";

/**
 * Opens a socket and begins to connect it to `context.destination`, from `context.peer` where the client's
 * address is kept; the port in there may be another one afterwards.
 *
 * @param hasData whether the client has already sent something: then the packet that completes the handshake
 * waits to carry it, which saves one; {@linkcode acknowledgeAtOnce} is due when it has been sent.
 * @returns the descriptor, connecting; or -errno, with nothing left open.
 */
export function dial(context: TcpContext, hasData: boolean): number {
  return dialAs(context, context.settings.source, undefined, hasData);
}

/** The same with the options of a route. */
export function dialByRoute(context: TcpContext, route: DirectRoute, hasData: boolean): number {
  const { source } = context.settings;
  // An address that the settings name is what rules tell the connection by.
  const wanted = typeof source === "string" ? route.source ?? source : source;
  // The client's endpoint is only to be had where nothing else holds it, as the settings know.
  return dialAs(context, wanted === "keep" && source === "keepAddress" ? source : wanted, route, hasData);
}

/** Whether `route` leaves from here like any connection did before there were routes. */
export function isPlain(route: Route): route is DirectRoute {
  return route.kind === "direct" && route.source === undefined && route.interface === undefined &&
    route.mark === 0 && route.dscp === undefined;
}

function dialAs(
  context: TcpContext,
  source: DialSource,
  route: DirectRoute | undefined,
  hasData: boolean,
): number {
  const { peer } = context;
  if (source === "own") return connectFrom(context, "own", route, hasData);
  if (typeof source !== "string") return connectFrom(context, "fixed", route, hasData);
  if (source === "keepAddress") setSockaddrPort(peer.bytes, farPort(sockaddrPort(peer.bytes)));
  // The client's very tuple may be taken: by the client itself when it runs on this host, or by an earlier
  // connection of it in TIME_WAIT here. Its address is then still worth keeping.
  const fd = connectFrom(context, "endpoint", route, hasData);
  if (fd !== -EADDRINUSE && fd !== -EADDRNOTAVAIL) return fd;
  setSockaddrPort(context.peer.bytes, 0);
  const changed = connectFrom(context, "address", route, hasData);
  if (changed >= 0) context.count("tcpSourcePortChanged");
  return changed;
}

const utf8 = new TextEncoder();

const FIRST_FREE_PORT = 1024, FREE_PORTS = 65536 - FIRST_FREE_PORT;

/**
 * Another port, half of all ports away. Each port has one of its own, so that no two connections of a client want the
 * same; and clients draw their ports from a narrower range (Linux from 28,232, others from 16,384), so that none of
 * them soon has for itself what another one was given here.
 */
export function farPort(port: number): number {
  const from = Math.max(0, port - FIRST_FREE_PORT);
  return FIRST_FREE_PORT + (from + FREE_PORTS / 2) % FREE_PORTS;
}

/** The same from this host's own address, whatever `--source` says. */
export function dialFromHere(context: TcpContext, hasData: boolean): number {
  return connectFrom(context, "own", undefined, hasData);
}

/** The client's endpoint, its address alone, the addresses that the settings name, or as routing has it. */
type Source = "endpoint" | "address" | "fixed" | "own";

function connectFrom(
  context: TcpContext,
  source: Source,
  route: DirectRoute | undefined,
  hasData: boolean,
): number {
  const { sys, destination } = context;
  const family = sockaddrFamily(destination.bytes);
  const fd = sys.socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return fd;
  let result = setOptions(context, fd);
  if (route !== undefined) result ||= setRouteOptions(context, fd, family, route);
  if (result === 0 && source === "fixed") result = bindToFixed(context, fd, family);
  else if (result === 0 && source !== "own") result = bindToClient(context, fd, source === "endpoint");
  if (hasData) sys.setsockopt(fd, SOL_TCP, TCP_QUICKACK, context.zero.pointer, 4);
  if (result === 0) result = sys.connect(fd, destination.pointer, sockaddrLength(destination.bytes));
  if (result === 0 || result === -EINPROGRESS) return fd;
  sys.close(fd);
  return result;
}

/**
 * Ends the delaying of acknowledgements that {@linkcode dial} began: a server that writes twice with Nagle's
 * algorithm on would otherwise wait 40 ms between the two.
 */
export function acknowledgeAtOnce(context: TcpContext, fd: number): void {
  context.sys.setsockopt(fd, SOL_TCP, TCP_QUICKACK, context.one.pointer, 4);
}

function setOptions(context: TcpContext, fd: number): number {
  const { sys, settings, one } = context;
  let result = sys.setsockopt(fd, SOL_TCP, TCP_NODELAY, one.pointer, 4);
  if (settings.dialMark !== 0) {
    result ||= sys.setsockopt(fd, SOL_SOCKET, SO_MARK, context.mark.pointer, 4);
  }
  return result;
}

function setRouteOptions(context: TcpContext, fd: number, family: number, route: DirectRoute): number {
  const { sys, settings, value, device } = context;
  let result = 0;
  if (route.mark !== 0) {
    value.words[0] = settings.dialMark | route.mark;
    result ||= sys.setsockopt(fd, SOL_SOCKET, SO_MARK, value.pointer, 4);
  }
  if (route.interface !== undefined) {
    const { written } = utf8.encodeInto(route.interface, device.bytes);
    result ||= sys.setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device.pointer, written);
  }
  if (route.dscp !== undefined) {
    // The codepoint is the upper six bits of the octet; the lower two are the kernel's (ECN).
    value.words[0] = route.dscp << 2;
    result ||= family === AF_INET
      ? sys.setsockopt(fd, SOL_IP, IP_TOS, value.pointer, 4)
      : sys.setsockopt(fd, SOL_IPV6, IPV6_TCLASS, value.pointer, 4);
  }
  return result;
}

function bindToFixed(context: TcpContext, fd: number, family: number): number {
  const { sys, one, fixedSource } = context;
  const { pointer, bytes } = fixedSource![family === AF_INET ? 4 : 6];
  return sys.setsockopt(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, one.pointer, 4) ||
    sys.bind(fd, pointer, sockaddrLength(bytes));
}

function bindToClient(context: TcpContext, fd: number, withPort: boolean): number {
  const { sys, one, peer } = context;
  const isV4 = sockaddrFamily(peer.bytes) === AF_INET;
  let result = isV4
    ? sys.setsockopt(fd, SOL_IP, IP_TRANSPARENT, one.pointer, 4)
    : sys.setsockopt(fd, SOL_IPV6, IPV6_TRANSPARENT, one.pointer, 4);
  // With the port: other connections of the same client endpoint, to other destinations, are bound to it too.
  // Without: the port is chosen on connect, when the destination is known and only the tuple must be unique.
  result ||= withPort
    ? sys.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, one.pointer, 4)
    : sys.setsockopt(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, one.pointer, 4);
  result ||= sys.bind(fd, peer.pointer, sockaddrLength(peer.bytes));
  // A port below 1024 without CAP_NET_BIND_SERVICE is as good as taken.
  return result === -EACCES ? -EADDRINUSE : result;
}
