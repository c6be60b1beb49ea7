/**
 * Connecting from here, as a dialogue: the first step of every stream.
 *
 * @module
 */
import {
  AF_INET,
  type Dialogue,
  EACCES,
  EADDRINUSE,
  EADDRNOTAVAIL,
  EINPROGRESS,
  IP_BIND_ADDRESS_NO_PORT,
  IP_TOS,
  IP_TRANSPARENT,
  IPV6_TCLASS,
  IPV6_TRANSPARENT,
  setSockaddrPort,
  SO_BINDTODEVICE,
  SO_MARK,
  SO_REUSEADDR,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  sockaddrFamily,
  sockaddrLength,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
  SOL_TCP,
  TCP_NODELAY,
  TCP_QUICKACK,
} from "../ffi/mod.ts";
import type { UpstreamEnvironment } from "./environment.ts";
import { connected, watch } from "./stream_io.ts";

/** Options of the socket that are not the same for all. */
export interface ConnectOptions {
  /** sockaddr bytes of the client whose address is to be kept; undefined: this host's own. */
  readonly keep: Uint8Array | undefined;
  readonly interface: string | undefined;
  /** Bits beside the environment's mark. */
  readonly mark: number;
  readonly dscp: number | undefined;
  /**
   * Whether we have something to send as soon as there is a connection: then the packet that completes its handshake
   * waits to carry that, which saves one. Until then nothing else is acknowledged at once either: see stream_io.ts.
   */
  readonly speaksFirst: boolean;
}

/** To a server: from here, as routing has it, with something to say. */
export const TO_SERVER: ConnectOptions = {
  keep: undefined,
  interface: undefined,
  mark: 0,
  dscp: undefined,
  speaksFirst: true,
};

/** A descriptor, connected and watched, the caller's; or what went wrong. */
export type Connected = { readonly fd: number } | {
  readonly fd: -1;
  readonly errno: number;
  /** Whether anything was sent: an error before that is this host's. */
  readonly dialled: boolean;
};

/** Connects to a sockaddr. An abort closes what has been opened. */
export function* connect(
  environment: UpstreamEnvironment,
  target: Uint8Array,
  options: ConnectOptions,
  deadlineMs: number,
): Dialogue<Connected> {
  const { sys, reactor } = environment;
  const fd = dial(environment, target, options);
  if (fd < 0) return { fd: -1, errno: -fd, dialled: false };
  let isKept = false;
  try {
    const watched = watch(environment, fd);
    if (watched < 0) return { fd: -1, errno: -watched, dialled: false };
    const result = yield* connected(environment, fd, deadlineMs);
    if (result < 0) return { fd: -1, errno: -result, dialled: true };
    isKept = true;
    return { fd };
  } finally {
    if (!isKept) {
      reactor.forget(fd);
      sys.close(fd);
    }
  }
}

/** @returns the descriptor, connecting, or -errno with nothing left open. */
function dial(environment: UpstreamEnvironment, target: Uint8Array, options: ConnectOptions): number {
  if (options.keep === undefined) return dialFrom(environment, target, options, undefined);
  const client = options.keep.slice();
  const fd = dialFrom(environment, target, options, client);
  if (fd !== -EADDRINUSE && fd !== -EADDRNOTAVAIL && fd !== -EACCES) return fd;
  // Its port is taken, or is one that we may not take: its address is still worth keeping.
  setSockaddrPort(client, 0);
  return dialFrom(environment, target, options, client);
}

function dialFrom(
  environment: UpstreamEnvironment,
  target: Uint8Array,
  options: ConnectOptions,
  source: Uint8Array | undefined,
): number {
  const { sys, address } = environment;
  const fd = sys.socket(sockaddrFamily(target), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return fd;
  let result = setOptions(environment, fd, sockaddrFamily(target), options);
  if (source !== undefined) result ||= bindTo(environment, fd, source);
  address.bytes.set(target.subarray(0, address.length));
  result ||= sys.connect(fd, address.pointer, sockaddrLength(target));
  if (result === 0 || result === -EINPROGRESS) return fd;
  sys.close(fd);
  return result;
}

function setOptions(
  environment: UpstreamEnvironment,
  fd: number,
  family: number,
  options: ConnectOptions,
): number {
  const { sys, one, zero, value } = environment;
  let result = sys.setsockopt(fd, SOL_TCP, TCP_NODELAY, one.pointer, 4);
  result ||= setMark(environment, fd, options.mark);
  if (options.interface !== undefined) result ||= bindToInterface(environment, fd, options.interface);
  if (options.dscp !== undefined) {
    value.words[0] = options.dscp << 2;
    result ||= family === AF_INET
      ? sys.setsockopt(fd, SOL_IP, IP_TOS, value.pointer, 4)
      : sys.setsockopt(fd, SOL_IPV6, IPV6_TCLASS, value.pointer, 4);
  }
  if (options.speaksFirst) sys.setsockopt(fd, SOL_TCP, TCP_QUICKACK, zero.pointer, 4);
  return result;
}

/** Our mark on a socket, and other bits beside it. @returns 0 or -errno. */
export function setMark({ sys, mark, value }: UpstreamEnvironment, fd: number, others: number): number {
  value.words[0] = mark | others;
  return value.words[0] === 0 ? 0 : sys.setsockopt(fd, SOL_SOCKET, SO_MARK, value.pointer, 4);
}

/** What a socket sends leaves by this interface alone. @returns 0 or -errno. */
export function bindToInterface({ sys, value }: UpstreamEnvironment, fd: number, name: string): number {
  const { written } = new TextEncoder().encodeInto(name, value.bytes);
  return sys.setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, value.pointer, written);
}

function bindTo(environment: UpstreamEnvironment, fd: number, source: Uint8Array): number {
  const { sys, one, address } = environment;
  let result = sockaddrFamily(source) === AF_INET
    ? sys.setsockopt(fd, SOL_IP, IP_TRANSPARENT, one.pointer, 4)
    : sys.setsockopt(fd, SOL_IPV6, IPV6_TRANSPARENT, one.pointer, 4);
  // With a port: other connections of the same client endpoint are bound to it too. Without: it is chosen on connect,
  // when only the tuple must be unique.
  result ||= source[2] !== 0 || source[3] !== 0
    ? sys.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, one.pointer, 4)
    : sys.setsockopt(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, one.pointer, 4);
  address.bytes.set(source.subarray(0, address.length));
  return result || sys.bind(fd, address.pointer, sockaddrLength(source));
}
