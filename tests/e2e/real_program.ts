/**
 * What a program that people run is to the tests that ask whether it notices the proxy: a server for the internet
 * host, and clients that use it and tell what they got. Knows nothing of the proxy.
 *
 * The programs come from Debian; all of them run without root, in a lab, where root is the one user there is.
 *
 * @module
 */
import type { Protocol } from "../../net/mod.ts";
import { assert } from "../assert.ts";
import type { LabHost, LabProcess } from "../lab/mod.ts";
import { labPath } from "../lab/requirements.ts";
import { eventually } from "./proxy_run.ts";

/** IPv4 or IPv6. */
export type Family = "v4" | "v6";

/** A server and the programs that use it. */
export interface RealProgram {
  readonly name: string;
  /** What is run, each with the Debian package it comes in. */
  readonly needs: Readonly<Record<string, string>>;
  /** Starts the server; `folder` is its own, empty, and gone after the test. */
  start(host: LabHost, folder: string): Promise<LabProcess>;
  /** What `ss` shows once the server can be asked. */
  readonly listens: ListenPort;
  readonly clients: readonly RealClient[];
}

/** Where a server can be asked. */
export interface ListenPort {
  readonly proto: Protocol;
  readonly port: number;
}

/** One way to use a server. */
export interface RealClient {
  readonly name: string;
  /** Families that the programs themselves can do. */
  readonly families: readonly Family[];
  /**
   * Uses the server at `address` and returns what it answered, without what differs each time.
   *
   * @throws {Error} when the answer is not a good one.
   */
  use(host: LabHost, address: string, folder: string): Promise<string>;
  /** What a proxy in between must have seen for each use, at the least. */
  readonly flows: readonly ExpectedFlow[];
}

/** A flow to the server's address. */
export interface ExpectedFlow {
  readonly proto: Protocol;
  readonly port: number;
  /** Payload that came back, at the least; 1 unless said otherwise. */
  readonly bytesDown?: number;
}

/** What most programs can do. */
export const BOTH_FAMILIES: readonly Family[] = ["v4", "v6"];

/** Those of a program's needs that this machine lacks, as words: `knotd (package knot)`. */
export function missingPrograms(needs: RealProgram["needs"]): string[] {
  const found = (program: string) =>
    new Deno.Command("sh", {
      args: ["-c", 'command -v "$0"', program],
      env: { PATH: labPath() },
      stdout: "null",
    }).outputSync().success;
  return Object.entries(needs).filter(([program]) => !found(program))
    .map(([program, debianPackage]) => `${program} (package ${debianPackage})`);
}

/** For the name of a test that is left out: what it is left out for. */
export function missingRemark(missing: readonly string[]): string {
  return missing.length === 0 ? "" : ` (missing here: ${missing.join(", ")})`;
}

/** Resolves when the server can be asked. @throws {Error} with what it printed when it has ended before. */
export async function listening(
  host: LabHost,
  server: LabProcess,
  name: string,
  { proto, port }: ListenPort,
): Promise<void> {
  const list = ["ss", "-Hln", `--${proto}`, `sport = :${port}`];
  await eventually(`${name} listens at port ${port}`, async () => {
    assert(server.running, `${name} has ended:\n${server.stdout.tail()}\n${server.stderr.tail()}`);
    return (await host.output(list)) !== "";
  }, 10_000);
}

/** What of a program goes over TCP alone. */
export function overTcp(program: RealProgram): RealProgram {
  const clients = program.clients.filter(({ flows }) => flows.every(({ proto }) => proto === "tcp"));
  return { ...program, clients };
}
