/**
 * Interception by rules of our own: puts them in place, keeps them there, takes them away.
 *
 * The table belongs to a child process, so the one way to lose it is that child's death; then it is put in
 * place again, each time after a longer wait.
 *
 * @module
 */
import type { RunConfig } from "../config/mod.ts";
import {
  type AppliedRules,
  applyPlan,
  detectHost,
  type Exec,
  HostExec,
  type HostFacts,
  missingAddresses,
  type Plan,
} from "../nft/mod.ts";
import { BackOff } from "./back_off.ts";
import type { EventSink } from "./events.ts";
import type { Interception } from "./interception.ts";
import { describeTraffic, planFor } from "./plan_for.ts";
import { explainRuleFailure, requireHost } from "./rule_failure.ts";

/** Rules and routes through nft and `ip`. */
export class NftInterception implements Interception {
  readonly summary: string;
  readonly #plan: Plan;
  readonly #emit: EventSink;
  readonly #exec: Exec;
  readonly #backOff = new BackOff();
  /** Cuts short the wait before the rules are put in place again. */
  readonly #leaving = Promise.withResolvers<void>();
  #isLeaving = false;
  #host: HostFacts | undefined;
  /** The rules that are in place, or those that were lost last. */
  #rules: AppliedRules | undefined;
  /** Under way from a loss to the return of the rules, or to our leaving. */
  #restoring: Promise<boolean> | undefined;

  /** @throws {StartError} when the configuration makes no sound plan. */
  constructor(config: RunConfig, emit: EventSink, exec: Exec = new HostExec()) {
    this.#plan = planFor(config);
    this.#emit = emit;
    this.#exec = exec;
    this.summary = `${describeTraffic(config)}, by nft table inet ${this.#plan.intent.tableName}`;
  }

  async prepare(): Promise<void> {
    this.#host = await detectHost(this.#exec);
    requireHost(this.#plan, this.#host);
    const findings = [...this.#host.findings, ...missingAddresses(this.#plan, this.#host)];
    for (const { code, message, hint, blocks } of findings) {
      if (blocks.length === 0) this.#emit({ event: "warning", code, message: `host: ${message}`, hint });
    }
  }

  async apply(): Promise<void> {
    try {
      await this.#put();
    } catch (error) {
      throw explainRuleFailure(error);
    }
  }

  async enterDrain(): Promise<void> {
    this.#leave();
    // While the rules are lost new connections pass us by anyway.
    if (await this.#restoring === false) return;
    await this.#rules?.enterDrain();
  }

  async revert(): Promise<void> {
    this.#leave();
    await this.#restoring;
    await this.#rules?.revert();
  }

  #leave(): void {
    this.#isLeaving = true;
    this.#leaving.resolve();
  }

  async #put(): Promise<void> {
    if (this.#host === undefined) throw new Error("interception: apply called before prepare");
    const rules = await applyPlan(this.#plan, { exec: this.#exec, host: this.#host, hold: "owner" });
    this.#rules = rules;
    if (rules.replacedKept) {
      this.#emit({
        event: "warning",
        code: "rules-replaced",
        message: "the rules that `rules apply` left are replaced, and will be gone after the stop",
        hint: "--rules none keeps them and works with them",
      });
    }
    const since = performance.now();
    rules.lost.then((reason) => this.#lost(reason, performance.now() - since));
  }

  #lost(reason: string, heldMs: number): void {
    if (this.#isLeaving) {
      // Open connections that need the rules end with them; there is nothing new to take.
      this.#emit({ event: "error", code: "rules-lost", message: `rules lost while stopping: ${reason}` });
    } else this.#restoring = this.#restore(reason, heldMs);
  }

  /** Whether the rules are in place again; false when we leave before that. */
  async #restore(reason: string, heldMs: number): Promise<boolean> {
    const since = performance.now();
    while (!this.#isLeaving) {
      const retryMs = this.#backOff.next(heldMs);
      this.#emit({ event: "rules-lost", message: reason, retryMs });
      await this.#wait(retryMs);
      if (this.#isLeaving) break;
      try {
        await this.#put();
        this.#emit({ event: "rules-restored", downMs: Math.round(performance.now() - since) });
        return true;
      } catch (error) {
        reason = error instanceof Error ? error.message : String(error);
        heldMs = 0;
      }
    }
    return false;
  }

  async #wait(ms: number): Promise<void> {
    const timeUp = Promise.withResolvers<void>();
    const timer = setTimeout(timeUp.resolve, ms);
    await Promise.race([timeUp.promise, this.#leaving.promise]);
    clearTimeout(timer);
  }
}
