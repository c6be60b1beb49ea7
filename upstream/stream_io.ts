/**
 * Reading and writing within a dialogue: like blocking calls that end with an error when the deadline passes.
 *
 * Each tries first and waits only on EAGAIN, so that no edge of the reactor's is missed. Reads take what they are asked
 * for and nothing more: what follows a handshake is the relay's.
 *
 * @module
 */
import {
  type Dialogue,
  EAGAIN,
  EPOLLERR,
  EPOLLHUP,
  EPOLLIN,
  EPOLLOUT,
  EPOLLRDHUP,
  errnoName,
  ETIMEDOUT,
  type EventHandler,
  MSG_NOSIGNAL,
  MSG_PEEK,
  ready,
  SO_ERROR,
  SOL_SOCKET,
  SOL_TCP,
  TCP_QUICKACK,
} from "../ffi/mod.ts";
import type { UpstreamEnvironment } from "./environment.ts";

/** In the place of an -errno: the other side has sent its last byte. */
export const END_OF_STREAM = -10_000;

/** Until the first wait sets the dialogue's own handler, there is no turn of the loop. */
const NOBODY: EventHandler = { onEvents: () => {} };

/** Has a descriptor watched whose dialogue is going to wait. @returns 0 or -errno. */
export function watch({ reactor }: UpstreamEnvironment, fd: number): number {
  return reactor.add(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP, NOBODY);
}

/** Waits for an event of `fd`. @returns the events, or -ETIMEDOUT. */
function* event(environment: UpstreamEnvironment, fd: number, deadlineMs: number): Dialogue<number> {
  const leftMs = deadlineMs - environment.reactor.now;
  // As a wait, 0 would be one without a limit.
  if (leftMs <= 0) return -ETIMEDOUT;
  const events = yield* ready(fd, leftMs === Infinity ? 0 : leftMs);
  return events === 0 ? -ETIMEDOUT : events;
}

/** Waits until a connecting socket has connected. @returns 0 or -errno. */
export function* connected(
  environment: UpstreamEnvironment,
  fd: number,
  deadlineMs: number,
): Dialogue<number> {
  for (;;) {
    const events = yield* event(environment, fd, deadlineMs);
    if (events < 0) return events;
    if ((events & (EPOLLERR | EPOLLHUP)) !== 0) return -takeError(environment, fd);
    if ((events & EPOLLOUT) !== 0) return 0;
  }
}

function takeError({ sys, value, length }: UpstreamEnvironment, fd: number): number {
  length.words[0] = 4;
  const result = sys.getsockopt(fd, SOL_SOCKET, SO_ERROR, value.pointer, length.pointer);
  return result < 0 ? -result : value.words[0]!;
}

/** Writes all of `bytes`. @returns 0 or -errno. */
export function* writeAll(
  environment: UpstreamEnvironment,
  fd: number,
  bytes: Uint8Array,
  deadlineMs: number,
): Dialogue<number> {
  const { sys, buffer } = environment;
  for (let written = 0; written < bytes.length;) {
    const chunk = bytes.subarray(written, written + buffer.length);
    buffer.bytes.set(chunk);
    const n = sys.send(fd, buffer.pointer, chunk.length, MSG_NOSIGNAL);
    if (n >= 0) written += n;
    else if (n !== -EAGAIN) return n;
    else {
      const events = yield* event(environment, fd, deadlineMs);
      if (events < 0) return events;
    }
  }
  return 0;
}

/**
 * Waits for more of an answer that has begun to come. What has come is acknowledged now: a server that answers in two
 * writes, with Nagle's algorithm on, would otherwise wait 40 ms between them. An answer that comes as a whole is
 * acknowledged by what is sent next, which saves a packet.
 */
function* more(environment: UpstreamEnvironment, fd: number, deadlineMs: number): Dialogue<number> {
  const { sys, one } = environment;
  sys.setsockopt(fd, SOL_TCP, TCP_QUICKACK, one.pointer, 4);
  return yield* event(environment, fd, deadlineMs);
}

/**
 * Fills `into`.
 *
 * @param hasBegun whether something has come already since we last wrote.
 * @returns 0, -errno or {@linkcode END_OF_STREAM}.
 */
export function* readExactly(
  environment: UpstreamEnvironment,
  fd: number,
  into: Uint8Array,
  deadlineMs: number,
  hasBegun: boolean,
): Dialogue<number> {
  const { sys, buffer } = environment;
  for (let have = 0; have < into.length;) {
    const n = sys.recv(fd, buffer.pointer, Math.min(buffer.length, into.length - have), 0);
    if (n > 0) {
      into.set(buffer.bytes.subarray(0, n), have);
      have += n;
    } else if (n === 0) return END_OF_STREAM;
    else if (n !== -EAGAIN) return n;
    else {
      const events = yield* (hasBegun || have > 0 ? more : event)(environment, fd, deadlineMs);
      if (events < 0) return events;
    }
  }
  return 0;
}

/** Takes the bytes of an answer as they come. */
export interface Reader {
  /** Whether no more are wanted. */
  readonly isDone: boolean;
  /** @returns how many of them belong to the answer: fewer than there are only when it is done. */
  take(bytes: Uint8Array): number;
}

/**
 * Feeds an answer of which only the answer itself tells how long it is. All that is peeked at belongs to it unless it
 * says otherwise, so what has been looked at is never looked at again.
 *
 * @returns 0, -errno or {@linkcode END_OF_STREAM}.
 */
export function* readInto(
  environment: UpstreamEnvironment,
  fd: number,
  reader: Reader,
  deadlineMs: number,
): Dialogue<number> {
  const { sys, buffer } = environment;
  let hasBegun = false;
  while (!reader.isDone) {
    const n = sys.recv(fd, buffer.pointer, buffer.length, MSG_PEEK);
    if (n > 0) {
      const taken = reader.take(buffer.bytes.subarray(0, n));
      sys.recv(fd, buffer.pointer, taken, 0);
      hasBegun = true;
    } else if (n === 0) return END_OF_STREAM;
    else if (n !== -EAGAIN) return n;
    else {
      const events = yield* (hasBegun ? more : event)(environment, fd, deadlineMs);
      if (events < 0) return events;
    }
  }
  return 0;
}

/** What one of these results means, for the log. */
export function describeResult(result: number): string {
  if (result === END_OF_STREAM) return "closed the connection";
  return result === -ETIMEDOUT ? "no answer in time" : errnoName(-result);
}
