/**
 * Makes the plan, and another one when what it was made from has changed: interfaces that a pattern means, files
 * that list addresses.
 *
 * A file that is written in place is read half-written by whoever looks too early, and half an exclude list takes
 * what was to be left alone. So a changed file is read when it has not changed again for a while, and what has become
 * empty is taken for a file that is still to be filled.
 *
 * @module
 */
import type { RunConfig } from "../config/mod.ts";
import type { InterceptIntent, Plan } from "../nft/mod.ts";
import { listInterfaces } from "./interfaces.ts";
import { checkedPlan } from "./plan_for.ts";
import { intentSources, resolveIntent } from "./resolve_intent.ts";

/** For so long a file has to be as it is. Looks are about a second apart: two of them agree. */
const SETTLED_MS = 900;

/** A plan in another one's place. */
export interface PlanChange {
  readonly plan: Plan;
  /** For people. */
  readonly why: string;
  /** What it was made from. */
  readonly sources: Sources;
}

/** What changes with everything that an intent is made from. */
interface Sources {
  /** One line for each file. */
  readonly files: string;
  readonly interfaces: string;
  /** Paths of the files that hold nothing. */
  readonly empty: readonly string[];
}

/** The plans of one configuration. */
export class RulePlanner {
  readonly #config: RunConfig;
  /** What the rules in place were made from. */
  #accepted: Sources = { files: "", interfaces: "", empty: [] };
  #intent: InterceptIntent | undefined;
  /** Files that held nothing at the start: they are meant to be empty at times. */
  #emptyAtStart: readonly string[] = [];
  /** Files that differ from the accepted ones, and since when they are as they are. */
  #unsettled = { files: "", since: 0 };
  /** What a plan was made from, or tried to be, that has not been accepted. */
  #tried: Sources | undefined;

  constructor(config: RunConfig) {
    this.#config = config;
  }

  /** The plan for now. @throws {ConfigError | StartError} */
  async plan(): Promise<Plan> {
    this.#accepted = await this.#look();
    this.#emptyAtStart = this.#accepted.empty;
    this.#intent = await resolveIntent(this.#config);
    return checkedPlan(this.#intent);
  }

  /**
   * Another plan, if the accepted one is not right any more. It is told once, and again when `retries` is set, until
   * it is accepted.
   *
   * @throws {ConfigError | StartError | Error} when no plan can be made, as often.
   */
  async readChange(retries: boolean): Promise<PlanChange | undefined> {
    const sources = await this.#look();
    if (areSame(sources, this.#accepted)) {
      this.#tried = undefined;
      return undefined;
    }
    if (!this.#isSettled(sources.files)) return undefined;
    if (!retries && this.#tried !== undefined && areSame(sources, this.#tried)) return undefined;
    this.#tried = sources;
    const emptied = sources.empty.filter((path) => !this.#emptyAtStart.includes(path));
    if (emptied.length > 0) {
      throw new Error(
        `${emptied.join(", ")} is empty now; a line with # alone stands for a list that is to be`,
      );
    }
    const intent = await resolveIntent(this.#config);
    // Changed while it was read.
    if ((await this.#look()).files !== sources.files) return undefined;
    if (JSON.stringify(intent) === JSON.stringify(this.#intent)) {
      this.#accepted = sources;
      this.#tried = undefined;
      return undefined;
    }
    const named = intent.from.length === 0 ? "none" : intent.from.join(", ");
    const isOfInterfaces = this.#intent?.from.join() !== intent.from.join();
    const why = isOfInterfaces ? `interfaces: now ${named}` : "lists or interfaces have changed";
    return { plan: checkedPlan(intent), why, sources };
  }

  /** The rules of `change` are in place. */
  accept({ plan, sources }: PlanChange): void {
    this.#accepted = sources;
    this.#intent = plan.intent;
    this.#tried = undefined;
  }

  /** Whether there is anything that could change: files, or interfaces that matter. */
  get hasSources(): boolean {
    const { files, interfaces } = intentSources(this.#config);
    return files.length > 0 || interfaces;
  }

  /** Whether the rules in place are known to be of another plan than the one for now. */
  get isPending(): boolean {
    return this.#tried !== undefined;
  }

  #isSettled(files: string): boolean {
    if (files === this.#accepted.files) return true;
    const now = performance.now();
    if (files !== this.#unsettled.files) this.#unsettled = { files, since: now };
    return now - this.#unsettled.since >= SETTLED_MS;
  }

  async #look(): Promise<Sources> {
    const { files, interfaces } = intentSources(this.#config);
    const empty: string[] = [];
    const stats = await Promise.all(files.map(async (path) => {
      // A file that is being replaced is missing for a moment.
      const stat = await Deno.stat(path).catch(() => undefined);
      if (stat?.size === 0) empty.push(path);
      return `${path} ${stat?.mtime?.getTime()} ${stat?.size} ${stat?.ino}`;
    }));
    return { files: stats.join("\n"), interfaces: interfaces ? listInterfaces().join("\n") : "", empty };
  }
}

function areSame(a: Sources, b: Sources): boolean {
  return a.files === b.files && a.interfaces === b.interfaces;
}
