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

/** A plan in another one's place. */
export interface PlanChange {
  readonly plan: Plan;
  /** For people. */
  readonly why: string;
}

/** The plans of one configuration. */
export class RulePlanner {
  readonly #config: RunConfig;
  #intent: InterceptIntent | undefined;
  #seen = "";

  constructor(config: RunConfig) {
    this.#config = config;
  }

  /** The plan for now. @throws {ConfigError | StartError} */
  async plan(): Promise<Plan> {
    this.#seen = await this.#look();
    this.#intent = await resolveIntent(this.#config);
    return checkedPlan(this.#intent);
  }

  /**
   * Another plan, if the last one is not right any more.
   *
   * @throws {ConfigError | StartError} once for each change from which no plan can be made.
   */
  async readChange(): Promise<PlanChange | undefined> {
    const seen = await this.#look();
    if (seen === this.#seen) return undefined;
    this.#seen = seen;
    const intent = await resolveIntent(this.#config);
    if (JSON.stringify(intent) === JSON.stringify(this.#intent)) return undefined;
    const plan = checkedPlan(intent);
    const before = this.#intent;
    this.#intent = intent;
    const named = intent.from.length === 0 ? "none" : intent.from.join(", ");
    const isOfInterfaces = before?.from.join() !== intent.from.join();
    return { plan, why: isOfInterfaces ? `interfaces: now ${named}` : "lists or interfaces have changed" };
  }

  /** What changes with everything that the intent is made from. */
  async #look(): Promise<string> {
    const { files, interfaces } = intentSources(this.#config);
    const stats = await Promise.all(files.map(async (path) => {
      // A file that is being replaced is missing for a moment.
      const stat = await Deno.stat(path).catch(() => undefined);
      return `${path} ${stat?.mtime?.getTime()} ${stat?.size} ${stat?.ino}`;
    }));
    return [...stats, ...(interfaces ? listInterfaces() : [])].join("\n");
  }
}
