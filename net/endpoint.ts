/**
 * Endpoints (address and port) and the names that say which end of a flow one is.
 *
 * @module
 */
import { type IpAddress, parseAddress } from "./address.ts";

/** One end of a TCP connection or UDP session. */
export interface Endpoint {
  /** Of either family. */
  readonly address: IpAddress;
  /** 0 to 65535, host order. */
  readonly port: number;
}

/** Says which end an endpoint is. For the type checker alone: no value ever has this property. */
export interface EndOf<Side extends string> {
  /** The side, in the type only. */
  readonly "~end"?: Side;
}
/** Where the intercepted program sends from. */
export type ClientAddr = Endpoint & EndOf<"client">;
/** Where the intercepted program was going: the destination before any rule of ours touched it. */
export type OrigDst = Endpoint & EndOf<"origDst">;

/** `ip:port`, or `[ip]:port` for IPv6 (RFC 3986, 3.2.2). */
export function formatEndpoint(endpoint: Endpoint): string {
  const { address, port } = endpoint;
  return address.family === 4 ? `${address.text}:${port}` : `[${address.text}]:${port}`;
}

/**
 * Reads what {@linkcode formatEndpoint} writes.
 *
 * @returns the endpoint, or undefined when `text` is none.
 */
export function parseEndpoint(text: string): Endpoint | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(0|[1-9]\d{0,4})$/.exec(text);
  if (match === null) return undefined;
  const address = parseAddress(match[1] ?? match[2]!);
  const port = Number(match[3]);
  // Brackets are for IPv6 and only for it.
  if (address === undefined || port > 65535 || (address.family === 6) !== (match[1] !== undefined)) {
    return undefined;
  }
  return { address, port };
}
