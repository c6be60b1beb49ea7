/**
 * What of a plan's rules is not there, and what is there of ours that the plan does not want: chains and jumps by
 * their names, rules by their comments. Pure.
 *
 * The text of a rule is not compared: each version of iptables prints the same rule in its own way.
 *
 * @module
 */
import type { Difference } from "./backend.ts";
import { type OwnRules, readRule } from "./iptables_listing.ts";
import type { RestoreChain, RestoreJump, RestoreTable } from "./iptables_restore.ts";
import { parseState, type RulesState } from "./state_comment.ts";

/**
 * What differs in one family.
 *
 * @param tool as people call it, for the messages: `iptables` or `ip6tables`.
 * @param comparesOwner whether the rules have to belong to the same process too.
 */
export function compareIptables(
  tool: string,
  found: OwnRules,
  wanted: readonly RestoreTable[],
  comparesOwner: boolean,
): Difference[] {
  if (found.tables.length === 0 && wanted.length > 0) {
    return [{ kind: "table", message: `${tool}: our rules are missing` }];
  }
  const other = compareStates(tool, found.tables, wanted, comparesOwner);
  // Of another plan every rule would differ.
  if (other.length > 0) return other;
  const names = new Set([...wanted, ...found.tables].map(({ table }) => table));
  return [...names].flatMap((table) => {
    const where = `${tool} -t ${table}`;
    const of = (tables: readonly RestoreTable[]) => tables.find((other) => other.table === table);
    const theirs = of(found.tables), ours = of(wanted);
    if (ours === undefined) {
      return [{ kind: "table", message: `${where}: rules of ours that are not wanted` }];
    }
    return [
      ...compareJumps(where, theirs?.jumps ?? [], ours.jumps),
      ...compareChains(where, theirs?.chains ?? [], ours.chains),
    ];
  });
}

/** What the jumps say of the plan and of its owner. */
function compareStates(
  tool: string,
  found: readonly RestoreTable[],
  wanted: readonly RestoreTable[],
  comparesOwner: boolean,
): Difference[] {
  const comments = (tables: readonly RestoreTable[]) =>
    new Set(tables.flatMap(({ jumps }) => jumps.map(({ rule }) => readRule(rule).comment)));
  const [wants] = comments(wanted);
  return [...comments(found)]
    .filter((has) => wants === undefined || !isSameState(has, wants, comparesOwner))
    .map((has): Difference => ({
      kind: "table",
      message: `${tool}: "${has}" found, ${wants === undefined ? "nothing of ours" : `"${wants}"`} wanted`,
    }));
}

function compareJumps(
  where: string,
  found: readonly RestoreJump[],
  wanted: readonly RestoreJump[],
): Difference[] {
  const differences: Difference[] = [];
  const said = (message: string) => differences.push({ kind: "rule", message: `${where}: ${message}` });
  const place = ({ builtin, rule }: RestoreJump) => `${builtin} to ${readRule(rule).target}`;
  for (const jump of wanted) {
    const { length } = found.filter((other) => place(other) === place(jump));
    if (length === 0) said(`the jump from ${place(jump)} is missing`);
    if (length > 1) said(`the jump from ${place(jump)} is there ${length} times`);
  }
  for (const jump of found) {
    if (!wanted.some((other) => place(other) === place(jump))) {
      said(`the jump from ${place(jump)} is not wanted`);
    }
  }
  return differences;
}

function isSameState(a: string, b: string, comparesOwner: boolean): boolean {
  const [has, wants]: (RulesState | undefined)[] = [parseState(a), parseState(b)];
  if (has?.phase !== wants?.phase || has?.hash !== wants?.hash) return false;
  return !comparesOwner || has?.by === wants?.by;
}

function compareChains(
  where: string,
  found: readonly RestoreChain[],
  wanted: readonly RestoreChain[],
): Difference[] {
  const differences: Difference[] = [];
  const said = (message: string) => differences.push({ kind: "rule", message: `${where}: ${message}` });
  for (const chain of wanted) {
    const other = found.find(({ name }) => name === chain.name);
    if (other === undefined) said(`chain ${chain.name} is missing`);
    else compareRules(chain.name, commentsOf(other), commentsOf(chain), said);
  }
  for (const { name } of found) {
    if (!wanted.some((chain) => chain.name === name)) said(`chain ${name} is not wanted`);
  }
  return differences;
}

function compareRules(
  name: string,
  found: readonly string[],
  wanted: readonly string[],
  said: (message: string) => void,
): void {
  let differs = false;
  const count = (of: readonly string[], comment: string) => of.filter((other) => other === comment).length;
  for (const comment of new Set([...wanted, ...found])) {
    const [has, wants] = [count(found, comment), count(wanted, comment)];
    if (has === wants) continue;
    differs = true;
    if (wants === 0) said(`chain ${name}: rule "${comment}" is not ours`);
    else if (has === 0) said(`chain ${name}: rule "${comment}" is missing`);
    else said(`chain ${name}: rule "${comment}" is there ${has} times, ${wants} wanted`);
  }
  if (!differs && found.join("\n") !== wanted.join("\n")) {
    said(`chain ${name}: its rules are in another order`);
  }
}

function commentsOf({ rules }: RestoreChain): string[] {
  return rules.map((rule) => readRule(rule).comment);
}
