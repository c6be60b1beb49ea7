/**
 * What turns one state of our nft table into another: texts of which nft makes one transaction each. Pure.
 *
 * A chain's hook and priority cannot change, so such a chain is deleted and made again within the transaction. Who
 * owns a table has to say so whenever it names it in a block; the flag is refused to everybody else.
 *
 * @module
 */
import type { Hold } from "./backend.ts";
import { nftChains, setsAskedFor } from "./nft_rules.ts";
import type { AddressSet, Phase, Plan } from "./plan.ts";
import { renderChains, renderSetType, renderStateChain, STATE_CHAIN, TABLE_COMMENT } from "./render_nft.ts";
import type { RulesState } from "./state_comment.ts";
import type { TableListing } from "./table_listing.ts";

/** The table that transactions are about. */
export interface TableName {
  readonly tableName: string;
  readonly hold: Hold;
}

/**
 * Makes the table, without rules. `over` says what of that name is there: `nothing` fails if there is something after
 * all, `anything` replaces it.
 */
export function renderNewTable(table: TableName, state: RulesState, over: "nothing" | "anything"): string {
  const name = `inet ${table.tableName}`;
  return [
    ...(over === "nothing" ? [] : [`add table ${name}`, `delete table ${name}`]),
    `create table ${name} { ${table.hold === "owner" ? "flags owner; " : ""}comment "${TABLE_COMMENT}"; }`,
    ...renderBlock(table, renderStateChain(state)),
  ].join("\n");
}

/** Changes what a table says of itself; fails when that is no longer what was read. */
export function renderNewState(table: TableName, found: TableListing, state: RulesState): string {
  return [...takeState(found), ...renderBlock(table, renderStateChain(state))].join("\n");
}

/** Takes all rules and sets out of a table; it stays, so that nobody else can have it. */
export function renderEmptied(table: TableName, found: TableListing, state: RulesState): string {
  const name = `inet ${table.tableName}`;
  return [
    `flush table ${name}`,
    ...found.chains.filter((chain) => chain.name !== STATE_CHAIN).map((chain) =>
      `delete chain ${name} ${chain.name}`
    ),
    ...found.sets.map((set) => `delete set ${name} ${set}`),
    ...renderBlock(table, renderStateChain(state)),
  ].join("\n");
}

/** The switch from whatever rules there are to the plan's; fails when the table is no longer what was read. */
export function renderSwitch(
  table: TableName,
  found: TableListing,
  plan: Plan,
  phase: Phase,
  state: RulesState,
): string {
  const name = `inet ${table.tableName}`;
  const places = new Map(nftChains(plan, phase).map((chain) => [chain.name, chain.place?.listed]));
  const isWanted = (chain: TableListing["chains"][number]) =>
    chain.name === STATE_CHAIN || (places.has(chain.name) && places.get(chain.name) === chain.place);
  const sets = setsAskedFor(plan, phase).map((set) => set.name);
  return [
    ...takeState(found),
    `flush table ${name}`,
    ...found.chains.filter((chain) => !isWanted(chain)).map((chain) => `delete chain ${name} ${chain.name}`),
    ...renderBlock(table, `${renderStateChain(state)}\n${renderChains(plan, phase)}`),
    ...found.sets.filter((set) => !sets.includes(set)).map((set) => `delete set ${name} ${set}`),
  ].join("\n");
}

/** Deletes sets that no rule asks for. */
export function renderSetsDeleted(table: TableName, names: readonly string[]): string {
  return names.map((set) => `delete set inet ${table.tableName} ${set}`).join("\n");
}

/**
 * Makes a set if it is not there yet, and adds these of its elements; `anew`: and no others. As part of what the set
 * is, because for `add element` nft first reads back all that is in the table's sets.
 */
export function renderElements(
  table: TableName,
  set: AddressSet,
  prefixes: readonly string[],
  anew: boolean,
): string {
  const name = `inet ${table.tableName} ${set.name}`;
  const type = renderSetType(set);
  return [
    ...(anew ? [`add set ${name} { ${type} }`, `flush set ${name}`] : []),
    `add set ${name} { ${type} elements = { ${prefixes.join(", ")} }; }`,
  ].join("\n");
}

/** A table of another name with the plan's sets, empty, and chains: for `nft --check`. */
export function renderTrial(plan: Plan, phase: Phase): string {
  return [
    `table inet ${plan.intent.tableName}_check {`,
    ...plan.sets.map((set) => `\tset ${set.name} { ${renderSetType(set)} }`),
    renderChains(plan, phase),
    "}",
  ].join("\n");
}

function renderBlock({ tableName, hold }: TableName, chains: string): string[] {
  return [`table inet ${tableName} {`, ...(hold === "owner" ? ["\tflags owner"] : []), chains, "}"];
}

/** Deleting a rule by its handle fails when another process has replaced it meanwhile. */
function takeState({ name, chains }: TableListing): string[] {
  const state = chains.find((chain) => chain.name === STATE_CHAIN);
  return state?.rules.map(({ handle }) => `delete rule inet ${name} ${STATE_CHAIN} handle ${handle}`) ?? [];
}
