/**
 * One server on the way, apart from how it is reached: what is said to it over a stream that leads there. The same for
 * a server that is dialled from here and for one behind another.
 *
 * @module
 */
import { type Dialogue, encodeSockaddr, SOCKADDR_IN6_BYTES } from "../ffi/mod.ts";
import type { StreamFailure, StreamRequest, StreamTarget } from "../flow/mod.ts";
import { formatEndpoint } from "../net/mod.ts";
import type { Server } from "./settings.ts";

/** A server, or a header for whom the target is. */
export interface Hop {
  /** For the log: `socks5 192.0.2.1:1080`. */
  readonly label: string;
  /** Where it is; undefined: it is the target itself. */
  readonly server: StreamTarget | undefined;
  /** Reaching and asking it have to be done by then. */
  readonly timeoutMs: number;
  /**
   * Asks for `request.target`. Reads exactly the answer; leaves the stream open, and watched, whatever happens.
   *
   * @returns undefined when the stream leads to the target from now on.
   */
  handshake(fd: number, request: StreamRequest): Dialogue<StreamFailure | undefined>;
}

/** As a target. */
export function serverTarget(server: Server): StreamTarget {
  if ("host" in server) return server;
  const sockaddr = new Uint8Array(SOCKADDR_IN6_BYTES);
  encodeSockaddr(server, sockaddr);
  return sockaddr;
}

/** `192.0.2.1:1080`, `[2001:db8::1]:1080`, `proxy.example:1080`. */
export function formatServer(server: Server): string {
  return "host" in server ? `${server.host}:${server.port}` : formatEndpoint(server);
}
