/**
 * Keeps rules as they should be while the proxy runs: looks whenever something on the host has changed, and from
 * time to time, has put back what differs, and says what it was and who did it.
 *
 * Whoever takes our rules away again and again is waited for longer each time. What is intercepted by pattern or by
 * list is made anew when interfaces or files have changed, which is what {@linkcode RulePlanner} knows.
 *
 * @module
 */
import type { AppliedRules, Exec, HostChange, Plan } from "../nft/mod.ts";
import { HostChanges, isRuleApplyError } from "../nft/mod.ts";
import { BackOff } from "./back_off.ts";
import type { EventSink } from "./events.ts";
import type { RulePlanner } from "./rule_planner.ts";

/** A reload of another firewall is many changes: one look after them. */
const DEBOUNCE_MS = 100;
/** How often to look although nobody has told of a change. */
const POLL_MS = 10_000;
/** The same where nobody tells. */
const UNTOLD_POLL_MS = 1_000;
/** How often list files and interfaces are looked at, and sets whose changes nobody tells of. */
const SOURCES_MS = 1_000;

/** What a guard is given. */
export interface RuleGuardParts {
  readonly rules: AppliedRules;
  readonly planner: RulePlanner;
  readonly exec: Exec;
  readonly emit: EventSink;
  /** Our routing table. */
  readonly routeTable: number;
  /** Whether the kernel tells of changes of these rules. */
  readonly isTold: boolean;
}

/** A guard at work until it is closed. */
export class RuleGuard {
  readonly #parts: RuleGuardParts;
  #planner: RulePlanner;
  readonly #changes: HostChanges;
  readonly #backOff = new BackOff();
  readonly #running: Promise<void>;
  /** Who has changed something since the rules were last seen to be right. */
  readonly #suspects = new Set<string>();
  #wake = Promise.withResolvers<void>();
  #lookAt = 0;
  #sourcesAt = 0;
  /** When the rules were put back last; and until when they are not put back again. */
  #healedAt = performance.now();
  #quietUntil = 0;
  /** Since when they could not be put back. */
  #lostAt: number | undefined;
  #isHolderLost = false;
  /** Another plan that could not be put in place: when it is tried again, and what was said last. */
  #replanBackOff = new BackOff();
  #replanAt = Infinity;
  #replanSaid = "";
  #isDraining = false;
  #isClosed = false;

  constructor(parts: RuleGuardParts) {
    this.#parts = parts;
    this.#planner = parts.planner;
    this.#postponeLook();
    this.#changes = new HostChanges({
      exec: parts.exec,
      rules: parts.isTold,
      table: parts.routeTable,
      onChange: (change) => this.#noteChange(change),
    });
    this.#listenForLoss();
    this.#running = this.#run();
  }

  /** Whose plan the rules in place are of. */
  get planner(): RulePlanner {
    return this.#planner;
  }

  /**
   * From now on the rules are those of another configuration.
   *
   * @throws {RuleApplyError} as {@linkcode AppliedRules.replace} does; then they are those of the one before, unless its
   *   stage is revert.
   */
  async follow(planner: RulePlanner, plan: Plan): Promise<void> {
    const before = this.#planner;
    // First: what is being made of the other one comes too late.
    this.#planner = planner;
    try {
      if (!planner.hasPlanOf(before)) await this.#parts.rules.replace(plan);
    } catch (error) {
      if (!isRuleApplyError(error, "revert")) this.#planner = before;
      throw error;
    } finally {
      this.#forgetFailure();
      this.#sourcesAt = 0;
      this.#wake.resolve();
    }
  }

  /** From now on the rules are kept, and no new ones made. */
  enterDrain(): void {
    this.#isDraining = true;
  }

  /** Resolves when nothing of it is under way any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#wake.resolve();
    await Promise.all([this.#running, this.#changes.close()]);
  }

  async #run(): Promise<void> {
    const { rules } = this.#parts;
    while (!this.#isClosed) {
      const now = performance.now();
      if (now >= this.#sourcesAt) {
        const planner = this.#planner;
        // Nobody is woken for nothing.
        const isWatching = planner.hasSources || planner.isPending || rules.areSetsWatched;
        this.#sourcesAt = now + (isWatching ? SOURCES_MS : POLL_MS);
        if (!this.#isDraining) await this.#replan();
        // Where that cannot be told for the moment, the look at everything says why.
        if (await rules.haveWrongSets().catch(() => false)) this.#lookAt = now;
      } else if (now >= this.#lookAt && now >= this.#quietUntil) {
        this.#postponeLook();
        await this.#heal();
      } else await this.#sleepUntil(Math.min(this.#sourcesAt, Math.max(this.#lookAt, this.#quietUntil)));
    }
  }

  async #heal(): Promise<void> {
    const { rules, emit } = this.#parts;
    // Before we change anything ourselves.
    const by = [...this.#suspects].join(", ");
    // What is lost meanwhile is the next look's matter.
    const lostAt = this.#lostAt;
    try {
      const found = await rules.heal();
      if (lostAt !== undefined) {
        this.#lostAt = undefined;
        if (this.#isHolderLost) this.#listenForLoss();
        emit({ event: "rules-restored", downMs: Math.round(performance.now() - lostAt) });
      } else if (found.length > 0) {
        const quietMs = this.#nextQuietMs();
        emit({
          event: "rules-healed",
          found: found.map(({ message }) => message),
          ...(by === "" ? {} : { by }),
          quietMs,
        });
      }
      this.#suspects.clear();
    } catch (error) {
      this.#reportLoss(error instanceof Error ? error.message : String(error));
    }
  }

  #reportLoss(message: string): void {
    this.#lostAt ??= performance.now();
    const retryMs = this.#nextQuietMs();
    this.#parts.emit({ event: "rules-lost", message, retryMs });
    this.#lookAt = this.#quietUntil;
    this.#wake.resolve();
  }

  /** The longer, the more often it was asked lately. */
  #nextQuietMs(): number {
    const now = performance.now();
    const quietMs = this.#backOff.next(now - this.#healedAt);
    this.#healedAt = now;
    this.#quietUntil = now + quietMs;
    return quietMs;
  }

  /** Once for each holder of the rules. */
  #listenForLoss(): void {
    this.#isHolderLost = false;
    this.#parts.rules.lost.then((reason) => {
      this.#isHolderLost = true;
      if (!this.#isClosed) this.#reportLoss(reason);
    });
  }

  async #replan(): Promise<void> {
    const { rules, emit } = this.#parts;
    const planner = this.#planner;
    const retries = performance.now() >= this.#replanAt;
    if (retries) this.#replanAt = Infinity;
    try {
      const change = await planner.readChange(retries);
      if (planner !== this.#planner) return;
      // To read large lists takes a while.
      if (change !== undefined && !this.#isDraining && !this.#isClosed) {
        await rules.replace(change.plan);
        planner.accept(change);
        emit({ event: "rules-replaced", message: change.why });
      }
      if (!planner.isPending) this.#forgetFailure();
    } catch (error) {
      if (planner !== this.#planner) return;
      const said = error instanceof Error ? error.message : String(error);
      this.#reportNotReplaced(isRuleApplyError(error, "revert") ? said : `rules stay as they were: ${said}`);
    }
  }

  #forgetFailure(): void {
    this.#replanBackOff = new BackOff();
    this.#replanAt = Infinity;
    this.#replanSaid = "";
  }

  /** Tried again in a while, and said once: what keeps failing fails in the same way. */
  #reportNotReplaced(message: string): void {
    const retryMs = this.#replanBackOff.next(0);
    this.#replanAt = performance.now() + retryMs;
    this.#sourcesAt = Math.min(this.#sourcesAt, this.#replanAt);
    if (message === this.#replanSaid) return;
    this.#replanSaid = message;
    this.#parts.emit({
      event: "warning",
      code: "rules-not-replaced",
      message,
      hint: "they are made anew as soon as that is possible",
      retryMs,
    });
  }

  #noteChange({ what, by }: HostChange): void {
    if (by !== undefined) this.#suspects.add(by);
    const now = performance.now();
    if (what === "links") this.#sourcesAt = Math.min(this.#sourcesAt, now + DEBOUNCE_MS);
    this.#lookAt = Math.min(this.#lookAt, now + DEBOUNCE_MS);
    this.#wake.resolve();
  }

  #postponeLook(): void {
    this.#lookAt = performance.now() + (this.#parts.isTold ? POLL_MS : UNTOLD_POLL_MS);
  }

  async #sleepUntil(time: number): Promise<void> {
    this.#wake = Promise.withResolvers<void>();
    // Closed in between: nobody would wake us.
    if (this.#isClosed) return;
    const timer = setTimeout(this.#wake.resolve, Math.max(0, time - performance.now()));
    await this.#wake.promise;
    clearTimeout(timer);
  }
}
