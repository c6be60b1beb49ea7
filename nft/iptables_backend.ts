/**
 * iptables and ip6tables as a backend, of either flavour: `iptables` (iptables-nft) and `iptables-legacy`.
 *
 * How do we know that something is ours? Jumps by their comment's first word, chains by the jumps that lead to them
 * and by their name, ipsets by their name (iptables_listing.ts, render_ipset.ts). What has our name and is somebody
 * else's stops us before anything is changed.
 *
 * Each load goes through `--test` first. That does not ask the kernel, so `check` loads the rules in a network
 * namespace of their own as well, where it may make one. The order in which a load takes effect is in
 * iptables_restore.ts; when a later table is refused, what was there before is put back.
 *
 * @module
 */
import type { IpFamily } from "../net/address.ts";
import type { Backend, Difference, RuleCounter } from "./backend.ts";
import type { BackendOptions } from "./backend_options.ts";
import type { PlanIssue } from "./check_plan.ts";
import { ruleComment } from "./check_plan.ts";
import { COMMAND_MISSING } from "./exec.ts";
import { IpsetStore } from "./ipset_store.ts";
import { formatCommands, iptablesCommands, RESTORE_FLAGS, type RestoreCommand } from "./iptables_commands.ts";
import { compareIptables } from "./iptables_compare.ts";
import { iptablesLimits, setOption } from "./iptables_limits.ts";
import { type OwnRules, ownRules, parseSave, type SavedTable } from "./iptables_listing.ts";
import { restoreWord } from "./iptables_matches.ts";
import { findIptables, type IptablesName, type IptablesPrograms } from "./iptables_programs.ts";
import { iptablesRemoveScript } from "./iptables_remove_script.ts";
import { renderRestore, type RestoreChain, type RestoreTable } from "./iptables_restore.ts";
import type { Phase, Plan } from "./plan.ts";
import { ipsetName, ipsetsOf, renderIpset } from "./render_ipset.ts";
import { bodyName, renderIptables } from "./render_iptables.ts";
import { isLiving } from "./living_process.ts";
import { type ApplyStage, RuleApplyError, TableHeldError } from "./rule_apply_error.ts";

/** What an iptables backend is told. */
export interface IptablesOptions extends BackendOptions {
  /** Whether the kernel has IPv6; without it ip6tables can do nothing. */
  readonly ipv6: boolean;
}

/** The lock may take 5 s, and some thousands of rules a while. */
const RESTORE_TIMEOUT_MS = 30_000;

/** What one family has and is to have. */
interface Switch {
  readonly family: IpFamily;
  readonly before: readonly RestoreTable[];
  readonly wanted: readonly RestoreTable[];
}

/** Rules of a table name, as people know them. */
export function chainsText(name: IptablesName, tableName: string): string {
  return `${name} chains ${tableName}_*`;
}

/** Rules by `iptables-restore`. */
export class IptablesBackend implements Backend {
  readonly name: IptablesName;
  readonly #options: IptablesOptions;
  readonly #families: readonly IpFamily[];
  readonly #sets: IpsetStore;
  #programs: IptablesPrograms | undefined;

  constructor(name: IptablesName, options: IptablesOptions) {
    this.name = name;
    this.#options = options;
    this.#families = options.ipv6 ? [4, 6] : [4];
    this.#sets = new IpsetStore(options.exec, options.tableName);
  }

  /** Nothing can be held without rules, so this only looks whether another process has its own here. */
  async claim(): Promise<void> {
    for (const family of this.#families) {
      await this.#requireFree(await this.#readOwn(family, "check"), "check");
    }
  }

  unsupported(plan: Plan): PlanIssue[] {
    return iptablesLimits(plan);
  }

  render(plan: Plan, phase: Phase): string {
    return formatCommands(this.commands(plan, phase));
  }

  /** What `load` runs where nothing of ours is there, in order. */
  commands(plan: Plan, phase: Phase): RestoreCommand[] {
    return iptablesCommands(this.name, plan, phase, this.#families, this.#options);
  }

  async check(plan: Plan): Promise<void> {
    const issues = this.unsupported(plan);
    if (issues.length > 0) throw new RuleApplyError("check", issues.map(({ message }) => message).join("; "));
    const programs = await this.#find("check");
    const sets = ipsetsOf(plan, this.#families);
    if (sets.length > 0 && !await this.#sets.isInstalled()) {
      const problems = sets.map(({ name, prefixes }) =>
        `${setOption(name)}: ${prefixes.length} prefixes need the program ipset, which is not installed`
      );
      throw new RuleApplyError("check", [...new Set(problems)].join("; "));
    }
    // What stays while draining is there while intercepting, so one phase shows all.
    for (const { family, wanted } of await this.#switches(plan, "intercept", "check")) {
      const text = renderRestore([], wanted);
      if (text === "") continue;
      // A rule cannot be read while its set is missing: then the namespace alone shows.
      if (sets.length === 0) await this.#restore(family, text, "check", ["--test"]);
      await this.#tryInNamespace(programs.restore(family), text, sets);
    }
  }

  async load(plan: Plan, phase: Phase): Promise<void> {
    const made = await this.#sets.fill(ipsetsOf(plan, this.#families));
    try {
      await this.#switchRules(plan, phase);
    } catch (error) {
      await this.#sets.destroy(made);
      throw error;
    }
    const { tableName } = this.#options;
    // An old set that stays costs memory alone, and the next load or removal tries again.
    await this.#sets.destroyOthers(
      ipsetsOf(plan, this.#families).map(({ name }) => ipsetName(tableName, name)),
    );
  }

  async differences(plan: Plan, phase: Phase): Promise<Difference[]> {
    const differences: Difference[] = [];
    for (const family of this.#families) {
      const found = await this.#readOwn(family, "verify");
      const wanted = this.#render(plan, phase, family);
      const tool = family === 4 ? "iptables" : "ip6tables";
      differences.push(...compareIptables(tool, found, wanted, this.#options.by !== null));
    }
    return [...differences, ...await this.setDifferences(plan)];
  }

  /** By their numbers of elements. */
  async setDifferences(plan: Plan): Promise<Difference[]> {
    const sets = ipsetsOf(plan, this.#families);
    if (sets.length === 0) return [];
    const differences: Difference[] = [];
    const counts = await this.#sets.counts();
    for (const set of sets) {
      const name = ipsetName(this.#options.tableName, set.name);
      const [found, wanted] = [counts.get(name), set.prefixes.length];
      if (found === wanted) continue;
      const has = found === undefined ? "is missing" : `has ${found} elements, ${wanted} wanted`;
      differences.push({ kind: "set", message: `ipset ${name} ${has}` });
    }
    return differences;
  }

  async counters(plan: Plan): Promise<RuleCounter[]> {
    const { tableName } = this.#options;
    const sums = new Map<string, { packets: number; bytes: number }>();
    const wanted: RestoreChain[] = [];
    for (const family of this.#families) {
      const saved = await this.#read(family, "verify");
      const isDraining = ownRules(saved, tableName).states.some(({ phase }) => phase === "drain");
      const tables = this.#render(plan, isDraining ? "drain" : "intercept", family);
      wanted.push(...tables.flatMap(({ chains }) => chains));
      for (const { chains } of saved) {
        for (const { name, rules } of chains) {
          for (const { comment, packets, bytes } of rules) {
            const key = `${name} ${comment}`;
            const sum = sums.get(key) ?? { packets: 0, bytes: 0 };
            sums.set(key, { packets: sum.packets + packets, bytes: sum.bytes + bytes });
          }
        }
      }
    }
    return plan.chains.flatMap((chain) => {
      const name = bodyName(tableName, chain);
      const rendered = wanted.filter((each) => each.name === name).flatMap(({ rules }) => rules);
      return chain.rules.map((rule) => {
        const sum = sums.get(`${name} ${ruleComment(rule)}`);
        const words = `--comment ${restoreWord(ruleComment(rule))} `;
        // A rule of the other phase, or of a family that is not here, has met nothing.
        if (sum === undefined && rendered.some((text) => text.includes(words))) {
          throw new RuleApplyError("verify", `${this.name} chain ${name}: rule "${rule.id}" is missing`);
        }
        return { chain: chain.name, rule: rule.id, ...sum ?? { packets: 0, bytes: 0 } };
      });
    });
  }

  async remove(): Promise<string | undefined> {
    const said: string[] = [];
    for (const family of this.#families) {
      try {
        const own = await this.#readOwn(family, "revert");
        await this.#requireFree(own, "revert");
        const text = renderRestore(own.tables, []);
        if (text !== "") await this.#restore(family, text, "revert");
      } catch (error) {
        if (!(error instanceof RuleApplyError)) throw error;
        said.push(error.message);
      }
    }
    if (said.length === 0) said.push(...await this.#sets.destroyOthers([]));
    return said.length === 0 ? undefined : said.join("\n");
  }

  removeScript(): string {
    const { tableName, by } = this.#options;
    return iptablesRemoveScript(this.name, tableName, by, this.#families);
  }

  /** What is under our name in that family. @throws {RuleApplyError} of that stage. */
  async #readOwn(family: IpFamily, stage: ApplyStage): Promise<OwnRules> {
    return ownRules(await this.#read(family, stage), this.#options.tableName);
  }

  async #read(family: IpFamily, stage: ApplyStage): Promise<SavedTable[]> {
    const save = (await this.#find(stage)).save(family);
    const result = await this.#options.exec.run([save, "-c"]);
    if (result.code !== 0) throw new RuleApplyError(stage, save, result.stderr);
    return parseSave(result.stdout);
  }

  async #find(stage: ApplyStage): Promise<IptablesPrograms> {
    return this.#programs ??= await findIptables(this.name, this.#options.exec, stage);
  }

  #render(plan: Plan, phase: Phase, family: IpFamily): RestoreTable[] {
    return renderIptables(plan, phase, family, this.#options);
  }

  /** @throws {RuleApplyError} of that stage, when rules are another process's or a chain is somebody else's. */
  async #switches(plan: Plan, phase: Phase, stage: ApplyStage): Promise<Switch[]> {
    return await Promise.all(this.#families.map(async (family) => {
      const own = await this.#readOwn(family, stage);
      await this.#requireFree(own, stage);
      const { tables: before, foreign } = own;
      const wanted = this.#render(plan, phase, family);
      const names = wanted.flatMap(({ table, chains }) => chains.map(({ name }) => `${table} ${name}`));
      const taken = names.find((name) => foreign.includes(name));
      if (taken !== undefined) {
        throw new RuleApplyError(stage, `chain ${taken} exists and is not ours: rename or delete it`);
      }
      return { family, before, wanted };
    }));
  }

  /** @throws {TableHeldError} when another living process says that the rules are its own. */
  async #requireFree({ states }: OwnRules, stage: ApplyStage): Promise<void> {
    const { by: ours, exec, tableName } = this.#options;
    for (const { by } of states) {
      if (by === null || by === ours || !await isLiving(by, exec)) continue;
      throw new TableHeldError(stage, chainsText(this.name, tableName));
    }
  }

  /** All of it or, when some is refused, what was there before. */
  async #switchRules(plan: Plan, phase: Phase): Promise<void> {
    const switches = await this.#switches(plan, phase, "apply");
    for (const { family, before, wanted } of switches) {
      await this.#restore(family, renderRestore(before, wanted), "apply", ["--test"]);
    }
    const begun: Switch[] = [];
    try {
      for (const each of switches) {
        begun.push(each);
        await this.#restore(each.family, renderRestore(each.before, each.wanted), "apply");
      }
    } catch (error) {
      for (const { family, before } of begun.reverse()) {
        const { tables } = await this.#readOwn(family, "apply");
        await this.#restore(family, renderRestore(tables, before), "apply");
      }
      throw error;
    }
  }

  async #restore(
    family: IpFamily,
    text: string,
    stage: ApplyStage,
    flags: readonly string[] = [],
  ): Promise<void> {
    if (text === "") return;
    const argv = [(await this.#find(stage)).restore(family), ...flags, ...RESTORE_FLAGS];
    const result = await this.#options.exec.run(argv, { stdin: text, timeoutMs: RESTORE_TIMEOUT_MS });
    if (result.code !== 0) throw new RuleApplyError(stage, argv.join(" "), result.stderr);
  }

  /** What `--test` does not find out: whether the kernel takes the rules. Where no namespace can be made, `load` tells. */
  async #tryInNamespace(
    program: string,
    text: string,
    sets: ReturnType<typeof ipsetsOf>,
  ): Promise<void> {
    const { exec, tableName } = this.#options;
    const possible = await exec.run(["unshare", "-n", "true"]);
    if (possible.code !== 0) return;
    const empty = sets.map((set) => renderIpset(set, ipsetName(tableName, set.name), false)).join("");
    const script = [
      ...(empty === "" ? [] : [`ipset restore <<'END' || exit 1\n${empty}END`]),
      `${program} ${RESTORE_FLAGS.join(" ")} <<'END'\n${text}END`,
      "",
    ].join("\n");
    const result = await exec.run(["unshare", "-n", "sh"], { stdin: script, timeoutMs: RESTORE_TIMEOUT_MS });
    if (result.code === COMMAND_MISSING) return;
    if (result.code !== 0) throw new RuleApplyError("check", `${program} in a namespace`, result.stderr);
  }
}
