/**
 * The routing in force, and another one when what it was made from has changed: lists that rules of the policy name,
 * and interfaces, which rules know by number. Who posts it to the workers is told what to post.
 *
 * @module
 */
import type { PolicyRuleConfig, RunConfig } from "../config/mod.ts";
import type { RoutingSettings } from "../dataplane/protocol.ts";
import { BackOff } from "./back_off.ts";
import type { EventSink } from "./events.ts";
import { listInterfaceNumbers } from "./interfaces.ts";
import { keepHealth } from "./keep_health.ts";
import { resolveRouting } from "./resolve_routing.ts";
import type { RouteNames } from "./route_names.ts";
import { type SourceChange, SourceWatch } from "./source_watch.ts";

/** How often lists and interfaces are looked at. */
const SOURCES_MS = 1_000;

/** The routings of one configuration. */
export type RoutingSource = SourceWatch<RoutingSettings>;

/**
 * The routings that `config` means on this host.
 *
 * @param before in force so far: what is known of a group's members stays known.
 */
export function routingSource(
  config: RunConfig,
  names: RouteNames,
  before: RoutingSettings | undefined,
): RoutingSource {
  const { rules } = config.policy;
  const files = rules.flatMap((rule) => [...rule.destinationFiles, ...rule.sourceFiles]);
  const source: RoutingSource = new SourceWatch({
    sources: { files: [...new Set(files)], interfaces: rules.some(namesInterfaces) },
    listInterfaces: listInterfaceNumbers,
    make: async () => {
      const { current } = source;
      if (current === undefined) return keepHealth(await resolveRouting(config, names), before);
      // A module is read again when somebody asks for it: until then it may be half-written.
      const { module: _module, ...policy } = config.policy;
      const made = await resolveRouting({ ...config, policy }, names);
      return keepHealth(current.module === undefined ? made : { ...made, module: current.module }, current);
    },
    areSame: areSameRoutings,
  });
  return source;
}

function namesInterfaces({ interfaces }: PolicyRuleConfig): boolean {
  return interfaces.length > 0;
}

/** Whether flows leave in the same way by both. */
export function areSameRoutings(a: RoutingSettings, b: RoutingSettings): boolean {
  return a.otherwise === b.otherwise && a.module?.url === b.module?.url &&
    a.module?.budgetMs === b.module?.budgetMs && textOf(a) === textOf(b) && areSameBytes(a.policy, b.policy);
}

function textOf({ upstreams }: RoutingSettings): string {
  return JSON.stringify(upstreams, (key, value) => key === "health" ? undefined : value);
}

function areSameBytes(a: ArrayBuffer | undefined, b: ArrayBuffer | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  if (a.byteLength !== b.byteLength) return false;
  const bytes = new Uint8Array(b);
  return new Uint8Array(a).every((byte, i) => byte === bytes[i]);
}

/** Looks after a routing until it is closed. */
export class RoutingWatch implements Disposable {
  readonly #exchange: (routing: RoutingSettings) => unknown;
  readonly #emit: EventSink;
  #source: RoutingSource;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** A routing that could not be made: when it is tried again, and what was said last. */
  #backOff = new BackOff();
  #retryAt = Infinity;
  #said = "";
  #isClosed = false;

  /**
   * @param source whose routing is in force.
   * @param exchange posts another one, before it returns.
   */
  constructor(source: RoutingSource, exchange: (routing: RoutingSettings) => unknown, emit: EventSink) {
    this.#source = source;
    this.#exchange = exchange;
    this.#emit = emit;
    this.#schedule();
  }

  /** In force. */
  get current(): RoutingSettings {
    return this.#source.current!;
  }

  /** Whose routing is in force. */
  get source(): RoutingSource {
    return this.#source;
  }

  /** The routing of another configuration is in force; it has been made. */
  follow(source: RoutingSource): void {
    this.#source = source;
    this.#forgetFailure();
    this.#schedule();
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    // Nobody is woken for nothing.
    if (this.#isClosed || !this.#source.hasSources) return;
    this.#timer = setTimeout(() => this.#look(), SOURCES_MS);
  }

  async #look(): Promise<void> {
    const source = this.#source;
    const retries = performance.now() >= this.#retryAt;
    if (retries) this.#retryAt = Infinity;
    try {
      const change = await source.readChange(retries);
      // Another configuration's is in force, or nothing is to change any more.
      if (this.#isClosed || source !== this.#source) return;
      if (change !== undefined) this.#accept(change);
      if (!source.isPending) this.#forgetFailure();
    } catch (error) {
      if (this.#isClosed || source !== this.#source) return;
      this.#report(error instanceof Error ? error.message : String(error));
    }
    this.#schedule();
  }

  #accept(change: SourceChange<RoutingSettings>): void {
    this.#exchange(change.value);
    this.#source.accept(change);
    this.#emit({ event: "routing-replaced", message: "lists or interfaces of the policy have changed" });
  }

  #forgetFailure(): void {
    this.#backOff = new BackOff();
    this.#retryAt = Infinity;
    this.#said = "";
  }

  /** Tried again in a while, and said once: what keeps failing fails in the same way. */
  #report(message: string): void {
    const retryMs = this.#backOff.next(0);
    this.#retryAt = performance.now() + retryMs;
    if (message === this.#said) return;
    this.#said = message;
    this.#emit({
      event: "warning",
      code: "routing-not-replaced",
      message: `new flows leave as before: ${message}`,
      hint: "the policy is made anew as soon as that is possible",
      retryMs,
    });
  }
}
