/**
 * Keeps the data-plane workers alive: starts them, restarts one that died, drains and stops them.
 *
 * A worker that fails at its first start is a failed start of the whole; one that dies later is started again,
 * each time after a longer wait, while the others carry on. Knows workers and the protocol only: what is
 * reported and when to stop is the app's business.
 *
 * @module
 */
import type { Listeners, RoutingSettings, WorkerConfig } from "../dataplane/protocol.ts";
import { type SlotObserver, WorkerSlot } from "./worker_slot.ts";

/** How long a worker may take to get ready; it needs 50 ms. */
const START_TIMEOUT_MS = 10_000;
/** How often it is looked whether a policy module has kept a worker. */
const STUCK_LOOK_MS = 250;

/** All workers of one proxy. */
export class Supervisor {
  readonly #slots: WorkerSlot[];
  #stuckTimer: ReturnType<typeof setInterval> | undefined;

  /**
   * Nothing is started yet.
   *
   * @param url the worker's module.
   * @param configs one for each worker.
   */
  constructor(
    url: URL,
    configs: readonly WorkerConfig[],
    observer: SlotObserver,
    startTimeoutMs: number = START_TIMEOUT_MS,
  ) {
    this.#slots = configs.map((config) => new WorkerSlot(url, config, observer, startTimeoutMs));
  }

  /**
   * Starts all workers, the first one first.
   *
   * @returns the TCP listeners of one worker, since all have the same, and the UDP listeners of all.
   * @throws {WorkerStartError} when one fails; the others may be running then: {@linkcode stop} ends them.
   */
  async start(): Promise<Listeners> {
    const [first, ...others] = this.#slots;
    // The first one's UDP port decides between two proxies that start at once; all together, each could take a port
    // that the other wants.
    if (first!.watchesPolicy) this.#stuckTimer = setInterval(() => this.#endStuck(), STUCK_LOOK_MS);
    const listeners = [await first!.start(), ...await Promise.all(others.map((slot) => slot.start()))];
    // Redirected queries arrive at one port of all workers.
    return { tcp: listeners[0]!.tcp, udp: [...new Set(listeners.flatMap(({ udp }) => udp))] };
  }

  /** New flows leave in these ways once this resolves; those that there are keep theirs. Posted before it returns. */
  async exchangeRouting(routing: RoutingSettings): Promise<void> {
    await Promise.all(this.#slots.map((slot) => slot.exchangeRouting(routing)));
  }

  /** Nothing new is taken on; resolves when the last connection and the last session have ended. */
  async drain(): Promise<void> {
    await Promise.all(this.#slots.map((slot) => slot.drain()));
  }

  /**
   * Ends all workers at once, and their connections with them.
   *
   * @returns the workers that had not stopped when the time was up.
   */
  async stop(timeoutMs: number): Promise<readonly number[]> {
    const stopped = Promise.all(this.#slots.map((slot) => slot.stop()));
    const timeUp = Promise.withResolvers<void>();
    const timer = setTimeout(timeUp.resolve, timeoutMs);
    await Promise.race([stopped, timeUp.promise]);
    clearTimeout(timer);
    clearInterval(this.#stuckTimer);
    return this.#slots.filter((slot) => slot.giveUp()).map((slot) => slot.index);
  }

  #endStuck(): void {
    for (const slot of this.#slots) slot.endIfStuck();
  }
}
