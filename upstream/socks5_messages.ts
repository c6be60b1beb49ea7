/**
 * Messages of SOCKS5 (RFC 1928) and of its login by name and password (RFC 1929) as bytes. No I/O.
 *
 * @module
 */
import {
  AF_INET,
  AF_INET6,
  setSockaddrPort,
  SOCKADDR_IN6_BYTES,
  sockaddrFamily,
  unmapSockaddr,
} from "../ffi/mod.ts";
import type { ConnectionEnd, StreamTarget } from "../flow/mod.ts";
import type { Credentials } from "./settings.ts";

export const SOCKS_VERSION = 5;
/** Of the login alone (RFC 1929, section 2). */
export const LOGIN_VERSION = 1;

/** Ways to say who we are (RFC 1928, section 3). */
export const NO_LOGIN = 0x00, PASSWORD = 0x02, NO_METHOD = 0xff;

/** Commands (section 4). */
export const CONNECT = 1, UDP_ASSOCIATE = 3;

/** Kinds of addresses (section 5). */
export const IPV4 = 1, DOMAIN = 3, IPV6 = 4;

/** The beginning of a reply that tells how long it is, but for a domain: version, reply, 0, kind of address. */
export const REPLY_HEAD_BYTES = 4;

/** What we offer to be asked for. */
export function encodeGreeting(methods: readonly number[]): Uint8Array {
  return Uint8Array.of(SOCKS_VERSION, methods.length, ...methods);
}

/** Name and password, each of 1 to 255 bytes of UTF-8. */
export function encodeLogin({ username, password }: Credentials): Uint8Array {
  const name = encodeText("username", username), secret = encodeText("password", password);
  return Uint8Array.of(LOGIN_VERSION, name.length, ...name, secret.length, ...secret);
}

function encodeText(what: string, text: string): Uint8Array {
  const bytes = new TextEncoder().encode(text);
  if (bytes.length >= 1 && bytes.length <= 255) return bytes;
  throw new RangeError(`SOCKS5 ${what}: ${bytes.length} bytes found, 1 to 255 wanted`);
}

/** @throws {RangeError} for a name that is empty or longer than 255 bytes. */
export function encodeRequest(command: number, target: StreamTarget): Uint8Array {
  if (target instanceof Uint8Array) {
    const address = addressOf(target);
    const kind = address.length === 4 ? IPV4 : IPV6;
    return Uint8Array.of(SOCKS_VERSION, command, 0, kind, ...address, target[2]!, target[3]!);
  }
  const host = encodeText("host name", target.host);
  const { port } = target;
  return Uint8Array.of(SOCKS_VERSION, command, 0, DOMAIN, host.length, ...host, port >> 8, port & 0xff);
}

/** The address within a sockaddr. */
export function addressOf(sockaddr: Uint8Array): Uint8Array {
  return sockaddrFamily(sockaddr) === AF_INET ? sockaddr.subarray(4, 8) : sockaddr.subarray(8, 24);
}

/** Bytes of an address and its port; undefined: a domain, or no kind of address. */
export function addressBytes(kind: number): number | undefined {
  if (kind === IPV4) return 4 + 2;
  return kind === IPV6 ? 16 + 2 : undefined;
}

/** The sockaddr of an address and its port, as they come in a reply; a v4-mapped one as the IPv4 address it stands for. */
export function decodeAddress(bytes: Uint8Array): Uint8Array {
  const sockaddr = new Uint8Array(SOCKADDR_IN6_BYTES);
  const end = bytes.length - 2;
  sockaddr[0] = end === 4 ? AF_INET : AF_INET6;
  sockaddr.set(bytes.subarray(0, end), end === 4 ? 4 : 8);
  setSockaddrPort(sockaddr, bytes[end]! << 8 | bytes[end + 1]!);
  unmapSockaddr(sockaddr);
  return sockaddr;
}

/** What a reply other than success says. */
export interface Refusal {
  readonly reason: ConnectionEnd["reason"];
  /** Whether any other request would fare the same. */
  readonly atUpstream: boolean;
  readonly text: string;
}

/** Reply codes (section 6). */
const REFUSALS: Readonly<Record<number, Refusal>> = {
  // Servers say so of many a destination too: that must not take them out of a group.
  1: { reason: "upstream-failed", atUpstream: false, text: "general failure" },
  2: { reason: "denied", atUpstream: false, text: "not allowed by its rules" },
  3: { reason: "unreachable", atUpstream: false, text: "network unreachable" },
  4: { reason: "unreachable", atUpstream: false, text: "host unreachable" },
  5: { reason: "refused", atUpstream: false, text: "connection refused" },
  6: { reason: "connect-timeout", atUpstream: false, text: "time to live expired" },
  7: { reason: "upstream-failed", atUpstream: true, text: "command not supported" },
  8: { reason: "unreachable", atUpstream: false, text: "kind of address not supported" },
};

/** What reply code `code`, other than 0, means. */
export function refusalOf(code: number): Refusal {
  return REFUSALS[code] ?? { reason: "upstream-failed", atUpstream: true, text: `reply code ${code}` };
}

/** `05 ff`, for the log. */
export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}
