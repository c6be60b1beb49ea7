/**
 * Rules on packets by nft: one table of family inet, which either belongs to an `nft -i` child of ours and ends with
 * it, or stays.
 *
 * Sets are filled first, while no rule asks for them, in as few transactions as the kernel takes; then one
 * transaction puts the plan's rules in place of those before and deletes the sets that nobody asks for any more. A
 * set's name changes with its elements, so one that is there and asked for is left as it is.
 *
 * How do we know that the table is ours? By the first word of its comment. And that nobody else has it? An owned
 * table has one owner, by the kernel. A plain one names a process; who wants to have it writes its own name over
 * what it has read, in a transaction that fails if somebody else was first.
 *
 * @module
 */
import {
  type Backend,
  type Difference,
  type RuleCounter,
  SUCCESSOR_CODE,
  type ToolCommand,
} from "./backend.ts";
import type { BackendOptions } from "./backend_options.ts";
import type { PlanIssue } from "./check_plan.ts";
import type { ExecResult } from "./exec.ts";
import { isLiving } from "./living_process.ts";
import { compareElements, compareTable } from "./nft_differences.ts";
import { nftLimits } from "./nft_limits.ts";
import { CGROUP_ROOT } from "./nft_matches.ts";
import { nftChains, setsAskedFor } from "./nft_rules.ts";
import {
  renderElements,
  renderEmptied,
  renderNewState,
  renderNewTable,
  renderSetsDeleted,
  renderSwitch,
  renderTrial,
} from "./nft_transactions.ts";
import { OwnerSession } from "./owner_session.ts";
import type { AddressSet, Phase, Plan } from "./plan.ts";
import { planHash, renderNft, TABLE_COMMENT } from "./render_nft.ts";
import { type ApplyStage, RuleApplyError, TableHeldError } from "./rule_apply_error.ts";
import { shellWord } from "./shell_word.ts";
import type { RulesState } from "./state_comment.ts";
import {
  isExecResult,
  isOurs,
  readElements,
  readTable,
  type TableListing,
  tableState,
} from "./table_listing.ts";

/** A predecessor that was killed this moment still has its table: nft ends a few milliseconds after it. */
const HOLDER_ATTEMPTS = 6;
const HOLDER_ATTEMPT_MS = 100;

const TRANSACTION_TIMEOUT_MS = 60_000;

/** Reading back the elements of large sets takes seconds: at most one part in so many of the time goes there. */
const ELEMENTS_TIME_PART = 20;

/** The nft tool. */
export class NftBackend implements Backend {
  readonly name = "nft";
  readonly #options: BackendOptions;
  #session: OwnerSession | undefined;
  #lost = Promise.withResolvers<string>();
  /** Sets whose elements were put there, or seen to be right, by this process. */
  readonly #sound = new Set<string>();
  #elementsDue = 0;
  /** How many elements the kernel takes in one transaction, as far as it has said. */
  #elementsAtOnce = Infinity;
  /** What plain rules said of themselves before they were claimed; undefined when they have been replaced since. */
  #claimedFrom: RulesState | undefined;

  constructor(options: BackendOptions) {
    this.#options = options;
  }

  /** Resolves with the reason when the process that owns the table has ended although nobody closed it. */
  get lost(): Promise<string> {
    return this.#lost.promise;
  }

  /**
   * Takes the table for this process, so that nobody else changes it or the routes that go with it. Plain rules that
   * are there stay in force; what is replaced by an owned table goes. After {@linkcode lost} it takes it again.
   *
   * @throws {TableHeldError} when a living process has it. @throws {RuleApplyError} of stage check or apply.
   */
  async claim(): Promise<void> {
    if (this.#options.hold === "owner") return await this.#own();
    const found = await this.#readReplaceable("check");
    const state = found === undefined ? undefined : tableState(found);
    // Rules that are to outlive every process have no holder, and the last one to write them is right.
    if (this.#options.by === null || state?.by === this.#options.by) return;
    const isReadable = found !== undefined && state !== undefined && !isOldTable(found);
    const text = isReadable
      ? renderNewState(this.#options, found, { ...state, by: this.#options.by })
      : renderNewTable(this.#options, this.#claimed(), found === undefined ? "nothing" : "anything");
    const said = await this.#transact(text);
    if (said !== undefined) throw await this.#refusal("apply", said);
    if (isReadable) this.#claimedFrom = state;
  }

  unsupported(plan: Plan): PlanIssue[] {
    return nftLimits(plan, this.#options.hold);
  }

  render(plan: Plan, phase: Phase): string {
    return renderNft(plan, phase, "plain", this.#options.sysctls);
  }

  commands(plan: Plan, phase: Phase): ToolCommand[] {
    return [{ argv: ["nft", "-f", "-"], stdin: this.render(plan, phase) }];
  }

  async check(plan: Plan): Promise<void> {
    for (const phase of ["intercept", "drain"] as const) {
      const stdin = renderTrial(plan, phase);
      const result = await this.#options.exec.run(["nft", "--check", "-f", "-"], { stdin });
      if (result.code !== 0) throw new RuleApplyError("check", "nft --check", explain(plan, result.stderr));
    }
  }

  async load(plan: Plan, phase: Phase): Promise<void> {
    const found = await this.#withoutLeftovers(await this.#readLoadable());
    const sets = setsAskedFor(plan, phase);
    const wrong = await this.#wrongSets(sets, found);
    for (const set of sets) {
      if (!found.sets.includes(set.name) || wrong.includes(set.name)) await this.#fill(plan, set);
    }
    const state: RulesState = {
      phase,
      hash: planHash(plan, phase),
      onProxyDown: plan.intent.onProxyDown,
      by: this.#options.by,
      sysctls: this.#options.sysctls,
    };
    const said = await this.#transact(renderSwitch(this.#options, found, plan, phase, state));
    if (said !== undefined) throw await this.#refusal("apply", explain(plan, said));
    this.#claimedFrom = undefined;
    for (const name of this.#sound) {
      if (!sets.some((set) => set.name === name)) this.#sound.delete(name);
    }
  }

  async differences(plan: Plan, phase: Phase): Promise<Difference[]> {
    const { by, hold } = this.#options;
    const table = await this.#read("verify");
    const differences = compareTable(plan, phase, { by, isOwned: hold === "owner" }, table);
    // Nobody but us can change an owned table's elements.
    if (differences.length > 0 || table === undefined || table.isOwned) return differences;
    const sets = setsAskedFor(plan, phase);
    if (sets.length === 0 || performance.now() < this.#elementsDue) return differences;
    return (await this.#compareSets(sets, "verify")).map((name): Difference => ({
      kind: "set",
      message: `table inet ${table.name}: set ${name} does not hold what the plan names`,
    }));
  }

  async counters(plan: Plan): Promise<RuleCounter[]> {
    const table = await this.#read("verify");
    if (table === undefined || !isOurs(table)) {
      throw new RuleApplyError("verify", `table inet ${this.#options.tableName} is missing`);
    }
    const key = (chain: string, rule: string) => `${chain}/${rule}`;
    const counts = new Map<string, { packets: number; bytes: number }>();
    const phase = tableState(table)?.phase === "drain" ? "drain" : "intercept";
    for (const { name, rules } of nftChains(plan, phase)) {
      const listed = table.chains.find((chain) => chain.name === name)?.rules ?? [];
      for (const { comment, counts: of } of rules) {
        if (of === undefined) continue;
        const found = listed.find((rule) => rule.comment === comment);
        if (found === undefined) {
          throw new RuleApplyError(
            "verify",
            `table inet ${table.name}: rule "${of.chain}/${of.rule}" is missing`,
          );
        }
        counts.set(key(of.chain, of.rule), found);
      }
    }
    return plan.chains.flatMap((chain) =>
      chain.rules.map((rule): RuleCounter => {
        const { packets, bytes } = counts.get(key(chain.name, rule.id)) ?? { packets: 0, bytes: 0 };
        return { chain: chain.name, rule: rule.id, packets, bytes };
      })
    );
  }

  /** An owned table stays, empty, until {@linkcode close}: whoever waits for it then finds none of our routes. */
  async remove(): Promise<string | undefined> {
    const { exec, tableName, hold, by } = this.#options;
    this.#sound.clear();
    const table = await readTable(exec, tableName);
    if (table === undefined) return undefined;
    if (isExecResult(table)) return table.stderr;
    if (!isOurs(table)) return undefined;
    if (hold === "owner" && this.#session !== undefined) {
      return await this.#transact(renderEmptied(this.#options, table, this.#claimed()));
    }
    const holder = tableState(table)?.by ?? null;
    if (table.isOwned || (holder !== null && holder !== by && await isLiving(holder, exec))) {
      return new TableHeldError("revert", `table inet ${tableName}`).message;
    }
    const result = await exec.run(["nft", "delete", "table", "inet", tableName]);
    return result.code === 0 ? undefined : result.stderr;
  }

  /** Fails when the table is a successor's by then, whose routes are not to be taken away either. */
  removeScript(): string {
    const { tableName, by } = this.#options;
    const ours = by === null
      ? '"(intercept|drain|claimed) [^ "]+( closed)?( sysctl [^"]*)?"'
      : ` by ${by}[ "]`;
    // Of a listing of the whole ruleset, for the reason that table_listing.ts has.
    return `listing=$(nft -t list ruleset inet 2>/dev/null) || exit 1; ` +
      `table=$(echo "$listing" | sed -n '/^table inet ${tableName} {/,/^}/p'); [ -z "$table" ] || if echo "$table" | grep -qE ${
        shellWord(ours)
      }; ` +
      `then nft delete table inet ${tableName}; else (exit ${SUCCESSOR_CODE}); fi`;
  }

  /**
   * Lets go of an owned table, which then is gone with all that is in it. Plain rules stay, and are whose they were
   * when they have been claimed alone: a dead process's are anybody's, and not what `rules apply` left.
   */
  async close(): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    await session?.close();
    const before = this.#claimedFrom;
    if (before === undefined) return;
    this.#claimedFrom = undefined;
    const { exec, tableName, by } = this.#options;
    const table = await readTable(exec, tableName);
    if (table === undefined || isExecResult(table) || tableState(table)?.by !== by) return;
    await this.#transact(renderNewState(this.#options, table, before));
  }

  async #own(): Promise<void> {
    await this.close();
    await this.#readReplaceable("check");
    const session = OwnerSession.open(this.#options.exec, this.#options.tableName, this.#options.afterwards);
    const lost = Promise.withResolvers<string>();
    this.#session = session;
    this.#lost = lost;
    this.#sound.clear();
    session.ended.then((how) => {
      if (this.#session === session) lost.resolve(`the nft process that holds our table ended: ${how}`);
    });
    const said = await session.run(renderNewTable(this.#options, this.#claimed(), "anything"));
    if (said !== undefined) throw await this.#refusal("apply", said);
  }

  #claimed(): RulesState {
    return {
      phase: "claimed",
      hash: undefined,
      onProxyDown: "open",
      by: this.#options.by,
      sysctls: this.#options.sysctls,
    };
  }

  /** The table that is there already. @throws {RuleApplyError} when it must not be replaced. */
  async #readReplaceable(stage: ApplyStage): Promise<TableListing | undefined> {
    const { exec, tableName, by } = this.#options;
    for (let attempt = 1;; attempt++) {
      const table = await this.#read(stage);
      if (table === undefined) return undefined;
      if (!isOurs(table)) {
        throw new RuleApplyError(
          stage,
          `table inet ${tableName} exists and is not ours: rename or delete it`,
        );
      }
      const holder = tableState(table)?.by ?? null;
      const isHeld = table.isOwned || (holder !== null && holder !== by && await isLiving(holder, exec));
      if (!isHeld) return table;
      if (attempt === HOLDER_ATTEMPTS) throw new TableHeldError(stage, `table inet ${tableName}`);
      await new Promise((resolve) => setTimeout(resolve, HOLDER_ATTEMPT_MS));
    }
  }

  /** Our table, made if there is none: without rules it changes no packet's way. */
  async #readLoadable(): Promise<TableListing> {
    if (this.#options.hold === "owner" && this.#session === undefined) await this.#own();
    const found = this.#session === undefined
      ? await this.#readReplaceable("apply")
      : await this.#read("apply");
    if (found !== undefined && !isOldTable(found)) return found;
    const said = await this.#transact(
      renderNewTable(this.#options, this.#claimed(), found === undefined ? "nothing" : "anything"),
    );
    if (said !== undefined) throw await this.#refusal("apply", said);
    const made = await this.#read("apply");
    if (made === undefined) {
      throw new RuleApplyError("apply", `table inet ${this.#options.tableName} has gone`);
    }
    return made;
  }

  /** Deletes sets that no rule asks for: a start that was killed left them, perhaps not all of them filled. */
  async #withoutLeftovers(found: TableListing): Promise<TableListing> {
    const leftovers = found.sets.filter((set) => !found.usedSets.has(set));
    if (leftovers.length === 0) return found;
    const said = await this.#transact(renderSetsDeleted(this.#options, leftovers));
    if (said !== undefined) throw await this.#refusal("apply", said);
    return { ...found, sets: [...found.usedSets] };
  }

  /** Sets that are there and do not hold what their name stands for: somebody has changed them. */
  async #wrongSets(sets: readonly AddressSet[], found: TableListing): Promise<string[]> {
    if (found.isOwned) return [];
    const unproven = sets.filter(({ name }) => found.sets.includes(name) && !this.#sound.has(name));
    return unproven.length === 0 ? [] : await this.#compareSets(unproven, "apply");
  }

  async #compareSets(sets: readonly AddressSet[], stage: ApplyStage): Promise<string[]> {
    const start = performance.now();
    const elements = await readElements(this.#options.exec, this.#options.tableName);
    if (isExecResult(elements)) throw new RuleApplyError(stage, "nft list table", elements.stderr);
    const wrong = sets.filter((set) => !compareElements(set, elements.get(set.name) ?? []));
    for (const set of sets) {
      if (wrong.includes(set)) this.#sound.delete(set.name);
      else this.#sound.add(set.name);
    }
    const end = performance.now();
    this.#elementsDue = end + ELEMENTS_TIME_PART * (end - start);
    return wrong.map(({ name }) => name);
  }

  async #fill(plan: Plan, set: AddressSet): Promise<void> {
    const { prefixes } = set;
    for (let at = 0; at < prefixes.length;) {
      const part = prefixes.slice(at, at + this.#elementsAtOnce);
      const said = await this.#transact(renderElements(this.#options, set, part, at === 0));
      if (said === undefined) at += part.length;
      // Without CAP_NET_ADMIN over the first user namespace nft cannot have as large a buffer as it needs.
      else if (said.includes("Message too long") && part.length > 1) {
        this.#elementsAtOnce = Math.ceil(part.length / 2);
      } else throw await this.#refusal("apply", explain(plan, said));
    }
    this.#sound.add(set.name);
  }

  async #transact(text: string): Promise<string | undefined> {
    if (this.#options.hold === "owner") {
      return this.#session === undefined ? "nobody holds our table" : await this.#session.run(text);
    }
    const options = { stdin: `${text}\n`, timeoutMs: TRANSACTION_TIMEOUT_MS };
    const result = await this.#options.exec.run(["nft", "-f", "-"], options);
    return result.code === 0 ? undefined : result.stderr;
  }

  async #read(stage: ApplyStage): Promise<TableListing | undefined> {
    const table: TableListing | ExecResult | undefined = await readTable(
      this.#options.exec,
      this.#options.tableName,
    );
    if (isExecResult(table)) throw new RuleApplyError(stage, "nft list", table.stderr);
    return table;
  }

  /** Why nft was refused: what it said itself, unless another process has taken the table meanwhile. */
  async #refusal(stage: ApplyStage, said: string): Promise<RuleApplyError> {
    const { exec, tableName, by } = this.#options;
    const table = await readTable(exec, tableName);
    if (table !== undefined && !isExecResult(table)) {
      const holder = tableState(table)?.by ?? null;
      const isLocked = table.isOwned || (holder !== null && await isLiving(holder, exec));
      if (isLocked && holder !== by) return new TableHeldError(stage, `table inet ${tableName}`);
    }
    return new RuleApplyError(stage, "nft", said);
  }
}

/** Of a version that kept its state in the table's comment, which cannot be changed. */
function isOldTable(table: TableListing): boolean {
  return table.comment !== TABLE_COMMENT;
}

/** nft says of a cgroup only that its path fails. */
function explain(plan: Plan, said: string): string {
  if (!said.includes("cgroup")) return said;
  const paths = plan.chains.flatMap((chain) => chain.rules).flatMap((rule) => rule.matches)
    .flatMap((match) => match.kind === "cgroup" ? [`${CGROUP_ROOT}/${match.path}`] : []);
  return `every cgroup that is named must exist when rules are loaded (${[...new Set(paths)].join(", ")}), ` +
    `in a cgroup v2 mount at ${CGROUP_ROOT}: ${said}`;
}
