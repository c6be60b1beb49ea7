/**
 * Another configuration in place of the one that runs, for new flows: all of it or nothing.
 *
 * Everything is resolved, rendered and tried before anything changes. Then workers take the new routing, and say so,
 * and then the rules are exchanged in one step. In this order no flow that the new rules take meets the old policy; and
 * since workers know the whole policy, also the part that rules decide before them, each of them can decide about
 * every flow whichever rules have sent it. In between, for some milliseconds, what the old rules still take leaves as
 * the new policy says.
 *
 * @module
 */
import { checkRunConfig, ConfigError, type ConfigIssue, formatIssue, type RunConfig } from "../config/mod.ts";
import type { EventSink } from "./events.ts";
import type { Interception, InterceptionChange } from "./interception.ts";
import { checkGrants } from "./preflight.ts";
import { describeChanges, restartIssues } from "./reload_scope.ts";
import type { RouteNames } from "./route_names.ts";
import { areSameRoutings, type RoutingSource, routingSource, type RoutingWatch } from "./routing_watch.ts";
import { StartError } from "./start_error.ts";
import type { Supervisor } from "./supervisor.ts";

/** How long a worker may take to hear of a routing: it reads it between two events, and compiles nothing. */
const HEARD_TIMEOUT_MS = 5_000;

/** What became of a request for another configuration. */
export type ReloadOutcome =
  /** In force for new flows; `changes` in words, none where there are none. */
  | { readonly kind: "reloaded"; readonly changes: readonly string[] }
  /** Everything is as it was. */
  | { readonly kind: "failed"; readonly issues: readonly string[] };

/** Tells issues in the words of whoever wrote the configuration. */
export type TellIssues = (issues: readonly ConfigIssue[]) => readonly ConfigIssue[];

/** What a running proxy consists of, as far as it can be given another configuration. */
export interface ReloadParts {
  readonly config: RunConfig;
  readonly names: RouteNames;
  readonly supervisor: Pick<Supervisor, "exchangeRouting">;
  readonly interception: Interception;
  readonly routing: RoutingWatch;
  readonly emit: EventSink;
}

/** One configuration after the other. */
export class Reloader {
  readonly #parts: ReloadParts;
  #config: RunConfig;
  #turn: Promise<unknown> = Promise.resolve();
  #committing: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(parts: ReloadParts) {
    this.#parts = parts;
    this.#config = parts.config;
  }

  /** The one in force. */
  get config(): RunConfig {
    return this.#config;
  }

  /** Requests come one after the other, so that the last one holds. Both outcomes are also told as events. */
  reload(config: RunConfig, tell: TellIssues = (issues) => issues): Promise<ReloadOutcome> {
    const begunAt = performance.now();
    const outcome = this.#turn.then(() => this.#reload(config, tell, begunAt));
    this.#turn = outcome;
    return outcome;
  }

  /** From now on requests are refused; resolves when none is under way that changes anything. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#committing;
  }

  async #reload(config: RunConfig, tell: TellIssues, begunAt: number): Promise<ReloadOutcome> {
    try {
      const changes = await this.#exchange(config);
      this.#parts.emit({ event: "reloaded", changes, tookMs: Math.round(performance.now() - begunAt) });
      return { kind: "reloaded", changes };
    } catch (error) {
      return refuseReload(error, this.#parts.emit, tell);
    }
  }

  async #exchange(config: RunConfig): Promise<string[]> {
    const { names, routing, interception } = this.#parts;
    this.#requireRunning();
    const issues = [...checkRunConfig(config), ...restartIssues(this.#config, config)];
    if (issues.length > 0) throw new ConfigError(issues);
    checkGrants(config);
    const source = routingSource(config, names, routing.current);
    const [change] = await everything([interception.prepareChange(config), source.make()]);
    this.#requireRunning();
    const differs = { rules: change.differs, routing: !areSameRoutings(routing.current, source.current!) };
    const committing = this.#commit(source, differs.routing, change);
    this.#committing = committing.catch(() => {});
    await committing;
    const changes = describeChanges(this.#config, config, differs);
    this.#config = config;
    return changes;
  }

  async #commit(source: RoutingSource, differs: boolean, change: InterceptionChange): Promise<void> {
    const { routing } = this.#parts;
    const before = routing.source;
    routing.follow(source);
    try {
      if (differs) await this.#post(source);
      await change.commit();
    } catch (error) {
      routing.follow(before);
      if (differs) await this.#post(before).catch(() => {});
      throw error;
    }
  }

  async #post(source: RoutingSource): Promise<void> {
    const timeUp = Promise.withResolvers<never>();
    const timer = setTimeout(
      () =>
        timeUp.reject(
          new StartError("worker-failed", "a worker does not answer", "stop and start the proxy"),
        ),
      HEARD_TIMEOUT_MS,
    );
    try {
      await Promise.race([this.#parts.supervisor.exchangeRouting(source.current!), timeUp.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  #requireRunning(): void {
    if (this.#isClosed) throw notNow("it is being stopped");
  }
}

/** A request that comes to nothing, told as it is told to who asked. */
export function refuseReload(error: unknown, emit: EventSink, tell: TellIssues): ReloadOutcome {
  const issues = error instanceof ConfigError ? tell(error.issues).map(formatIssue) : [
    error instanceof StartError
      ? `${error.message}; ${error.hint}`
      : error instanceof Error
      ? error.message
      : String(error),
  ];
  emit({ event: "reload-failed", issues });
  return { kind: "failed", issues };
}

/** The refusal of a proxy that cannot be given another configuration now. */
export function notNow(why: string): StartError {
  return new StartError(
    "not-running",
    `reload: ${why}`,
    "a proxy that runs can be given another configuration",
  );
}

/** As Promise.all, but what is wrong with a configuration is said at once, whoever finds it. */
async function everything<T extends readonly unknown[]>(
  works: { readonly [Index in keyof T]: Promise<T[Index]> },
): Promise<T> {
  const settled = await Promise.allSettled(works as readonly Promise<unknown>[]);
  const reasons = settled.flatMap((one) => one.status === "rejected" ? [one.reason as unknown] : []);
  const issues = reasons.flatMap((reason) => reason instanceof ConfigError ? reason.issues : []);
  const other = reasons.find((reason) => !(reason instanceof ConfigError));
  if (other !== undefined) throw other;
  if (issues.length > 0) throw new ConfigError(issues);
  return settled.map((one) => (one as PromiseFulfilledResult<unknown>).value) as unknown as T;
}
