/**
 * What a lab server does, and what it reports: the contract between server.ts (the test's side) and server_main.ts
 * (the process in the namespace). Reports are JSON lines on the server's standard output.
 *
 * @module
 */
import type { ConnectionAccount } from "./accounted_connection.ts";

/** What a server does with each connection. "FIN" is an end of stream in one direction, "close" of both. */
export type ServerBehaviour =
  /** Sends back what comes; FIN after the client's FIN. */
  | { readonly kind: "echo" }
  /** Reads to the client's FIN, then answers `{"received":N,"sha256":"…"}` and a newline, and closes. */
  | { readonly kind: "sink" }
  /** Sends `bytes` bytes made from `seed`, FIN, then reads until the client's FIN. */
  | { readonly kind: "source"; readonly bytes: number; readonly seed: number }
  /** Resets: at once, or when so much has been received or sent (bytes from seed 0). */
  | { readonly kind: "reset"; readonly afterReceived?: number; readonly afterSent?: number }
  /** Sends FIN at once and goes on reading until the client's FIN. */
  | { readonly kind: "half-close" }
  /** Accepts and does not read until `resume`; from then on as `sink`. */
  | { readonly kind: "stall" }
  /** Reads, answers nothing, never ends; closes when the client has ended. */
  | { readonly kind: "mute" }
  /** Closes at once. */
  | { readonly kind: "close" }
  /** HTTP/1.1: `/` answers {@linkcode HttpAnswer}, `/bytes/N` N bytes from seed 0; a body sent is counted. */
  | { readonly kind: "http" };

/** Where a server listens, and what it does there. */
export type ServerSpec = ServerBehaviour & {
  /** Default `::`: every address the host has, of both families. */
  readonly address?: string;
  /** Default: one that is free. */
  readonly port?: number;
};

/** The body of an HTTP server's answer to `/`. `received` counts the request's body. */
export interface HttpAnswer {
  readonly peer: string;
  readonly method: string;
  readonly url: string;
  readonly received: number;
}

/** A connection as the server saw it, printed when it is over. */
export interface ServedConnection extends ConnectionAccount {
  /** Counts from 1 in the order of accept. */
  readonly connection: number;
  /** Bytes that came after the server's own FIN. */
  readonly receivedAfterFin: number;
  readonly durationMs: number;
}

/** One line of a server's output. */
export type ServerReport =
  | { readonly event: "ready"; readonly address: string; readonly port: number }
  | { readonly event: "open"; readonly connection: number; readonly local: string; readonly peer: string }
  | ({ readonly event: "closed" } & ServedConnection)
  | ({ readonly event: "request" } & HttpAnswer);
