/**
 * One place in the row of workers, and the lives that fill it one after the other.
 *
 * @module
 */
import type {
  FromWorker,
  Listeners,
  MemberChange,
  RoutingSettings,
  WorkerConfig,
  WorkerFailure,
} from "../dataplane/protocol.ts";
import { insideSince, type LifeMemory, makeLifeMemory, takeLife } from "../dataplane/life_memory.ts";
import { COUNTERS, counterSlot } from "../dataplane/stats.ts";
import { BackOff } from "./back_off.ts";
import { parseHardFdLimit } from "./fd_budget.ts";
import { WorkerHandle } from "./worker_handle.ts";

/** A worker that died, and what happens next. */
export interface WorkerDeath {
  readonly worker: number;
  readonly failure: WorkerFailure;
  /** When it is started again; undefined: not any more, since we are stopping. */
  readonly restartMs: number | undefined;
}

/** Who is told of what happens in a slot. */
export interface SlotObserver {
  warning(worker: number, warning: Extract<FromWorker, { kind: "warning" }>): void;
  /** A member of a group of upstreams went down or is back. */
  member(change: MemberChange): void;
  /** The worker's flow ring has records. */
  records(): void;
  died(death: WorkerDeath): void;
  restarted(worker: number, downMs: number): void;
}

/** A policy module that has not returned for so long does not return. */
const STUCK_MS = 1_000;
/** `code` of the failure of a worker whose policy module did not return. */
export const POLICY_STUCK = "POLICY_STUCK";

/** A worker that did not get ready at its first start. */
export class WorkerStartError extends Error {
  override readonly name = "WorkerStartError";
  /** What the worker said, or what was seen of it. */
  readonly failure: WorkerFailure;
  /** @param worker its index. */
  constructor(worker: number, failure: WorkerFailure) {
    super(`worker ${worker}: ${failure.message}`);
    this.failure = failure;
  }
}

/** A slot: what is wanted of it, and the worker that lives in it now, if one does. */
export class WorkerSlot {
  readonly #url: URL;
  #config: WorkerConfig;
  readonly #observer: SlotObserver;
  readonly #startTimeoutMs: number;
  readonly #backOff = new BackOff();
  readonly #firstReady = Promise.withResolvers<Listeners>();
  readonly #drained = Promise.withResolvers<void>();
  readonly #stopped = Promise.withResolvers<void>();
  #wanted: "run" | "drain" | "stop" = "run";
  #handle: WorkerHandle | undefined;
  /** Routings that this life has been sent and is not known to have heard of, the first one first. */
  readonly #unheard: (() => void)[] = [];
  /** Whether any life of this slot got ready: from then on a death is followed by a restart. */
  #everReady = false;
  #launchedAt = 0;
  /** Since when the slot has had no ready worker; undefined while it has one. */
  #downSince: number | undefined;
  /** Whether lives may have to be given up in the middle of a policy module. */
  readonly #watchesPolicy: boolean;
  /** Of the life that fills the slot, and of one that was given up and not yet succeeded. */
  #life: LifeMemory | undefined;
  #leftBehind: LifeMemory | undefined;
  /** The module that a life was given up for. */
  #stuckModule: string | undefined;
  /** Inside which call of the module the life was seen, and since when. */
  #inside: { readonly call: number; readonly since: number } | undefined;
  /** Of a starting worker: until it is given up. Of an empty slot: until the next start. */
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Nothing is started yet. */
  constructor(url: URL, config: WorkerConfig, observer: SlotObserver, startTimeoutMs: number) {
    this.#url = url;
    this.#config = config;
    this.#observer = observer;
    this.#startTimeoutMs = startTimeoutMs;
    this.#watchesPolicy = config.routing.module !== undefined;
  }

  /** Whether {@linkcode endIfStuck} is to be called now and then. */
  get watchesPolicy(): boolean {
    return this.#watchesPolicy;
  }

  /** The worker's index. */
  get index(): number {
    return this.#config.index;
  }

  /**
   * Starts the first life.
   *
   * @returns the worker's listeners, once it is ready.
   * @throws {WorkerStartError}
   */
  start(): Promise<Listeners> {
    this.#launch();
    return this.#firstReady.promise;
  }

  /** New flows leave in these ways from now on, in this life, once this resolves, and in those that follow. */
  exchangeRouting(routing: RoutingSettings): Promise<void> {
    routing = this.#withoutStuckModule(routing);
    this.#config = { ...this.#config, routing };
    if (this.#handle === undefined) return Promise.resolve();
    this.#handle.send({ kind: "routing", routing });
    return new Promise((resolve) => this.#unheard.push(resolve));
  }

  /** Gives the worker up if its policy module does not return; the rules alone decide for its successor. */
  endIfStuck(): void {
    const life = this.#life, { module } = this.#config.routing;
    const call = life && insideSince(life.turn);
    if (life === undefined || call === undefined || call !== this.#inside?.call) {
      this.#inside = call === undefined ? undefined : { call, since: performance.now() };
      return;
    }
    if (performance.now() - this.#inside.since < STUCK_MS || !takeLife(life.turn, call)) return;
    this.#handle?.abandon();
    this.#leftBehind = life;
    this.#stuckModule = module?.url;
    this.#config = { ...this.#config, routing: this.#withoutStuckModule(this.#config.routing) };
    this.#ended({ message: "its policy module does not return", code: POLICY_STUCK });
  }

  /** Until there is another text in its place. */
  #withoutStuckModule({ module, ...routing }: RoutingSettings): RoutingSettings {
    return module === undefined || module.url === this.#stuckModule ? routing : { ...routing, module };
  }

  /** Resolves when no connection and no session is left. */
  drain(): Promise<void> {
    this.#want("drain");
    if (this.#handle === undefined) this.#drained.resolve();
    return this.#drained.promise;
  }

  /** Resolves when the worker has ended. */
  stop(): Promise<void> {
    this.#want("stop");
    if (this.#handle === undefined) this.#stopped.resolve();
    return this.#stopped.promise;
  }

  /** Waits no longer for a worker that was told to stop; whether there was one. */
  giveUp(): boolean {
    clearTimeout(this.#timer);
    this.#handle?.abandon();
    const wasLiving = this.#handle !== undefined;
    this.#handle = undefined;
    return wasLiving;
  }

  #want(wanted: "drain" | "stop"): void {
    this.#wanted = wanted;
    if (this.#handle === undefined) clearTimeout(this.#timer);
    this.#handle?.send({ kind: wanted });
  }

  #launch(): void {
    this.#launchedAt = performance.now();
    this.#timer = setTimeout(() => this.#startTookTooLong(), this.#startTimeoutMs);
    const config = this.#configOfLife();
    this.#life = config.life;
    this.#handle = new WorkerHandle(this.#url, config, {
      ready: (listeners) => this.#ready(listeners),
      warning: (warning) => this.#observer.warning(this.index, warning),
      member: (change) => this.#observer.member(change),
      records: () => this.#observer.records(),
      routed: () => this.#unheard.shift()?.(),
      drained: () => this.#drained.resolve(),
      ended: (failure) => this.#ended(failure),
    });
  }

  #configOfLife(): WorkerConfig {
    if (!this.#watchesPolicy) return this.#config;
    const { clientTable, udpClientTable } = this.#config;
    const life = makeLifeMemory({
      descriptors: parseHardFdLimit(Deno.readTextFileSync("/proc/self/limits")),
      clientTable: clientTable?.byteLength,
      udpClientTable: udpClientTable?.byteLength,
    });
    const leftBehind = this.#leftBehind;
    return { ...this.#config, life, ...(leftBehind === undefined ? {} : { leftBehind }) };
  }

  #startTookTooLong(): void {
    this.#handle?.abandon();
    this.#ended({ message: `not ready after ${this.#startTimeoutMs / 1000} s` });
  }

  #ready(listeners: Listeners): void {
    clearTimeout(this.#timer);
    this.#everReady = true;
    this.#leftBehind = undefined;
    if (this.#downSince !== undefined) {
      this.#observer.restarted(this.index, performance.now() - this.#downSince);
    }
    this.#downSince = undefined;
    this.#firstReady.resolve(listeners);
  }

  #ended(failure: WorkerFailure | undefined): void {
    clearTimeout(this.#timer);
    this.#handle = undefined;
    this.#life = undefined;
    this.#inside = undefined;
    this.#takeBackGauges();
    // Another life begins with the last one.
    for (const heard of this.#unheard.splice(0)) heard();
    // Otherwise the slot is about to be filled again, and somebody may yet wait for that life's end.
    if (this.#wanted !== "run") this.#drained.resolve();
    if (this.#wanted === "stop") this.#stopped.resolve();
    if (this.#wanted === "stop" && failure === undefined) return;
    const reason = failure ?? { message: "it stopped without being told to" };
    if (!this.#everReady) return this.#firstReady.reject(new WorkerStartError(this.index, reason));
    this.#observer.died({ worker: this.index, failure: reason, restartMs: this.#planRestart() });
  }

  #planRestart(): number | undefined {
    if (this.#wanted !== "run") return undefined;
    const now = performance.now();
    this.#downSince ??= now;
    const restartMs = this.#backOff.next(now - this.#launchedAt);
    this.#timer = setTimeout(() => this.#launch(), restartMs);
    return restartMs;
  }

  /**
   * What the dead worker had open is closed with it: other workers must not be refused connections for its sake.
   */
  #takeBackGauges(): void {
    const counters = new Float64Array(this.#config.stats);
    Atomics.sub(new Int32Array(this.#config.openConnections), 0, counters[counterSlot("tcpOpenNow")]!);
    for (const name of COUNTERS) {
      if (name.endsWith("Now")) counters[counterSlot(name)] = 0;
    }
  }
}
