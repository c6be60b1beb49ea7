/**
 * Connecting from here, as a dialogue: the first step of every stream.
 *
 * @module
 */
import {
  type Dialogue,
  EACCES,
  EADDRINUSE,
  EADDRNOTAVAIL,
  EINPROGRESS,
  setSockaddrPort,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  sockaddrFamily,
  sockaddrLength,
  SOL_TCP,
  TCP_NODELAY,
  TCP_QUICKACK,
} from "../ffi/mod.ts";
import { bindToClient, bindToInterface, setCodepoint, setMark } from "../flow/mod.ts";
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
  if (source !== undefined) {
    address.bytes.set(source.subarray(0, address.length));
    result ||= bindToClient(environment, fd, address);
  }
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
  const { sys, one, zero, mark } = environment;
  let result = sys.setsockopt(fd, SOL_TCP, TCP_NODELAY, one.pointer, 4);
  result ||= setMark(environment, fd, mark | options.mark);
  if (options.interface !== undefined) result ||= bindToInterface(environment, fd, options.interface);
  if (options.dscp !== undefined) result ||= setCodepoint(environment, fd, family, options.dscp);
  if (options.speaksFirst) sys.setsockopt(fd, SOL_TCP, TCP_QUICKACK, zero.pointer, 4);
  return result;
}
