/**
 * What a lab's datagram client is told and reports: the contract between datagram_client.ts (the test's side) and
 * datagram_client_main.ts (the process in the namespace). Both ways JSON lines.
 *
 * @module
 */
import type { IncomingMessage } from "./datagram_message.ts";
import type { DatagramSocketOptions } from "./datagram_socket.ts";

/** A datagram to send: `text`, or `bytes` bytes made from `seed` (default 1). */
export interface DatagramSpec {
  /** `ip:port`; left out on a connected socket. */
  readonly to?: string;
  readonly text?: string;
  readonly bytes?: number;
  readonly seed?: number;
  readonly tos?: number;
  /** Address to send from, another than the socket's own. */
  readonly source?: string;
  /** UDP_SEGMENT: sent as many datagrams of so many bytes, the last one shorter. */
  readonly segment?: number;
  /** For a raw socket: a UDP header with this source port goes before the payload. */
  readonly rawFromPort?: number;
}

/** `socket` is a number that the test's side gives out. */
export type DatagramOrder =
  | { readonly do: "open"; readonly socket: number; readonly options: DatagramSocketOptions }
  | { readonly do: "send"; readonly socket: number; readonly datagrams: readonly DatagramSpec[] }
  | { readonly do: "close"; readonly socket: number };

/** A datagram as it came in. `text` only when it is short; `sha256` of all its bytes. */
export interface ReceivedDatagram extends Omit<IncomingMessage, "error"> {
  readonly text?: string;
  readonly sha256: string;
  /** When it was taken, in milliseconds on the client's own clock, the same as that of `sent`. */
  readonly atMs: number;
}

/** An error the socket was told of. `quoted` is what the ICMP message had of the payload. */
export interface ReceivedDatagramError extends NonNullable<IncomingMessage["error"]> {
  /** Where the datagram was going. */
  readonly to: string;
  readonly quoted: string;
  readonly atMs: number;
}

/** What became of a `send`: for each datagram that was not taken the error's name, by its place in the list. */
export interface SendOutcome {
  readonly errors: Readonly<Record<number, string>>;
  /** When the first one was sent. */
  readonly atMs: number;
}

/** One line of the client's output. */
export type DatagramReport =
  | { readonly event: "opened"; readonly socket: number; readonly local: string }
  | { readonly event: "failed"; readonly socket: number; readonly code: string }
  | ({ readonly event: "sent"; readonly socket: number } & SendOutcome)
  | ({ readonly event: "received"; readonly socket: number } & ReceivedDatagram)
  | ({ readonly event: "error"; readonly socket: number } & ReceivedDatagramError)
  | { readonly event: "closed"; readonly socket: number };
