/**
 * What a lab's datagram server does and reports: the contract between datagram_server.ts (the test's side) and
 * datagram_server_main.ts (the process in the namespace). Reports are JSON lines on the server's standard output.
 *
 * @module
 */

import type { ResolverAddresses } from "./datagram_answers.ts";

/** What a server does with each datagram. */
export type DatagramBehaviour =
  /** Sends it back with the TOS it came with, or with `tos`. */
  | { readonly kind: "echo"; readonly tos?: number }
  /** Answers nothing. */
  | { readonly kind: "mute" }
  /**
   * Tells the sender's endpoint as it is seen here, as {@linkcode MappingAnswer}. A datagram that is a
   * {@linkcode MappingRequest} says from where it is to be answered.
   */
  | { readonly kind: "mapping" }
  /** Answers DNS queries: every name has the one address of either family. */
  | { readonly kind: "resolver"; readonly names: ResolverAddresses }
  /** Answers a server browser's status request with these keys and values. */
  | { readonly kind: "game"; readonly status: Readonly<Record<string, string>> }
  /** Answers the numbered datagrams of a load with others of their kind (datagram_load.ts). */
  | { readonly kind: "load" };

/** Where a server listens, and what it does there. */
export type DatagramServerSpec = DatagramBehaviour & {
  /** Default: `0.0.0.0` and `::`, every address the host has. A `load` server needs addresses of its own. */
  readonly addresses?: readonly string[];
  /** Default: one that is free. */
  readonly port?: number;
  /** Whether each datagram is reported; default true, for `load` never. */
  readonly reports?: boolean;
};

/** Asks a `mapping` server to answer once from each of these `ip:port`. */
export interface MappingRequest {
  readonly from: readonly string[];
}

/** The answer of a `mapping` server: who asked as seen by it, what was asked, and from where it answers. */
export interface MappingAnswer {
  readonly mapped: string;
  readonly asked: string;
  readonly from: string;
}

/** A datagram as the server saw it. */
export interface ServedDatagram {
  readonly from: string;
  readonly to: string;
  readonly bytes: number;
  readonly tos: number;
  readonly text?: string;
  readonly sha256: string;
}

/** One line of a server's output. `sums` answers the line `sums` on standard input. */
export type DatagramServerReport =
  | { readonly event: "ready"; readonly port: number }
  | ({ readonly event: "datagram" } & ServedDatagram)
  | ({ readonly event: "sums" } & LoadSums);

/** What the serving end of a load has seen. */
export interface LoadSums {
  /** Datagrams that were what they claim to be. */
  readonly received: number;
  readonly answered: number;
  readonly duplicates: number;
  /** Wrong length, wrong content, or no load at all. */
  readonly corrupt: number;
  /** Of a flow that another endpoint has been seen with. */
  readonly otherSource: number;
}
