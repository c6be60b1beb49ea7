/**
 * A stream through one server or several: the first is connected to from here, each leads to the next, the last to
 * the target.
 *
 * @module
 */
import type { Dialogue } from "../ffi/mod.ts";
import type {
  StreamFailure,
  StreamOpened,
  StreamRequest,
  StreamTarget,
  StreamUpstream,
} from "../flow/mod.ts";
import { connect, TO_SERVER } from "./connect.ts";
import type { UpstreamEnvironment } from "./environment.ts";
import { dialFailed, socketFailed, upstreamFailed } from "./failure.ts";
import type { Hop } from "./hop.ts";

/** Streams through hops. */
export class HopStreams implements StreamUpstream {
  readonly name: string;
  readonly #environment: UpstreamEnvironment;
  readonly #hops: readonly Hop[];

  /** @param hops at least one. */
  constructor(environment: UpstreamEnvironment, name: string, hops: readonly Hop[]) {
    this.name = name;
    this.#environment = environment;
    this.#hops = hops;
  }

  /** What all hops may take together. */
  get timeoutMs(): number {
    return this.#hops.reduce((sum, hop) => sum + hop.timeoutMs, 0);
  }

  *open(request: StreamRequest): Dialogue<StreamOpened> {
    const { reactor, sys } = this.#environment;
    const first = this.#hops[0]!;
    const deadlineMs = Math.min(request.deadlineMs, reactor.now + first.timeoutMs);
    const reached = yield* reach(this.#environment, first, request.target, deadlineMs);
    if ("detail" in reached) return reached;
    const { fd } = reached;
    let isKept = false;
    try {
      const failure = yield* this.#askAll(fd, request, deadlineMs);
      if (failure !== undefined) return failure;
      reactor.remove(fd);
      isKept = true;
      return { fd };
    } finally {
      if (!isKept) {
        reactor.forget(fd);
        sys.close(fd);
      }
    }
  }

  *#askAll(
    fd: number,
    request: StreamRequest,
    firstDeadlineMs: number,
  ): Dialogue<StreamFailure | undefined> {
    const { reactor } = this.#environment;
    let deadlineMs = firstDeadlineMs;
    for (let i = 0; i < this.#hops.length; i++) {
      const hop = this.#hops[i]!;
      if (i > 0) deadlineMs = Math.min(request.deadlineMs, reactor.now + hop.timeoutMs);
      const target = this.#hops[i + 1]?.server ?? request.target;
      const failure = yield* hop.handshake(fd, { ...request, target, deadlineMs });
      if (failure !== undefined) return this.#leadsToServer(i) ? onTheWay(failure) : failure;
    }
    return undefined;
  }

  /** Whether a hop was to lead to another server of ours, and not to the destination. */
  #leadsToServer(index: number): boolean {
    return this.#hops[index + 1]?.server !== undefined;
  }
}

/** What keeps one hop from leading to the next is the chain's doing, whatever the destination. */
function onTheWay(failure: StreamFailure): StreamFailure {
  const { reason } = failure.end;
  const isTold = reason === "upstream-auth" || reason === "denied" || reason === "limit";
  return isTold ? { ...failure, atUpstream: true } : upstreamFailed(failure.detail);
}

/**
 * Connects to a hop's server.
 *
 * @param target what the stream is for; where it goes when the hop has no server.
 * @returns a descriptor that is watched, the caller's.
 */
export function* reach(
  environment: UpstreamEnvironment,
  { server, label }: Hop,
  target: StreamTarget,
  deadlineMs: number,
): Dialogue<StreamOpened> {
  const at = server ?? target;
  if (!(at instanceof Uint8Array)) {
    return upstreamFailed(`${label}: ${at.host} is a name, an address is wanted`);
  }
  const result = yield* connect(environment, at, TO_SERVER, deadlineMs);
  if (!("errno" in result)) return result;
  const { errno, dialled } = result;
  return server === undefined && dialled ? dialFailed(errno, label) : socketFailed(errno, label);
}
