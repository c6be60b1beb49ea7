/**
 * The proxy in another program: started by one call, ended by leaving a scope.
 *
 * @module
 */
import { defaultRunConfig, type RunConfig, sidecarRunConfig } from "../config/mod.ts";
import { App } from "./app.ts";
import type { AppEvent, AppEvents, EventSink } from "./events.ts";
import type { ReloadOutcome } from "./reload.ts";

export type {
  PolicyDecision,
  PolicyEndpoint,
  PolicyFlow,
  PolicyFunction,
} from "../dataplane/policy_function.ts";

/** What {@linkcode intercept} can be told beside the configuration. */
export interface InterceptOptions {
  /**
   * A module whose default export, a `PolicyFunction`, decides for each new flow, before the configuration's rules: its
   * URL, or its path, relative to where the program runs. A module and not a function, since it runs in the threads that
   * carry the traffic.
   */
  readonly onFlow?: URL | string;
  /** Hears of everything there is to report; of each finished flow if the configuration has `flows: true`. */
  readonly onEvent?: EventSink;
}

/** A proxy that runs. */
export class Intercepting implements AsyncDisposable {
  /** What was said when everything was in place. */
  readonly ready: AppEvents["ready"];
  readonly #app: App;
  readonly #onFlow: InterceptOptions["onFlow"];

  /** What {@linkcode intercept} returns. @param app that has been started. */
  constructor(app: App, ready: AppEvents["ready"], onFlow: InterceptOptions["onFlow"]) {
    this.#app = app;
    this.ready = ready;
    this.#onFlow = onFlow;
  }

  /** Resolves once it has stopped, to whether all of it could be undone. */
  get stopped(): Promise<boolean> {
    return this.#app.stopped;
  }

  /**
   * Puts another configuration in force for new flows, and the policy module as it is now; live flows carry on as they
   * began. When anything is wrong, nothing changes, and the outcome says what it is.
   */
  async reload(config: Partial<RunConfig>): Promise<ReloadOutcome> {
    return await this.#app.reload(wholeConfig(config, this.#onFlow));
  }

  /** Stops taking new traffic, carries on what is open to its end or to the drain timeout, and undoes everything. */
  async stop(): Promise<boolean> {
    return await this.#app.stop();
  }

  /** The same without waiting for what is open. */
  async force(): Promise<boolean> {
    return await this.#app.force();
  }

  /** As {@linkcode Intercepting.stop}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#app.stop();
  }
}

/**
 * Starts the proxy in this process, which needs what `pellucid run` needs: Linux, and rights to change rules and routes.
 *
 * ```ts
 * await using proxy = await intercept(
 *   { from: ["eth1"], flows: true },
 *   { onFlow: new URL("./policy.ts", import.meta.url), onEvent: (event) => console.log(event) },
 * );
 * ```
 *
 * @param config what differs from `defaultRunConfig()`; of a sidecar from `sidecarRunConfig()`.
 * @returns when everything is in place.
 * @throws {ConfigError} when the configuration, or the policy module, cannot be used.
 * @throws {StartError} when the host does not let us; everything has been undone.
 */
export async function intercept(
  config: Partial<RunConfig>,
  { onFlow, onEvent }: InterceptOptions = {},
): Promise<Intercepting> {
  const ready = Promise.withResolvers<AppEvents["ready"]>();
  const app = new App(wholeConfig(config, onFlow), (event) => {
    if (event.event === "ready") ready.resolve(event);
    if (onEvent !== undefined) tell(onEvent, event);
  });
  await app.start();
  return new Intercepting(app, await ready.promise, onFlow);
}

/** What the program does wrong is its own affair, and none of the step that was reported. */
function tell(onEvent: EventSink, event: AppEvent): void {
  try {
    onEvent(event);
  } catch (error) {
    reportError(error);
  }
}

function wholeConfig(config: Partial<RunConfig>, onFlow: InterceptOptions["onFlow"]): RunConfig {
  const defaults = config.sidecar ? sidecarRunConfig() : defaultRunConfig();
  const whole = { ...defaults, ...config };
  if (onFlow === undefined) return whole;
  return { ...whole, policy: { ...whole.policy, module: moduleText(onFlow) } };
}

function moduleText(onFlow: URL | string): string {
  if (onFlow instanceof URL) return onFlow.href;
  return onFlow.startsWith("/") || URL.canParse(onFlow) ? onFlow : `${Deno.cwd()}/${onFlow}`;
}
