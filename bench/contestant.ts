/**
 * What takes part in a benchmark, and what it needs to know to start.
 *
 * @module
 */
import type { LabHost, LabProcess } from "../tests/lab/mod.ts";
import type { Forwarding } from "./bench_lab.ts";
import type { InterceptionModes } from "./interception.ts";
import type { NativePrograms } from "./native.ts";
import type { Server } from "./running_contestant.ts";

/** One way for traffic to get through the gateway. */
export interface Contestant {
  /** As on the command line and in the results. */
  readonly name: string;
  /** Head of its column. */
  readonly title: string;
  /** Threads that carry bytes. With more than one it gets the load's CPU too. */
  readonly threads: number;
  /** Its version, or why it cannot take part. */
  probe(): Promise<Probe>;
  /** Undefined for plain forwarding: there is nothing to start. */
  readonly relay: RelaySpec | undefined;
  /** The same relay when it carries TCP beside UDP; undefined where there is no such thing to compare. */
  readonly withTcp?: RelaySpec;
  /** What its gateway passes on by itself, where that is not what it is for the others. */
  readonly forwards?: Forwarding;
  /** Takes part when it is named on the command line alone. */
  readonly onlyByName?: true;
  /** Servers that it needs beside everybody's. */
  readonly servers?: readonly Server[];
  /** A table for nft that its gateway has from the start. */
  readonly gatewayRules?: string;
  /** Whether its datagrams reach the server by a SOCKS5 server, framed (see native/udp_load.h). */
  readonly framesDatagrams?: true;
  /** What it cannot do although it takes part; undefined: it does all. */
  readonly limits?: Limits;
}

/** What a UDP relay cannot do. */
export interface Limits {
  /** Bytes of the largest datagram that it carries. */
  readonly largestDatagram: number;
  /** Sessions at once. */
  readonly sessions: number;
  /** Whether a client can write to a remote that wrote to it first. */
  readonly fullCone: boolean;
}

/** What {@linkcode Contestant.probe} found. */
export type Probe = { readonly version: string } | { readonly missing: string };

/** How a relay is run. */
export interface RelaySpec {
  /** Whether it puts its own rules in place; otherwise it gets the same ones, see interception.ts. */
  readonly bringsRules: boolean;
  /** How it wants what it is given, where that is not how the others are given it. */
  readonly intercepts?: InterceptionModes;
  command(site: RelaySite): Promise<readonly string[]>;
  /** Resolves when traffic is carried. */
  ready(process: LabProcess): Promise<void>;
}

/** Where a relay runs. */
export interface RelaySite {
  readonly gateway: LabHost;
  readonly native: NativePrograms;
  /** A directory for its files, gone after the run. */
  readonly directory: string;
  /** Connections or sessions it must be able to hold. */
  readonly idle: number;
  /** Descriptors it may have. */
  readonly descriptors: number;
}

/** How long a relay may take to get ready. */
export const READY_TIMEOUT_MS = 20_000;

/** For relays that do not say when they are ready. @throws {Error} when it takes too long. */
export async function waitUntil(
  process: LabProcess,
  condition: (pid: number) => Promise<boolean>,
): Promise<void> {
  const pid = await process.outsidePid();
  const deadline = performance.now() + READY_TIMEOUT_MS;
  while (performance.now() < deadline) {
    if (!process.running) throw new Error(`ended instead of getting ready:\n${process.stderr.tail()}`);
    if (await condition(pid).catch(() => false)) return;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  throw new Error(`not ready within ${READY_TIMEOUT_MS} ms:\n${process.stderr.tail()}`);
}
