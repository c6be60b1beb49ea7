/**
 * What a lab's SOCKS5 server does and reports: the contract between socks_server.ts (the test's side) and
 * socks_server_main.ts (the process in the namespace). Reports are JSON lines on its standard output.
 *
 * @module
 */

/** What a server can do wrong, each within the handshake of every connection. */
export type SocksFault =
  /** Closes as soon as it has accepted, has read the greeting, the password, the request. */
  | "close-on-accept"
  | "close-on-greeting"
  | "close-on-login"
  | "close-on-request"
  /** Answers the greeting with what is no SOCKS. */
  | "garbage"
  /** Reads, and never answers. */
  | "mute"
  /** Writes each byte of each answer by itself. */
  | "byte-by-byte"
  /** Answers the request with this reply (RFC 1928, section 6), without having dialled. */
  | { readonly reply: number };

/** How it listens, and whom it serves. */
export interface SocksServerSpec {
  /** Default `::`: every address the host has, of both families. */
  readonly address?: string;
  /** Default: one that is free. */
  readonly port?: number;
  /** Default: everybody, without a password. */
  readonly login?: { readonly username: string; readonly password: string };
  readonly fault?: SocksFault;
}

/** One CONNECT, or one UDP ASSOCIATE. */
export interface SocksRequest {
  /** Who asks, as `ip:port` or `[ip]:port`. */
  readonly peer: string;
  /** What for: the same, or `name:port`. */
  readonly target: string;
  readonly username?: string;
  /** Reads that ended with the request: 1 when all that the client has to say came at once. */
  readonly reads: number;
}

/** One line of its output. */
export type SocksReport =
  | { readonly event: "ready"; readonly port: number }
  | ({ readonly event: "request" | "association" } & SocksRequest)
  /** Carried for the client of an association, from where it sends to the relay. */
  | { readonly event: "datagram"; readonly client: string; readonly target: string };
