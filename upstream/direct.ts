/**
 * Straight from here, for those who know upstreams alone: groups. A flow whose route is `direct` needs no dialogue.
 *
 * @module
 */
import type { Dialogue } from "../ffi/mod.ts";
import type {
  DatagramPath,
  DatagramUpstream,
  StreamOpened,
  StreamRequest,
  StreamUpstream,
} from "../flow/mod.ts";
import { connect } from "./connect.ts";
import type { UpstreamEnvironment } from "./environment.ts";
import { dialFailed, socketFailed, upstreamFailed } from "./failure.ts";
import type { DirectSettings } from "./settings.ts";

const TO_DESTINATIONS: DatagramPath = { relay: undefined, framing: undefined, control: -1 };

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
  *openDatagrams(): Dialogue<DatagramPath> {
    return TO_DESTINATIONS;
  }
}
