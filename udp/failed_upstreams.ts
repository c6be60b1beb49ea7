/**
 * Upstreams that have just failed to open a path: for a moment they are not asked again, however many datagrams come.
 *
 * @module
 */
import type { ConnectionEnd, DatagramUpstream } from "../flow/mod.ts";

/** How long an upstream is left alone. */
export const LEFT_ALONE_MS = 1000;

interface Failure {
  readonly atMs: number;
  readonly end: ConnectionEnd;
}

/** One worker's. */
export class FailedUpstreams {
  readonly #failures = new WeakMap<DatagramUpstream, Failure>();

  /** It has failed like this. */
  add(upstream: DatagramUpstream, end: ConnectionEnd, nowMs: number): void {
    this.#failures.set(upstream, { atMs: nowMs, end });
  }

  /** How it has failed a moment ago, if it has. */
  find(upstream: DatagramUpstream, nowMs: number): ConnectionEnd | undefined {
    const failure = this.#failures.get(upstream);
    return failure !== undefined && nowMs - failure.atMs < LEFT_ALONE_MS ? failure.end : undefined;
  }
}
