/**
 * The proxy as a whole: what is started, what is stopped, and in which order.
 *
 * Start: preflight, workers with their listeners, routes, rules, `ready`; a step that fails undoes those before
 * it. Stop: rules let new connections pass, open ones are carried to their end or to the drain timeout, workers
 * stop, rules and routes go, `stopped`. Knows neither nft nor sockets: those are behind {@linkcode Interception}
 * and the workers.
 *
 * @module
 */
import { checkRunConfig, ConfigError, type RunConfig } from "../config/mod.ts";
import type { MemberChange, WorkerConfig } from "../dataplane/protocol.ts";
import { sumCounters } from "../dataplane/stats.ts";
import { DEFAULT_KERNEL_NUMBERS } from "../nft/intent.ts";
import type { AppEvent, AppEvents, EventSink } from "./events.ts";
import { type FdBudget, parseHardFdLimit, shareFds } from "./fd_budget.ts";
import { FlowLog } from "./flow_log.ts";
import { foreignInterception, type Interception } from "./interception.ts";
import { preflight } from "./preflight.ts";
import { notNow, refuseReload, Reloader, type ReloadOutcome, type TellIssues } from "./reload.ts";
import { RouteNames } from "./route_names.ts";
import { routingSource, RoutingWatch } from "./routing_watch.ts";
import { RuleInterception } from "./rule_interception.ts";
import { Supervisor } from "./supervisor.ts";
import { NO_MARKS, workerConfigs } from "./worker_configs.ts";
import { deathHint, explainWorkerStart } from "./worker_failure.ts";
import { POLICY_STUCK, type SlotObserver, type WorkerDeath, WorkerStartError } from "./worker_slot.ts";

/** How long workers may take to stop: they only have to close what is open. */
const STOP_TIMEOUT_MS = 5_000;

/** Parts that can be exchanged. */
export interface AppParts {
  /** The data-plane worker's module. */
  readonly workerUrl: URL;
  /** What brings connections to the listeners. */
  readonly interception: Interception;
}

/** What a successful start leaves to be stopped. */
interface Running {
  readonly configs: readonly WorkerConfig[];
  readonly supervisor: Supervisor;
  readonly interception: Interception;
  readonly flowLog: FlowLog | undefined;
  readonly routes: RoutingWatch;
  readonly reloader: Reloader;
}

/** One proxy in this process. It can be started once. */
export class App {
  readonly #config: RunConfig;
  readonly #emit: EventSink;
  readonly #parts: Partial<AppParts>;
  readonly #routeNames = new RouteNames();
  readonly #forced = Promise.withResolvers<void>();
  #isForced = false;
  #reloader: Reloader | undefined;
  #running: Promise<Running> | undefined;
  #stopping: Promise<boolean> | undefined;
  readonly #stopped = Promise.withResolvers<boolean>();

  /** `emit` receives everything there is to report; nothing is written anywhere else. */
  constructor(config: RunConfig, emit: EventSink, parts: Partial<AppParts> = {}) {
    this.#config = config;
    this.#emit = emit;
    this.#parts = parts;
  }

  /** Resolves after {@linkcode stop} has done its work, to whether all of it could be done. */
  get stopped(): Promise<boolean> {
    return this.#stopped.promise;
  }

  /**
   * Puts everything in place; reports `ready` when it is.
   *
   * @throws {ConfigError} when the configuration makes no sense.
   * @throws {StartError} when the host does not let us; everything has been undone.
   * @throws {Error} when it was called before, or after {@linkcode stop}.
   */
  async start(): Promise<void> {
    if (this.#running !== undefined) throw new Error("app: start called again, once wanted");
    // Nobody would stop what it starts: that has been done.
    if (this.#stopping !== undefined) throw new Error("app: start called after stop");
    this.#running = this.#start();
    await this.#running;
  }

  /**
   * Puts another configuration in force for new flows; live ones carry on as they began. Requests are taken one after
   * the other. When anything is wrong, nothing changes, and the outcome says what it is.
   *
   * @param tell says it in the words of whoever wrote the configuration.
   */
  async reload(config: RunConfig, tell: TellIssues = (issues) => issues): Promise<ReloadOutcome> {
    if (this.#reloader !== undefined) return await this.#reloader.reload(config, tell);
    const why = this.#stopping !== undefined
      ? "it is being stopped"
      : this.#running === undefined
      ? "it has not been started"
      : "it is being started";
    return refuseReload(notNow(why), this.#emit, tell);
  }

  /** Stops in good order; while a start is under way, after it. */
  stop(): Promise<boolean> {
    if (this.#stopping === undefined) {
      this.#stopping = this.#stop();
      this.#stopping.then(this.#stopped.resolve, this.#stopped.reject);
    }
    return this.#stopping;
  }

  /** Stops without waiting for open connections. */
  force(): Promise<boolean> {
    this.#isForced = true;
    this.#forced.resolve();
    return this.stop();
  }

  async #start(): Promise<Running> {
    const config = this.#config;
    const issues = checkRunConfig(config);
    if (issues.length > 0) throw new ConfigError(issues);
    this.#emit({ event: "starting", pid: Deno.pid, workers: config.workers });
    const { marks } = await preflight(config);
    const budget = this.#shareFds();
    const source = routingSource(config, this.#routeNames, undefined);
    const routing = await source.make();
    const socketMarks = marks ? DEFAULT_KERNEL_NUMBERS.marks : NO_MARKS;
    const configs = workerConfigs(config, budget, socketMarks, routing);
    const flowLog = config.flows
      ? new FlowLog(configs.flatMap(({ flowRing }) => flowRing ?? []), this.#routeNames, this.#emit)
      : undefined;
    const interception = this.#parts.interception ?? defaultInterception(config, this.#emit);
    const url = this.#parts.workerUrl ?? new URL("../dataplane/main.ts", import.meta.url);
    const supervisor = new Supervisor(url, configs, this.#observeWorkers(flowLog));
    try {
      // The rules are checked while the workers start; they are applied when there are listeners.
      const [listeners] = await Promise.all([supervisor.start(), interception.prepare()]);
      await interception.apply();
      const routes = new RoutingWatch(source, (other) => supervisor.exchangeRouting(other), this.#emit);
      const reloader = this.#reloader = new Reloader({
        config,
        names: this.#routeNames,
        supervisor,
        interception,
        routing: routes,
        emit: this.#emit,
      });
      this.#emit({
        event: "ready",
        pid: Deno.pid,
        mode: config.tcp,
        udp: config.udp,
        ...(config.sidecar === null ? {} : { legs: readyLegs(configs[0]!) }),
        source: config.source,
        listeners: listeners.tcp,
        udpListeners: listeners.udp,
        workers: config.workers,
        rules: interception.summary,
        maxConnections: budget.maxConnections,
        maxSessions: budget.maxSessions,
        startMs: Math.round(performance.now()),
      });
      return { configs, supervisor, interception, flowLog, routes, reloader };
    } catch (error) {
      await supervisor.stop(STOP_TIMEOUT_MS);
      await this.#revert(interception);
      throw error instanceof WorkerStartError ? explainWorkerStart(error.failure) : error;
    }
  }

  #shareFds(): FdBudget {
    const hardLimit = parseHardFdLimit(Deno.readTextFileSync("/proc/self/limits"));
    const budget = shareFds(hardLimit, this.#config);
    this.#tellIfLowered("max-connections", this.#config.maxConnections, budget.maxConnections, hardLimit);
    this.#tellIfLowered("max-sessions", this.#config.maxSessions, budget.maxSessions, hardLimit);
    return budget;
  }

  #tellIfLowered(
    flag: "max-connections" | "max-sessions",
    asked: number | undefined,
    granted: number,
    hardLimit: number,
  ): void {
    // Nothing is granted to a protocol that is off.
    if (asked === undefined || granted === 0 || granted >= asked) return;
    this.#emit({
      event: "warning",
      code: `${flag}-lowered`,
      message: `--${flag}: ${asked} found, lowered to ${granted}: the limit of open files is ${hardLimit}`,
      hint: "raise the hard limit (`ulimit -Hn`, LimitNOFILE=)",
    });
  }

  #observeWorkers(flowLog: FlowLog | undefined): SlotObserver {
    return {
      warning: (worker, { event, message, hint }) =>
        this.#emit({
          event: "warning",
          code: event,
          message,
          worker,
          ...(hint === undefined ? {} : { hint }),
        }),
      member: (change) => this.#emit(memberEvent(change)),
      records: () => flowLog?.notify(),
      died: (death) => this.#reportDeath(death),
      restarted: (worker, downMs) =>
        this.#emit({ event: "worker-restarted", worker, downMs: Math.round(downMs) }),
    };
  }

  #reportDeath({ worker, failure, restartMs }: WorkerDeath): void {
    if (failure.code === POLICY_STUCK) {
      this.#emit({
        event: "policy-stuck",
        worker,
        message: failure.message,
        hint: "its thread keeps a processor busy until the proxy is restarted; mend the module first",
        ...(restartMs === undefined ? {} : { restartMs }),
      });
      return;
    }
    this.#emit({
      event: "worker-died",
      worker,
      message: failure.message,
      ...(failure.code === undefined ? {} : { code: failure.code }),
      hint: deathHint(failure),
      ...(restartMs === undefined ? {} : { restartMs }),
      ...(failure.stack === undefined ? {} : { stack: failure.stack }),
    });
  }

  async #stop(): Promise<boolean> {
    // A start that failed has undone itself and said so to its caller.
    const running = await this.#running?.catch(() => undefined);
    if (running === undefined) return true;
    const { configs, supervisor, interception, flowLog, routes, reloader } = running;
    routes[Symbol.dispose]();
    await reloader.close();
    const timeoutMs = this.#isForced ? 0 : reloader.config.drainTimeoutMs;
    const { tcpOpenNow, udpSessionsNow } = sumCounters(configs.map(({ stats }) => stats));
    this.#emit({ event: "draining", openConnections: tcpOpenNow, openSessions: udpSessionsNow, timeoutMs });
    const isLettingPass = await this.#attempt("drain-failed", () => interception.enterDrain());
    // Workers that drain do not listen: rules that still take new connections would have them refused.
    const revertedEarly = isLettingPass ? undefined : await this.#revert(interception);
    await this.#drainWorkers(supervisor, timeoutMs);
    const stuck = await supervisor.stop(STOP_TIMEOUT_MS);
    for (const worker of stuck) {
      this.#emit({ event: "error", code: "worker-stuck", message: `worker ${worker}: not stopped in time` });
    }
    // Where it failed before, the workers may have held the descriptors that it wants.
    const reverted = revertedEarly === true || await this.#revert(interception);
    flowLog?.flush();
    this.#emit({
      event: "stopped",
      upMs: Math.round(performance.now()),
      forced: this.#isForced,
      totals: sumCounters(configs.map(({ stats }) => stats)),
    });
    return reverted && stuck.length === 0;
  }

  async #drainWorkers(supervisor: Supervisor, timeoutMs: number): Promise<void> {
    const timeUp = Promise.withResolvers<void>();
    const timer = setTimeout(timeUp.resolve, timeoutMs);
    await Promise.race([supervisor.drain(), timeUp.promise, this.#forced.promise]);
    clearTimeout(timer);
  }

  #revert(interception: Interception): Promise<boolean> {
    return this.#attempt(
      "revert-failed",
      () => interception.revert(),
      "`pellucid rules cleanup` removes what is left",
    );
  }

  /** A step on the way out: when it fails, the others are taken all the same. */
  async #attempt(code: string, step: () => Promise<void>, hint?: string): Promise<boolean> {
    try {
      await step();
      return true;
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.#emit({ event: "error", code, message, ...(hint === undefined ? {} : { hint }) });
      return false;
    }
  }
}

/** All workers have the same. */
function readyLegs({ tcp }: WorkerConfig): NonNullable<AppEvents["ready"]["legs"]> {
  return tcp.map(({ direction = "outbound", mode, port, dns }) => ({ direction, mode, port, dns }));
}

function memberEvent({ isUp, downMs, reason, ...change }: MemberChange): AppEvent {
  return isUp
    ? { event: "upstream-up", ...change, downMs: downMs ?? 0 }
    : { event: "upstream-down", ...change, reason: reason ?? "" };
}

function defaultInterception(config: RunConfig, emit: EventSink): Interception {
  return config.rules === "none" ? foreignInterception() : new RuleInterception(config, emit);
}
