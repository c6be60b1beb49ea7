/**
 * How a connection ended, and what an error of one of its sockets says about that.
 *
 * @module
 */
import {
  EACCES,
  EADDRNOTAVAIL,
  ECONNREFUSED,
  ECONNRESET,
  EHOSTUNREACH,
  EMFILE,
  ENETUNREACH,
  ENFILE,
  EPERM,
  EPIPE,
  ETIMEDOUT,
} from "../ffi/mod.ts";

/** How a connection ended, in the words of the flow record. */
export interface ConnectionEnd {
  readonly reason:
    | "closed"
    | "reset"
    | "refused"
    | "unreachable"
    | "connect-timeout"
    | "idle-timeout"
    | "half-closed-timeout"
    | "lost"
    | "limit"
    | "shutdown"
    | "error"
    | "upstream-failed"
    | "upstream-auth"
    | "denied"
    | "blocked";
  readonly side: "client" | "upstream" | "proxy";
}

/** Why a destination could not be reached, from the error of connect. */
export function dialFailure(errno: number): ConnectionEnd {
  switch (errno) {
    case ECONNREFUSED:
    case ECONNRESET:
    // Accepted, finished and reset before we heard of any of it.
    case EPIPE:
      return { reason: "refused", side: "upstream" };
    case EHOSTUNREACH:
    case ENETUNREACH:
      return { reason: "unreachable", side: "upstream" };
    case ETIMEDOUT:
      return { reason: "connect-timeout", side: "upstream" };
    case EMFILE:
    case ENFILE:
    case EADDRNOTAVAIL:
      return { reason: "limit", side: "proxy" };
    case EACCES:
    case EPERM:
      // A prohibit route or a security module of this host.
      return { reason: "error", side: "proxy" };
    default:
      return { reason: "error", side: "upstream" };
  }
}

/** Why a relayed connection failed, from the error of one of its sockets. */
export function relayFailure(errno: number, side: "client" | "upstream"): ConnectionEnd {
  switch (errno) {
    case ECONNRESET:
    case EPIPE:
      return { reason: "reset", side };
    case ETIMEDOUT:
    case EHOSTUNREACH:
    case ENETUNREACH:
      return { reason: "lost", side };
    default:
      return { reason: "error", side };
  }
}
