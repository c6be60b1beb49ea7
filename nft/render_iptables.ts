/**
 * Plan → rules of iptables or ip6tables. Pure; the syntax of iptables is known here, in iptables_matches.ts and
 * iptables_verdicts.ts, and in iptables_listing.ts, which reads it back.
 *
 * Each base chain is a chain of ours with one jump from a built-in chain, at its first place. The jump's comment
 * names us, the plan by a hash, and whose the rules are (state_comment.ts); each rule's comment is the same as on
 * nft. iptables has chains in each table apart, so a chain to which several tables send packets is in all of them.
 *
 * @module
 */
import type { IpFamily } from "../net/address.ts";
import { ruleComment } from "./check_plan.ts";
import { contentHash } from "./content_hash.ts";
import { isSocketMark, renderMatches, restoreWord } from "./iptables_matches.ts";
import type { RestoreChain, RestoreJump, RestoreTable, TableName } from "./iptables_restore.ts";
import { chainName, protocolsOf, renderVerdict } from "./iptables_verdicts.ts";
import type { AddressSet, BaseChain, Chain, Phase, Plan, Rule } from "./plan.ts";
import { COMMENT_PREFIX, formatState, type RulesState } from "./state_comment.ts";

/** In the order in which a packet meets them. */
const TABLES: readonly TableName[] = ["raw", "mangle", "nat", "filter"];

/** The built-in chains that each table has, of those that a plan knows. */
const BUILTIN: Readonly<Record<TableName, readonly BaseChain["hook"][]>> = {
  raw: ["prerouting", "output"],
  mangle: ["prerouting", "input", "output"],
  nat: ["prerouting", "output"],
  filter: ["input", "output"],
};

/** The table whose built-in chain stands where `chain` does; undefined when none does. */
export function tableOf({ type, hook, priority }: BaseChain): TableName | undefined {
  const table = priority === "dstnat" ? "nat" : priority;
  if ((type === "nat") !== (table === "nat") || !BUILTIN[table].includes(hook)) return undefined;
  return table;
}

/** The rules of `plan` in that family, with what they say of themselves. */
export function renderIptables(
  plan: Plan,
  phase: Phase,
  family: IpFamily,
  life: Pick<RulesState, "by" | "sysctls">,
): RestoreTable[] {
  const tables = TABLES.flatMap((table) => {
    const base = plan.chains.filter((chain): chain is BaseChain =>
      chain.hook !== "none" && tableOf(chain) === table
    );
    return base.length === 0
      ? []
      : [{ table, base, chains: new TableRenderer(plan, phase, family).render(base) }];
  });
  const hash = contentHash(JSON.stringify(tables.map(({ table, chains }) => [table, chains])));
  const comment = restoreWord(
    `${COMMENT_PREFIX} ${formatState({ phase, hash, onProxyDown: plan.intent.onProxyDown, ...life })}`,
  );
  return tables.map(({ table, base, chains }) => ({
    table,
    chains,
    jumps: base.map(({ hook, name }): RestoreJump => ({
      builtin: hook.toUpperCase(),
      rule: `-m comment --comment ${comment} -j ${chainName(plan.intent.tableName, name)}`,
    })),
  }));
}

/** The name of the chain that holds the plan's rules: a chain for some interfaces only has one before it. */
export function bodyName(tableName: string, chain: Chain): string {
  const name = chainName(tableName, chain.name);
  return chain.hook === "none" || chain.interfaces === "any" ? name : `${name}_i`;
}

/** The chains of one table. */
class TableRenderer {
  readonly #plan: Plan;
  readonly #phase: Phase;
  readonly #family: IpFamily;
  readonly #sets: ReadonlyMap<string, AddressSet>;
  /** Chains that verdicts need, by name. */
  readonly #verdictChains = new Map<string, RestoreChain>();

  constructor(plan: Plan, phase: Phase, family: IpFamily) {
    this.#plan = plan;
    this.#phase = phase;
    this.#family = family;
    this.#sets = new Map(plan.sets.map((set) => [set.name, set]));
  }

  /** `base` and all chains that they lead to. */
  render(base: readonly BaseChain[]): RestoreChain[] {
    const met = new Set<string>(base.map(({ name }) => name));
    // Chains lead to later ones only, so one pass finds all.
    const chains = this.#plan.chains.filter((chain) => {
      if (!met.has(chain.name)) return false;
      for (const rule of this.#rulesOf(chain)) targetsOf(rule).forEach((name) => met.add(name));
      return true;
    });
    return [...chains.flatMap((chain) => this.#renderChain(chain)), ...this.#verdictChains.values()];
  }

  #rulesOf(chain: Chain): Rule[] {
    return chain.rules.filter(({ during }) => this.#phase === "intercept" || during === "always");
  }

  #renderChain(chain: Chain): RestoreChain[] {
    const { tableName } = this.#plan.intent;
    const rules = this.#rulesOf(chain).flatMap((rule) => this.#renderRule(rule));
    const body = { name: bodyName(tableName, chain), why: chain.why, rules };
    if (chain.hook === "none" || chain.interfaces === "any") return [body];
    return [{
      name: chainName(tableName, chain.name),
      why: `${chain.why} Only what comes in by these interfaces.`,
      rules: chain.interfaces.map((name) =>
        `-i ${restoreWord(name)} -m comment --comment ${
          restoreWord(`scope: what comes in by ${name}`)
        } -g ${body.name}`
      ),
    }, body];
  }

  #renderRule(rule: Rule): string[] {
    const { marks, tableName } = this.#plan.intent;
    const context = { family: this.#family, marks, tableName };
    const matches = renderMatches(rule.matches, { ...context, sets: this.#sets }, protocolsOf(rule.verdict));
    if (matches.length === 0) return [];
    const { ends, chain } = renderVerdict(rule.verdict, {
      ...context,
      isMarked: rule.matches.some(isSocketMark),
    });
    if (chain !== undefined) this.#verdictChains.set(chain.name, chain);
    const comment = `-m comment --comment ${restoreWord(ruleComment(rule))}`;
    return matches.flatMap((words) =>
      ends.map((end) => `${words}${words === "" ? "" : " "}${comment} ${end}`)
    );
  }
}

function targetsOf({ verdict }: Rule): readonly string[] {
  if (verdict.kind === "goto") return [verdict.chain];
  return verdict.kind === "spread" ? verdict.chains : [];
}
