/**
 * How a peer that has vanished is noticed: keepalive probes and TCP_USER_TIMEOUT.
 *
 * Accepted sockets inherit the options from the listener. A socket towards a destination gets them when its
 * connection has lived as long as the shortest of these times: before that none of them could do anything, and
 * most connections are over by then, at four system calls less.
 *
 * @module
 */
import {
  SO_KEEPALIVE,
  SOL_SOCKET,
  SOL_TCP,
  TCP_KEEPCNT,
  TCP_KEEPIDLE,
  TCP_KEEPINTVL,
  TCP_USER_TIMEOUT,
} from "../ffi/mod.ts";
import type { TcpSettings } from "./settings.ts";
import type { TcpContext } from "./worker_context.ts";

/** Between two keepalive probes (TCP_KEEPINTVL). */
export const KEEPALIVE_INTERVAL_SECONDS = 15;
/** Unanswered probes until a peer counts as gone (TCP_KEEPCNT). */
export const KEEPALIVE_PROBES = 8;

/** Age of a connection in milliseconds at which {@linkcode setLiveness} is due; Infinity: never. */
export function livenessDueMs(settings: TcpSettings): number {
  const { keepaliveSeconds, userTimeoutMs } = settings;
  return Math.min(
    keepaliveSeconds === 0 ? Infinity : keepaliveSeconds * 1000,
    userTimeoutMs === 0 ? Infinity : userTimeoutMs,
  );
}

/** Sets the options; a failure leaves the connection to the idle timeout, and needs no report. */
export function setLiveness(context: TcpContext, fd: number): void {
  const { sys, settings, one } = context;
  if (settings.keepaliveSeconds > 0) {
    sys.setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, one.pointer, 4);
    setInt(context, fd, TCP_KEEPIDLE, settings.keepaliveSeconds);
    setInt(context, fd, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_SECONDS);
    setInt(context, fd, TCP_KEEPCNT, KEEPALIVE_PROBES);
  }
  if (settings.userTimeoutMs > 0) setInt(context, fd, TCP_USER_TIMEOUT, settings.userTimeoutMs);
}

function setInt(context: TcpContext, fd: number, name: number, setting: number): void {
  context.value.words[0] = setting;
  context.sys.setsockopt(fd, SOL_TCP, name, context.value.pointer, 4);
}
