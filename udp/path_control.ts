/**
 * The stream that a path lasts as long as: nothing is said on it, so that its far end has vanished only probes tell.
 *
 * @module
 */
import { SO_KEEPALIVE, SOL_SOCKET, SOL_TCP, TCP_KEEPCNT, TCP_KEEPIDLE, TCP_KEEPINTVL } from "../ffi/mod.ts";
import type { UdpContext } from "./worker_context.ts";

/** The first probe, the time between two, and how many may go unanswered: a server that is gone is missed in a minute. */
const IDLE_SECONDS = 30, INTERVAL_SECONDS = 10, PROBES = 3;

/** Has the kernel probe; where it does not take an option, the session's idle timeout is what is left. */
export function keepAlive({ sys, one, value }: UdpContext, fd: number): void {
  sys.setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, one.pointer, 4);
  for (
    const [name, setting] of [
      [TCP_KEEPIDLE, IDLE_SECONDS],
      [TCP_KEEPINTVL, INTERVAL_SECONDS],
      [TCP_KEEPCNT, PROBES],
    ] as const
  ) {
    value.words[0] = setting;
    sys.setsockopt(fd, SOL_TCP, name, value.pointer, 4);
  }
}
