/**
 * Straight from here, for those who know upstreams alone: groups. A flow whose route is `direct` needs no dialogue.
 *
 * @module
 */
import { type Dialogue, SOCK_CLOEXEC, SOCK_DGRAM, sockaddrFamily } from "../ffi/mod.ts";
import {
  bindToInterface,
  type DatagramPath,
  type DatagramRequest,
  type DatagramUpstream,
  type StreamFailure,
  type StreamOpened,
  type StreamRequest,
  type StreamUpstream,
} from "../flow/mod.ts";
import { connect } from "./connect.ts";
import type { UpstreamEnvironment } from "./environment.ts";
import { dialFailed, socketFailed, upstreamFailed } from "./failure.ts";
import type { DirectSettings } from "./settings.ts";

/** A `direct` upstream as a member. */
export class DirectStreams implements StreamUpstream, DatagramUpstream {
  readonly name: string;
  readonly #environment: UpstreamEnvironment;
  readonly #settings: DirectSettings;

  constructor(environment: UpstreamEnvironment, settings: DirectSettings) {
    this.name = settings.name;
    this.#environment = environment;
    this.#settings = settings;
  }

  *open({ target, client, deadlineMs }: StreamRequest): Dialogue<StreamOpened> {
    const label = `direct ${this.name}`;
    if (!(target instanceof Uint8Array)) {
      return upstreamFailed(`${label}: ${target.host} is a name, an address is wanted`);
    }
    const { interface: by, mark, dscp, source = this.#environment.source } = this.#settings;
    const keep = source === "keep" ? client : undefined;
    const options = { keep, interface: by, mark, dscp, speaksFirst: false };
    const result = yield* connect(this.#environment, target, options, deadlineMs);
    if ("errno" in result) {
      const { errno, dialled } = result;
      // No route or no such interface is this way's doing, an answer is the destination's.
      return dialled ? dialFailed(errno, label) : socketFailed(errno, label);
    }
    this.#environment.reactor.remove(result.fd);
    return result;
  }

  // deno-lint-ignore require-yield
  *openDatagrams({ client }: DatagramRequest): Dialogue<DatagramPath | StreamFailure> {
    const options = this.#settings;
    // Whoever asks opens the socket, and has no other member to try by then.
    const result = options.interface === undefined ? 0 : this.#tryInterface(sockaddrFamily(client));
    if (result < 0) return socketFailed(-result, `direct ${this.name}`);
    return { relay: undefined, options, framing: undefined, control: -1 };
  }

  /** @returns 0 or -errno, as a socket that is to leave by the interface would meet with it. */
  #tryInterface(family: number): number {
    const { sys } = this.#environment;
    const fd = sys.socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return fd;
    const result = bindToInterface(this.#environment, fd, this.#settings.interface!);
    sys.close(fd);
    return result;
  }
}
