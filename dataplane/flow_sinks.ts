/**
 * Writes the records of ended flows into the ring, as TCP and UDP tell of them.
 *
 * @module
 */
import type { FlowSink, TcpSettings } from "../tcp/mod.ts";
import type { UdpFlowSink } from "../udp/mod.ts";
import { type FlowRingWriter, IPPROTO_TCP, IPPROTO_UDP } from "./flow_ring.ts";
import type { RouteWords } from "./worker_router.ts";

/** The records of one worker. */
export class FlowSinks {
  readonly #ring: FlowRingWriter;
  readonly #routeWords: RouteWords;
  readonly #onDropped: () => void;
  readonly #onWake: () => void;

  /**
   * @param onDropped the ring is full.
   * @param onWake its reader is asleep, and there is a record now.
   */
  constructor(ring: FlowRingWriter, routeWords: RouteWords, onDropped: () => void, onWake: () => void) {
    this.#ring = ring;
    this.#routeWords = routeWords;
    this.#onDropped = onDropped;
    this.#onWake = onWake;
  }

  /** Of the connections of one listener. */
  tcp(direction: TcpSettings["direction"]): FlowSink {
    const kind = { protocol: IPPROTO_TCP, direction };
    const ring = this.#ring;
    return (client, destination, local, bytesUp, bytesDown, durationMs, end, route) => {
      const word = this.#routeWords.of(route);
      this.#recorded(
        ring.write(kind, client, destination, local, bytesUp, bytesDown, 0, 0, durationMs, end, word),
      );
    };
  }

  /** Of sessions. */
  udp(): UdpFlowSink {
    const kind = { protocol: IPPROTO_UDP, direction: undefined };
    const ring = this.#ring;
    return (
      client,
      destination,
      local,
      bytesUp,
      bytesDown,
      datagramsUp,
      datagramsDown,
      durationMs,
      end,
      route,
    ) => {
      const word = this.#routeWords.of(route);
      this.#recorded(
        ring.write(
          kind,
          client,
          destination,
          local,
          bytesUp,
          bytesDown,
          datagramsUp,
          datagramsDown,
          durationMs,
          end,
          word,
        ),
      );
    };
  }

  #recorded(outcome: ReturnType<FlowRingWriter["write"]>): void {
    if (outcome === "dropped") this.#onDropped();
    else if (outcome === "wake") this.#onWake();
  }
}
