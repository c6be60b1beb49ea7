/**
 * Rules and routes that are in place, and every way in which they change until they are gone. apply.ts decides what
 * they are to be; the changes come one after the other, whoever asks for them.
 *
 * @module
 */
import type { AppliedRules } from "./apply.ts";
import type { Backend, Difference, Hold, RuleCounter } from "./backend.ts";
import type { FoundRules } from "./backend_options.ts";
import { checkPlan } from "./check_plan.ts";
import type { Exec } from "./exec.ts";
import type { Phase, Plan } from "./plan.ts";
import { addMissingRoutes, removeOtherRoutes, removeRoutes, type Undo } from "./put_routes.ts";
import { requireInPlace } from "./require_in_place.ts";
import { isRuleApplyError, RuleApplyError, TableHeldError } from "./rule_apply_error.ts";
import { applySysctls, type OldSysctl, readOldSysctls, restoreSysctls } from "./sysctls.ts";
import { forgetTakenFlows } from "./taken_flows.ts";
import { verifyPlan } from "./verify.ts";
import { Watchdog } from "./watchdog.ts";

/** How the rules are put in place and for how long. */
export interface HostRulesOptions {
  readonly backend: Backend;
  readonly exec: Exec;
  readonly hold: Hold;
  readonly replacedKept: boolean;
  /** What settings are to be put back. */
  readonly sysctls: readonly OldSysctl[];
  /** Makes of a plan what this host can carry out. */
  readonly narrow: (plan: Plan) => Plan;
  /** What a watchdog runs after the rules are gone; undefined: none is needed. */
  readonly watch: string | undefined;
  /** The rules outlive us by intent. */
  readonly stays: boolean;
}

/** What was there before us under the same name. */
export interface Predecessor {
  readonly hadRules: boolean;
  /** Its rules are by this backend. */
  readonly isSameBackend: boolean;
  /** Its rules are to be there without a process: they are kept, or drop what they would intercept. */
  readonly stays: boolean;
  /** What it left by other backends. */
  readonly others: readonly FoundRules[];
}

/** What has been begun to change; `rules`: they are in place. */
type Progress = "nothing" | "claim" | "rules";

const NEVER = new Promise<never>(() => {});

/** Rules on this host. */
export class HostRules implements AppliedRules {
  readonly #options: HostRulesOptions;
  #plan: Plan;
  #phase: Phase = "intercept";
  #watchdog: Watchdog | undefined;
  #reverted = false;
  #isHolderLost = false;
  /** The last of the changes that were asked for. */
  #turn: Promise<unknown> = Promise.resolve();

  /** `plan` is narrowed already. */
  constructor(options: HostRulesOptions, plan: Plan) {
    this.#options = options;
    this.#plan = plan;
  }

  get backend(): AppliedRules["backend"] {
    return this.#options.backend.name;
  }

  get hold(): Hold {
    return this.#options.hold;
  }

  get replacedKept(): boolean {
    return this.#options.replacedKept;
  }

  get lost(): Promise<string> {
    return this.#options.backend.lost ?? NEVER;
  }

  /**
   * What a predecessor left by other backends goes when ours is in place. A failure takes back what was done here, and
   * what a predecessor left without a purpose; rules that are to stay whoever ends are there after it as before it, or
   * have been replaced by ours that are to stay. What cannot be taken back is said beside the reason.
   */
  async apply(predecessor: Predecessor): Promise<void> {
    const { exec } = this.#options;
    const undo: Undo = [];
    // What the settings are put back to one day may be older than what the predecessor's rules need.
    const settings = predecessor.stays ? await readOldSysctls(this.#plan.sysctls, [], exec) : [];
    const progress = { reached: "nothing" as Progress };
    try {
      await this.#putInPlace(predecessor, undo, progress);
    } catch (error) {
      this.#reverted = true;
      // Whoever got the better of us uses the same routes.
      const left = error instanceof TableHeldError
        ? []
        : await this.#takeBack(predecessor, undo, settings, progress.reached).catch(messagesOf);
      await this.#letGo(left);
      if (left.length === 0) throw error;
      throw new RuleApplyError("revert", `${messagesOf(error)}, and not all was undone`, left.join("; "));
    }
  }

  async #putInPlace(
    { others }: Predecessor,
    undo: Undo,
    progress: { reached: Progress },
  ): Promise<void> {
    const { backend, exec, watch } = this.#options;
    if (watch !== undefined) {
      this.#watchdog = await Watchdog.open(exec, backend.removeScript(), watch);
    }
    progress.reached = "claim";
    await this.#claim();
    await applySysctls(this.#plan.sysctls, exec);
    await addMissingRoutes(this.#plan, exec, undo);
    await this.#load();
    progress.reached = "rules";
    for (const other of others) await this.#removeOther(other);
    await removeOtherRoutes(this.#plan, exec, undo);
    await this.#requireInPlace();
  }

  /** An owned table takes the place of another one when it is claimed, everything else goes when ours is loaded. */
  #isPredecessorInPlace(reached: Progress, isSameBackend: boolean): boolean {
    return reached === "nothing" ||
      (reached === "claim" && (this.#options.hold === "plain" || !isSameBackend));
  }

  /** @param settings as they were a moment ago. @returns what was said against it. */
  async #takeBack(
    { stays, isSameBackend, hadRules, others }: Predecessor,
    undo: Undo,
    settings: readonly OldSysctl[],
    reached: Progress,
  ): Promise<string[]> {
    const { backend, exec, sysctls } = this.#options;
    const isKeptInPlace = stays && this.#isPredecessorInPlace(reached, isSameBackend);
    if (stays && !isKeptInPlace && this.#options.stays) return [];
    const areOursThere = reached !== "nothing" && !(isKeptInPlace && isSameBackend);
    const said = areOursThere ? await backend.remove() : undefined;
    // Routes go with the rules that they are for: what a killed predecessor left without any counts as done by us.
    const areRulesLeft = isKeptInPlace || (hadRules && reached === "nothing") ||
      others.some(({ hasRules }) => hasRules);
    return [
      ...(said === undefined ? [] : [said]),
      ...(areRulesLeft ? await runAll(undo.reverse(), exec) : await removeRoutes(this.#plan, exec)),
      ...await restoreSysctls(isKeptInPlace ? settings : sysctls, exec),
    ];
  }

  enterDrain(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#reverted || this.#options.stays) return;
      this.#phase = "drain";
      await this.#load();
    });
  }

  check(plan: Plan): Promise<void> {
    return this.#inTurn(async () => {
      const next = this.#soundFor(plan);
      if (next.chains.length > 0) await this.#options.backend.check(next);
    });
  }

  replace(plan: Plan): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#reverted) return;
      const { exec } = this.#options;
      const next = this.#soundFor(plan);
      const undo: Undo = [];
      const previous = this.#plan;
      try {
        await addMissingRoutes(next, exec, undo);
        this.#plan = next;
        await this.#load();
      } catch (error) {
        this.#plan = previous;
        for (const argv of undo.reverse()) await exec.run(argv);
        throw error;
      }
      try {
        await removeOtherRoutes(next, exec);
      } catch (error) {
        if (!isRuleApplyError(error)) throw error;
        throw new RuleApplyError(
          "revert",
          `the new rules are in place, old routes are left: ${error.message}`,
        );
      }
    });
  }

  /** The plan as this host can carry it out. @throws {RuleApplyError} of stage check when it cannot. */
  #soundFor(plan: Plan): Plan {
    const { backend, narrow } = this.#options;
    const next = narrow(plan);
    const issues = [...checkPlan(next), ...backend.unsupported(next)];
    if (issues.length === 0) return next;
    throw new RuleApplyError("check", issues.map(({ message }) => message).join("; "));
  }

  heal(): Promise<Difference[]> {
    return this.#inTurn(async () => {
      if (this.#reverted) return [];
      const { backend, exec } = this.#options;
      const differences = await verifyPlan(this.#plan, backend, exec, this.#phase);
      if (differences.length === 0) return [];
      const isRouting = (difference: Difference) => difference.kind === "route";
      const isSetting = (difference: Difference) => difference.kind === "sysctl";
      if (differences.some(isSetting)) await applySysctls(this.#plan.sysctls, exec);
      if (differences.some(isRouting)) await addMissingRoutes(this.#plan, exec);
      if (!differences.every((found) => isRouting(found) || isSetting(found))) await this.#load();
      if (differences.some(isRouting)) await removeOtherRoutes(this.#plan, exec);
      await this.#requireInPlace();
      return differences;
    });
  }

  get areSetsWatched(): boolean {
    return this.#options.backend.setDifferences !== undefined && this.#plan.sets.length > 0;
  }

  haveWrongSets(): Promise<boolean> {
    return this.#inTurn(async () => {
      const { backend } = this.#options;
      if (this.#reverted) return false;
      return (await backend.setDifferences?.(this.#plan) ?? []).length > 0;
    });
  }

  counters(): Promise<RuleCounter[]> {
    return this.#inTurn(() => this.#options.backend.counters(this.#plan));
  }

  revert({ force = false }: { readonly force?: boolean } = {}): Promise<"removed" | "left"> {
    return this.#inTurn(async () => {
      if (this.#options.stays && !force) return "left";
      if (this.#reverted) return "removed";
      this.#reverted = true;
      try {
        await this.#remove();
      } catch (error) {
        // What fails now, for lack of descriptors for instance, may be tried again.
        this.#reverted = false;
        throw error;
      }
      return "removed";
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.revert();
  }

  async #remove(): Promise<void> {
    const { backend, exec, sysctls } = this.#options;
    const said = await backend.remove();
    const problems = [
      ...(said === undefined ? [] : [said]),
      ...await removeRoutes(this.#plan, exec),
      ...await restoreSysctls(sysctls, exec),
    ];
    await this.#letGo(problems);
    const { udp, marks } = this.#plan.intent;
    if (udp !== "off") await forgetTakenFlows(marks, exec);
    if (problems.length > 0) throw new RuleApplyError("revert", "not all was removed", problems.join("; "));
  }

  async #removeOther({ what, remove }: FoundRules): Promise<void> {
    const said = (await remove())?.split("\n")
      // The flavours of iptables have their sets in common: those that ours ask for stay.
      .filter((line) => !line.startsWith("ipset destroy "));
    if (said !== undefined && said.length > 0) throw new RuleApplyError("apply", what, said.join("; "));
  }

  /** From now on the end of what holds the rules is noticed. */
  async #claim(): Promise<void> {
    const { backend } = this.#options;
    await backend.claim?.();
    this.#isHolderLost = false;
    backend.lost?.then(() => this.#isHolderLost = true);
  }

  /** While something is `left` the watchdog stays, and sees to it when this process ends. */
  async #letGo(left: readonly string[]): Promise<void> {
    await this.#options.backend.close?.();
    if (left.length === 0) await this.#watchdog?.close();
  }

  /** A plan without chains is what a pattern means that no interface has: nothing, as yet. */
  async #load(): Promise<void> {
    const { backend } = this.#options;
    if (this.#isHolderLost) await this.#claim();
    if (this.#plan.chains.length > 0) return await backend.load(this.#plan, this.#phase);
    const said = await backend.remove();
    if (said !== undefined) throw new RuleApplyError("apply", "empty plan", said);
  }

  async #requireInPlace(): Promise<void> {
    const { backend, exec } = this.#options;
    await requireInPlace(this.#plan, backend, exec, this.#phase);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    // Whoever asked hears of a failure; the next one in turn need not.
    this.#turn = turn.catch(() => {});
    return turn;
  }
}

/** @returns what was said against it. */
async function runAll(commands: readonly (readonly string[])[], exec: Exec): Promise<string[]> {
  const said: string[] = [];
  for (const argv of commands) {
    const { code, stderr } = await exec.run(argv);
    if (code !== 0) said.push(`${argv.join(" ")}: ${stderr.trim()}`);
  }
  return said;
}

function messagesOf(error: unknown): string[] {
  return [error instanceof Error ? error.message : String(error)];
}
