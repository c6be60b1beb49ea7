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
  setSockaddrPort,
  SO_MARK,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  sockaddrFamily,
  sockaddrLength,
  sockaddrPort,
  SOL_IP,
  SOL_SOCKET,
  SOL_TCP,
  TCP_NODELAY,
  TCP_QUICKACK,
} from "../ffi/mod.ts";
import {
  bindToClient,
  bindToInterface,
  type DirectRoute,
  type Route,
  setCodepoint,
  setMark,
} from "../flow/mod.ts";
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
  const fd = connectFrom(context, "client", route, hasData);
  if (fd !== -EADDRINUSE && fd !== -EADDRNOTAVAIL) return fd;
  setSockaddrPort(context.peer.bytes, 0);
  const changed = connectFrom(context, "client", route, hasData);
  if (changed >= 0) context.count("tcpSourcePortChanged");
  return changed;
}

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

/** As `context.peer` has it (port 0: any), the addresses that the settings name, or as routing has it. */
type Source = "client" | "fixed" | "own";

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
  else if (result === 0 && source === "client") result = bindToClient(context, fd, context.peer);
  // A port below 1024 without CAP_NET_BIND_SERVICE is as good as taken.
  if (result === -EACCES) result = -EADDRINUSE;
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
  let result = 0;
  if (route.mark !== 0) result ||= setMark(context, fd, context.settings.dialMark | route.mark);
  if (route.interface !== undefined) result ||= bindToInterface(context, fd, route.interface);
  if (route.dscp !== undefined) result ||= setCodepoint(context, fd, family, route.dscp);
  return result;
}

function bindToFixed(context: TcpContext, fd: number, family: number): number {
  const { sys, one, fixedSource } = context;
  const { pointer, bytes } = fixedSource![family === AF_INET ? 4 : 6];
  return sys.setsockopt(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, one.pointer, 4) ||
    sys.bind(fd, pointer, sockaddrLength(bytes));
}
