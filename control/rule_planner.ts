/**
 * Makes the plan, and another one when what it was made from has changed: interfaces that a pattern means, files
 * that list addresses.
 *
 * @module
 */
import type { RunConfig } from "../config/mod.ts";
import type { InterceptIntent, Plan } from "../nft/mod.ts";
import { listInterfaces } from "./interfaces.ts";
import { checkedPlan } from "./plan_for.ts";
import { intentSources, resolveIntent } from "./resolve_intent.ts";
import { type SourceChange, SourceWatch } from "./source_watch.ts";

/** A plan in another one's place. */
export interface PlanChange {
  readonly plan: Plan;
  /** For people. */
  readonly why: string;
  /** What it was made from. */
  readonly source: SourceChange<InterceptIntent>;
}

/** The plans of one configuration. */
export class RulePlanner {
  readonly #watch: SourceWatch<InterceptIntent>;

  constructor(config: RunConfig) {
    this.#watch = new SourceWatch({
      sources: intentSources(config),
      listInterfaces: () => listInterfaces().join("\n"),
      make: () => resolveIntent(config),
      areSame: areSameIntents,
    });
  }

  /** The plan for now. @throws {ConfigError | StartError} */
  async plan(): Promise<Plan> {
    return checkedPlan(await this.#watch.make());
  }

  /** Whether the plan that was accepted last is the other one's too. */
  hasPlanOf(other: RulePlanner): boolean {
    const ours = this.#watch.current, theirs = other.#watch.current;
    return ours !== undefined && theirs !== undefined && areSameIntents(ours, theirs);
  }

  /**
   * Another plan, if the accepted one is not right any more. It is told once, and again when `retries` is set, until
   * it is accepted.
   *
   * @throws {ConfigError | StartError | Error} when no plan can be made, as often.
   */
  async readChange(retries: boolean): Promise<PlanChange | undefined> {
    const source = await this.#watch.readChange(retries);
    if (source === undefined) return undefined;
    const { from } = source.value;
    const isOfInterfaces = this.#watch.current?.from.join() !== from.join();
    const why = isOfInterfaces
      ? `interfaces: now ${from.length === 0 ? "none" : from.join(", ")}`
      : "lists or interfaces have changed";
    return { plan: checkedPlan(source.value), why, source };
  }

  /** The rules of `change` are in place. */
  accept({ source }: PlanChange): void {
    this.#watch.accept(source);
  }

  /** Whether there is anything that could change: files, or interfaces that matter. */
  get hasSources(): boolean {
    return this.#watch.hasSources;
  }

  /** Whether the rules in place are known to be of another plan than the one for now. */
  get isPending(): boolean {
    return this.#watch.isPending;
  }
}

function areSameIntents(a: InterceptIntent, b: InterceptIntent): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
