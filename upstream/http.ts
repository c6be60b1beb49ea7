/**
 * What is said to an HTTP proxy: CONNECT (RFC 9110, section 9.3.6), with Basic authentication (RFC 7617).
 *
 * @module
 */
import { decodeSockaddr, type Dialogue, ETIMEDOUT } from "../ffi/mod.ts";
import type { ConnectionEnd, StreamFailure, StreamRequest, StreamTarget } from "../flow/mod.ts";
import { formatEndpoint } from "../net/mod.ts";
import type { UpstreamEnvironment } from "./environment.ts";
import { authFailed, destinationFailed, upstreamFailed } from "./failure.ts";
import { formatServer, type Hop, serverTarget } from "./hop.ts";
import { ResponseHead } from "./http_head.ts";
import type { Credentials, HttpSettings } from "./settings.ts";
import { describeResult, readInto, writeAll } from "./stream_io.ts";

/** An HTTP proxy. */
export class HttpHop implements Hop {
  readonly label: string;
  readonly server: StreamTarget;
  readonly timeoutMs: number;
  readonly #environment: UpstreamEnvironment;
  readonly #authorization: string;

  constructor(environment: UpstreamEnvironment, settings: HttpSettings) {
    const { credentials } = settings;
    this.label = `http ${formatServer(settings.server)}`;
    this.server = serverTarget(settings.server);
    this.timeoutMs = settings.timeoutMs;
    this.#environment = environment;
    this.#authorization = credentials === undefined
      ? ""
      : `Proxy-Authorization: Basic ${basicCredentials(credentials)}\r\n`;
  }

  *handshake(fd: number, { target, deadlineMs }: StreamRequest): Dialogue<StreamFailure | undefined> {
    const authority = authorityOf(target);
    if (authority === undefined) {
      return destinationFailed("unreachable", `${this.label}: a name that cannot be asked for`);
    }
    const request = encodeConnect(authority, this.#authorization);
    const head = new ResponseHead();
    let result = yield* writeAll(this.#environment, fd, request, deadlineMs);
    if (result < 0) return upstreamFailed(`${this.label}: ${describeResult(result)}`);
    result = yield* readInto(this.#environment, fd, head, deadlineMs);
    // It is connected to: most likely it waits for the destination.
    if (result === -ETIMEDOUT) {
      return destinationFailed("connect-timeout", `${this.label}: ${describeResult(result)}`);
    }
    if (result < 0) return upstreamFailed(`${this.label}: ${describeResult(result)}`);
    if (head.error !== undefined) return upstreamFailed(`${this.label}: ${head.error}`);
    return this.#judge(head.status);
  }

  /** Of a 2xx, fields that tell of a body mean nothing: what follows is the destination's. */
  #judge(status: number): StreamFailure | undefined {
    if (status >= 200 && status < 300) return undefined;
    const detail = `${this.label}: answered ${status}`;
    // 401 is what tinyproxy says of a wrong password, and 407 only where there is none.
    if (status === 407 || status === 401) {
      return authFailed(`${detail}: username or password refused, or wanted`);
    }
    const reason = SAYS_OF_DESTINATION[status];
    return reason === undefined ? upstreamFailed(detail) : destinationFailed(reason, detail);
  }
}

/**
 * Answers that are about the destination. 500 is what some proxies (tinyproxy) say when it cannot be connected to: that
 * must not take them out of a group.
 */
const SAYS_OF_DESTINATION: Readonly<Record<number, ConnectionEnd["reason"]>> = {
  403: "denied",
  500: "upstream-failed",
  502: "unreachable",
  503: "unreachable",
  504: "connect-timeout",
};

/** The request for a tunnel; `authority` as {@linkcode authorityOf} makes it. */
export function encodeConnect(authority: string, authorization: string): Uint8Array {
  return new TextEncoder().encode(
    `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${authorization}\r\n`,
  );
}

/** `192.0.2.1:443`, `[2001:db8::1]:443`, `host.example:443`; undefined for what would not be one word in a request. */
export function authorityOf(target: StreamTarget): string | undefined {
  if (target instanceof Uint8Array) {
    const endpoint = decodeSockaddr(target);
    return endpoint && formatEndpoint(endpoint);
  }
  return /^[\w.-]+$/.test(target.host) ? `${target.host}:${target.port}` : undefined;
}

/** RFC 7617, section 2, in UTF-8. */
export function basicCredentials({ username, password }: Credentials): string {
  const bytes = new TextEncoder().encode(`${username}:${password}`);
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}
