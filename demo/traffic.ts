/**
 * What the client host does in the demo, as data: each kind of traffic knows how to make itself and what its two
 * ends saw of it. A new kind is one more object of this shape, in a section of sections.ts.
 *
 * @module
 */
import { formatEndpoint, parseAddress, type Protocol } from "../net/mod.ts";
import type { EndReason } from "../control/mod.ts";
import { ADDRESSES, type Family, type Stage } from "./stage.ts";

/** One kind of traffic. */
export interface Traffic {
  /** At most seven letters, for the table. */
  readonly name: string;
  /** A flow of UDP is told of when the proxy stops: nothing in its datagrams says that they were the last. */
  readonly protocol: Protocol;
  /** Of the internet host, on its address of either family. */
  readonly port: number;
  /** How the proxy has to say that it ended. */
  readonly end: EndReason;
  /** Makes one connection, or exchange, and reports what its ends saw. One that fails is a report too. */
  make(stage: Stage, family: Family): Promise<EndsReport>;
}

/** What the ends of a connection or an exchange saw, measured without the proxy's help. Endpoints are `ip:port` or `[ip]:port`. */
export interface EndsReport {
  /** The client's own socket; undefined when it cannot be told. */
  readonly client: string | undefined;
  /** The peer that the server saw; undefined when no server got anything. */
  readonly peer: string | undefined;
  /** Bytes that the client sent. */
  readonly bytesUp: number;
  /** Bytes that the client received. */
  readonly bytesDown: number;
  /** Of UDP: how many datagrams the client sent and received. */
  readonly datagrams?: { readonly up: number; readonly down: number };
  /** From dialling to the end, by the client. */
  readonly durationMs: number;
  /** What was carried, by whoever received it. */
  readonly checksums: readonly Checksum[];
  /** What the client was told, where it is worth a line. */
  readonly heard?: string | undefined;
  /** Whatever else was not as it should be, in words. */
  readonly problems: readonly string[];
}

/** SHA-256 of what one end received. */
export interface Checksum {
  readonly receiver: "client" | "server";
  readonly found: string;
  readonly wanted: string;
}

/** What the client dials. */
export function destinationOf(traffic: Traffic, family: Family): string {
  return endpointText(ADDRESSES.internet[family], traffic.port);
}

/** `ip:port` or `[ip]:port` in the canonical form. @throws {TypeError} when `ip` is no address. */
export function endpointText(ip: string, port: number): string {
  const address = parseAddress(ip);
  if (address === undefined) throw new TypeError(`no IP address: "${ip}"`);
  return formatEndpoint({ address, port });
}

/** The server's report, or undefined when there is none in time. */
export async function reported<T>(report: Promise<T>): Promise<T | undefined> {
  try {
    return await report;
  } catch {
    // It is missing in the table, which says more than how it came to be missing.
    return undefined;
  }
}
