/**
 * Failures of upstreams, put together from what went wrong.
 *
 * @module
 */
import { EADDRNOTAVAIL, EMFILE, ENFILE, ENOBUFS, ENOMEM } from "../ffi/mod.ts";
import { type ConnectionEnd, dialFailure, type StreamFailure } from "../flow/mod.ts";
import { describeResult } from "./stream_io.ts";

/** The server's doing: not reached, no answer, nonsense for an answer, or a connection that broke. */
export function upstreamFailed(detail: string): StreamFailure {
  return { fd: -1, end: { reason: "upstream-failed", side: "upstream" }, atUpstream: true, detail };
}

/** The server wants to know who we are, or does not like the answer. */
export function authFailed(detail: string): StreamFailure {
  return { fd: -1, end: { reason: "upstream-auth", side: "upstream" }, atUpstream: true, detail };
}

/** What the server says of this destination: it works, and another one need not do better. */
export function destinationFailed(reason: ConnectionEnd["reason"], detail: string): StreamFailure {
  return { fd: -1, end: { reason, side: "upstream" }, atUpstream: false, detail };
}

/** A socket could not be had or used here, before anything was sent; or the server it leads to was not reached. */
export function socketFailed(errno: number, detail: string): StreamFailure {
  switch (errno) {
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
      // Another upstream would need a socket too.
      return lacking(false, text(detail, errno));
    case EADDRNOTAVAIL:
      // All ports towards that server are taken. Towards another one they may be free.
      return lacking(true, text(detail, errno));
    default:
      return upstreamFailed(text(detail, errno));
  }
}

/** What this host lacks is held against no upstream, even where another one may do better. */
function lacking(atUpstream: boolean, detail: string): StreamFailure {
  return { fd: -1, end: { reason: "limit", side: "proxy" }, atUpstream, detail };
}

/** The destination was dialled from here, and did not answer as it should. */
export function dialFailed(errno: number, detail: string): StreamFailure {
  return { fd: -1, end: dialFailure(errno), atUpstream: false, detail: text(detail, errno) };
}

function text(detail: string, errno: number): string {
  return `${detail}: ${describeResult(-errno)}`;
}
