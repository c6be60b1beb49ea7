/**
 * What takes part in a benchmark, and what it needs to know to start.
 *
 * @module
 */
import type { LabHost, LabProcess } from "../tests/lab/mod.ts";
import type { NativePrograms } from "./native.ts";

/** One way for connections to get through the gateway. */
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
}

/** What {@linkcode Contestant.probe} found. */
export type Probe = { readonly version: string } | { readonly missing: string };

/** How a relay is run. */
export interface RelaySpec {
  /** Whether it puts its own rules in place; otherwise it gets the same ones, see interception.ts. */
  readonly bringsRules: boolean;
  command(site: RelaySite): Promise<readonly string[]>;
  /** Resolves when new connections are carried. */
  ready(process: LabProcess): Promise<void>;
}

/** Where a relay runs. */
export interface RelaySite {
  readonly gateway: LabHost;
  readonly native: NativePrograms;
  /** A directory for its files, gone after the run. */
  readonly directory: string;
  /** Connections it must be able to carry at once. */
  readonly connections: number;
  /** Descriptors it may have. */
  readonly descriptors: number;
}
