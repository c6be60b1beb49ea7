/**
 * Applies a plan and hands back what takes it away again.
 *
 * Goals: after a failure nothing of it is left; a predecessor that was killed is no obstacle; what belongs to
 * another live process is never touched; applying what is in place changes nothing.
 *
 * Order: check everything, claim the table, routes, rules, verify. A table can have one owner only, so of two
 * processes that start at once the second one fails before it has touched the routes that both would use. A
 * routing rule without the table's rules moves no packet, because nothing sets its mark, so these are the switch:
 * on last, off first.
 *
 * How do we know that something is ours? Tables: the comment's first word. Rules and routes: the protocol
 * number, together with the routing table, so that two configurations may live side by side.
 *
 * @module
 */
import { checkPlan } from "./check_plan.ts";
import { findingsAgainst, type HostFacts } from "./detect.ts";
import type { Exec } from "./exec.ts";
import { OwnerSession } from "./owner_session.ts";
import type { Phase, Plan } from "./plan.ts";
import { claimComment, type Hold, renderClaim, renderNft, tableComment } from "./render_nft.ts";
import { renderIpRule, renderLocalRoute } from "./render_route.ts";
import { ipRuleKey, routeKey } from "./route_listing.ts";
import { type ApplyStage, RuleApplyError, TableHeldError } from "./rule_apply_error.ts";
import { isExecResult, isOurs, readTable, type TableListing } from "./table_listing.ts";
import { forgetTakenFlows } from "./taken_flows.ts";
import { planForHost, readPlanEntries, verifyPlan } from "./verify.ts";

/** A predecessor that was killed this moment still has its table: nft ends a few milliseconds after it. */
const OWNER_ATTEMPTS = 6;
const OWNER_ATTEMPT_MS = 100;

/** Rules that are in place. */
export interface AppliedRules extends AsyncDisposable {
  /** `plain` also when `owner` was asked for and the host cannot do it. */
  readonly hold: Hold;
  /** Rules of ours that were to outlive their process were there, and are replaced by these that will not. */
  readonly replacedKept: boolean;
  /** Takes no new flows any more, carries those it took. */
  enterDrain(): Promise<void>;
  /**
   * Takes everything away: the table, then rules and routes, then what conntrack keeps. Idempotent; tries all
   * before it throws.
   */
  revert(): Promise<void>;
  /** Resolves with the reason when an owned table is lost although nobody reverted it. */
  readonly lost: Promise<string>;
}

/** What {@linkcode applyPlan} works with. */
export interface ApplyOptions {
  readonly exec: Exec;
  readonly host: HostFacts;
  readonly hold: Hold;
}

/**
 * Puts `plan` in place.
 *
 * @throws {RuleApplyError} with the stage that failed; whatever had been done is undone.
 */
export async function applyPlan(plan: Plan, options: ApplyOptions): Promise<AppliedRules> {
  const { exec, host } = options;
  requireSound(plan, host);
  const narrowed = planForHost(plan, host);
  const hold = options.hold === "owner" && host.ownerTables ? "owner" : "plain";
  if (narrowed.chains.length === 0) return new HostRules(narrowed, exec, hold, false);
  const before = await readReplaceable(narrowed, exec);
  const rules = new HostRules(narrowed, exec, hold, hold === "owner" && before !== undefined);
  if (before?.comment === tableComment(narrowed, "intercept") && hold === "plain") {
    if ((await verifyPlan(narrowed, exec)).length === 0) return rules;
  }
  await requireLoadable(narrowed, exec, hold);
  await rules.apply();
  return rules;
}

function requireSound(plan: Plan, host: HostFacts): void {
  const problems = [
    ...checkPlan(plan).map((issue) => issue.message),
    ...findingsAgainst(plan, host).map((finding) => `${finding.message} (${finding.hint})`),
  ];
  if (host.ipVersion !== undefined && plan.chains.length > 0) {
    for (
      const [option, names] of [["--from", plan.intent.from], [
        "otherInterfaces",
        plan.intent.otherInterfaces,
      ]] as const
    ) {
      const unknown = names.filter((name) => !host.interfaces.includes(name));
      const found = host.interfaces.join(", ") || "none";
      problems.push(...unknown.map((name) => `${option}: no interface ${name}; found: ${found}`));
    }
  }
  if (problems.length > 0) throw new RuleApplyError("check", problems.join("; "));
}

/**
 * The table that is there already.
 *
 * @throws {RuleApplyError} of stage check when it must not be replaced.
 */
async function readReplaceable(plan: Plan, exec: Exec): Promise<TableListing | undefined> {
  const name = plan.intent.tableName;
  for (let attempt = 1;; attempt++) {
    const table = await readTable(exec, name);
    if (table === undefined) return undefined;
    if (isExecResult(table)) throw new RuleApplyError("check", "nft list", table.stderr);
    if (!isOurs(table)) {
      throw new RuleApplyError("check", `table inet ${name} exists and is not ours: rename or delete it`);
    }
    if (!table.owned) return table;
    if (attempt === OWNER_ATTEMPTS) throw new TableHeldError("check", name);
    await new Promise((resolve) => setTimeout(resolve, OWNER_ATTEMPT_MS));
  }
}

/** Why nft was refused: what it said itself, unless another process has taken the table meanwhile. */
async function refusal(
  exec: Exec,
  tableName: string,
  stage: ApplyStage,
  what: string,
  said: string,
): Promise<RuleApplyError> {
  const table = await readTable(exec, tableName);
  const isHeld = table !== undefined && !isExecResult(table) && table.owned;
  return isHeld ? new TableHeldError(stage, tableName) : new RuleApplyError(stage, what, said);
}

async function requireLoadable(plan: Plan, exec: Exec, hold: Hold): Promise<void> {
  const result = await exec.run(["nft", "--check", "-f", "-"], { stdin: renderNft(plan, "intercept", hold) });
  if (result.code === 0) return;
  throw await refusal(exec, plan.intent.tableName, "check", "nft --check", result.stderr);
}

class HostRules implements AppliedRules {
  readonly hold: Hold;
  readonly replacedKept: boolean;
  readonly lost: Promise<string>;
  readonly #plan: Plan;
  readonly #exec: Exec;
  readonly #lost = Promise.withResolvers<string>();
  /** Differs from that of every other process, whose table would be taken for ours. */
  readonly #claimComment = claimComment(crypto.randomUUID());
  #owner: OwnerSession | undefined;
  #reverted = false;

  constructor(plan: Plan, exec: Exec, hold: Hold, replacedKept: boolean) {
    this.#plan = plan;
    this.#exec = exec;
    this.hold = hold;
    this.replacedKept = replacedKept;
    this.lost = this.#lost.promise;
  }

  async apply(): Promise<void> {
    const undo: (readonly string[])[] = [];
    let loaded = false;
    try {
      if (this.hold === "owner") await this.#claim();
      await this.#applyRoutes(undo);
      loaded = true;
      await this.#load("intercept");
      const differences = await verifyPlan(this.#plan, this.#exec);
      if (differences.length > 0) {
        throw new RuleApplyError("verify", differences.map((difference) => difference.message).join("; "));
      }
    } catch (error) {
      this.#reverted = true;
      if (loaded) await this.#removeRules();
      for (const argv of undo.reverse()) await this.#exec.run(argv);
      await this.#owner?.close();
      throw error;
    }
  }

  async enterDrain(): Promise<void> {
    if (this.#reverted || this.#plan.chains.length === 0) return;
    await this.#load("drain");
  }

  async revert(): Promise<void> {
    if (this.#reverted) return;
    this.#reverted = true;
    const problems: string[] = [];
    if (this.#plan.chains.length > 0) {
      const said = await this.#removeRules();
      if (said !== undefined) problems.push(said);
      try {
        for (const entry of await readPlanEntries(this.#plan, this.#exec)) {
          const result = await this.#exec.run(entry.remove);
          if (result.code !== 0) problems.push(`${entry.remove.join(" ")}: ${result.stderr.trim()}`);
        }
        const { udp, marks } = this.#plan.intent;
        if (udp !== "off") await forgetTakenFlows(marks, this.#exec);
      } finally {
        await this.#owner?.close();
      }
    }
    if (problems.length > 0) throw new RuleApplyError("revert", "not all was removed", problems.join("; "));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.revert();
  }

  /** Adds what is missing of the routes and rules, after what a predecessor left and nobody wants. */
  async #applyRoutes(undo: (readonly string[])[]): Promise<void> {
    const { routes, ipRules } = this.#plan;
    const wanted = [
      ...routes.map((route) => ({ key: routeKey(route), command: renderLocalRoute(route) })),
      ...ipRules.map((rule) => ({ key: ipRuleKey(rule), command: renderIpRule(rule) })),
    ];
    const entries = await readPlanEntries(this.#plan, this.#exec);
    for (const entry of entries) {
      if (wanted.some(({ key }) => key === entry.key)) continue;
      await this.#runOrThrow(entry.remove, "apply");
      undo.push(entry.restore);
    }
    for (const { key, command } of wanted) {
      if (!entries.some((entry) => entry.key === key)) await this.#runOrThrow(command.argv, "apply");
      // What a killed predecessor left counts as done by us: after a failure it goes too.
      undo.push(command.undo);
    }
  }

  async #runOrThrow(argv: readonly string[], stage: ApplyStage): Promise<void> {
    const result = await this.#exec.run(argv);
    if (result.code !== 0) throw new RuleApplyError(stage, argv.join(" "), result.stderr);
  }

  async #load(phase: Phase): Promise<void> {
    const text = renderNft(this.#plan, phase, this.hold, this.hold === "owner");
    if (this.hold === "plain") {
      const result = await this.#exec.run(["nft", "-f", "-"], { stdin: text });
      if (result.code !== 0) throw new RuleApplyError("apply", "nft", result.stderr);
      return;
    }
    const said = await this.#owner?.load(text, tableComment(this.#plan, phase));
    if (said !== undefined) throw new RuleApplyError("apply", "nft", said);
  }

  /** Takes the table for this process, so that nobody else changes it or the routes that go with it. */
  async #claim(): Promise<void> {
    const name = this.#plan.intent.tableName;
    this.#owner = OwnerSession.open(this.#exec, name);
    this.#owner.ended.then((how) => {
      if (!this.#reverted) this.#lost.resolve(`the nft process that holds our table ended: ${how}`);
    });
    const said = await this.#owner.load(renderClaim(name, this.#claimComment, false), this.#claimComment);
    if (said !== undefined) throw await refusal(this.#exec, name, "apply", "nft", said);
  }

  /**
   * The rules go; an owned table stays until the routes are gone, so that whoever waits for it finds none of ours.
   *
   * @returns what nft said against it, if anything.
   */
  async #removeRules(): Promise<string | undefined> {
    if (this.hold === "owner") {
      // When this fails, closing the session takes table and rules away together.
      const text = renderClaim(this.#plan.intent.tableName, this.#claimComment, true);
      await this.#owner?.load(text, this.#claimComment);
      return undefined;
    }
    const table = await readTable(this.#exec, this.#plan.intent.tableName);
    if (table === undefined) return undefined;
    if (isExecResult(table)) return table.stderr;
    if (!isOurs(table)) return undefined;
    const result = await this.#exec.run(["nft", "delete", "table", "inet", table.name]);
    return result.code === 0 ? undefined : result.stderr;
  }
}
