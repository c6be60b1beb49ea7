/**
 * What a backend is: the tool that puts a plan's rules into the kernel and reads them back. The routes are the same
 * for all and are not its matter (apply.ts); how long the rules live is its matter where the kernel can tie them to a
 * process, and watchdog.ts where it cannot.
 *
 * Contract of every backend:
 * - What it cannot do is said by `unsupported`, by name, before anything is rendered; it never renders half a plan.
 * - `load` replaces what is there in one step for every packet: none meets rules of two plans, or of half a one.
 * - What it puts into the kernel says that it is ours and which plan it is (a hash), so that a process with no memory
 *   can tell (`differences`, `remove`).
 * - What is not ours is never changed, also when it has our names.
 *
 * @module
 */
import type { PlanIssue } from "./check_plan.ts";
import type { Phase, Plan } from "./plan.ts";

/** The tools; `iptables` is iptables-nft, whatever `iptables` points to. */
export type BackendName = "nft" | "iptables" | "iptables-legacy";

/** `owner`: the rules belong to a process of ours and end with it, by the kernel. `plain`: they stay. */
export type Hold = "owner" | "plain";

/** Something that is not as the plan wants it. */
export interface Difference {
  /**
   * `table`: the rules are missing or of another plan; `set`: a set's elements; `route`: a route or routing rule;
   * `sysctl`: a setting of the kernel.
   */
  readonly kind: "table" | "rule" | "set" | "route" | "sysctl";
  /** What was found and what was wanted. */
  readonly message: string;
}

/** What a rule has met since it was loaded. */
export interface RuleCounter {
  /** As in the plan. */
  readonly chain: string;
  /** As in the plan; where a backend needs several rules for one, their sum. */
  readonly rule: string;
  readonly packets: number;
  readonly bytes: number;
}

/** A command and what it reads. */
export interface ToolCommand {
  readonly argv: readonly string[];
  readonly stdin: string;
}

/** With it `removeScript` ends when the rules are a successor's; after any other failure it may be tried again. */
export const SUCCESSOR_CODE = 3;

/** Rules on packets, by one tool. */
export interface Backend {
  readonly name: BackendName;
  /** What of `plan` this tool cannot do on any host; each names the option. */
  unsupported(plan: Plan): PlanIssue[];
  /** The whole text that `load` would hand to the tool, for people; comments give each rule's reason. */
  render(plan: Plan, phase: Phase): string;
  /** What has to be run, in order, where nothing of ours is there, for rules that stay. */
  commands(plan: Plan, phase: Phase): ToolCommand[];
  /**
   * Has the tool and the kernel check the plan without keeping any of it.
   *
   * @throws {RuleApplyError} of stage check, with what the tool said.
   */
  check(plan: Plan): Promise<void>;
  /**
   * Puts `plan` in place of whatever of ours is there. Sets are filled first, then one transaction switches.
   *
   * @throws {RuleApplyError} of stage apply; then the rules that were there are still there.
   */
  load(plan: Plan, phase: Phase): Promise<void>;
  /** What differs from `plan`; empty: nothing. @throws {RuleApplyError} of stage verify when it cannot be read. */
  differences(plan: Plan, phase: Phase): Promise<Difference[]>;
  /** What of them is about sets whose changes nobody announces: cheap enough for every second. */
  setDifferences?(plan: Plan): Promise<Difference[]>;
  /** Every rule of `plan` in order. @throws {RuleApplyError} of stage verify. */
  counters(plan: Plan): Promise<RuleCounter[]>;
  /** Takes away what `load` put there. Idempotent. @returns what the tool said against it, if anything. */
  remove(): Promise<string | undefined>;
  /**
   * Shell commands, free of this process's state, that do what `remove` does: for a watchdog. They may end the shell,
   * with {@linkcode SUCCESSOR_CODE} when the rules belong to another process by then.
   */
  removeScript(): string;
  /**
   * Takes what holds the rules for this process before they are there, where there is such a thing: so of two that
   * start at once the second one fails before it has touched the routes that both would use. After `lost` it takes
   * it again.
   *
   * @throws {TableHeldError} when a living process has it. @throws {RuleApplyError} of stage check or apply.
   */
  claim?(): Promise<void>;
  /** Lets go of what holds the rules, after `remove` and when the routes are gone. */
  close?(): Promise<void>;
  /** Resolves with the reason when what holds the rules has ended although nobody closed it. */
  readonly lost?: Promise<string>;
}
