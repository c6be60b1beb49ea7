/**
 * Compares our nft table with a plan: what the table says of itself (a hash of what was loaded, by whom), its rules
 * by their comments, its sets by name and elements. Pure.
 *
 * @module
 */
import { parsePrefix } from "../net/prefix.ts";
import type { Difference } from "./backend.ts";
import { type NftChain, nftChains, setsAskedFor } from "./nft_rules.ts";
import type { AddressSet, Phase, Plan } from "./plan.ts";
import { planHash, STATE_CHAIN } from "./render_nft.ts";
import { formatState } from "./state_comment.ts";
import { type ChainListing, isOurs, type TableListing, tableState } from "./table_listing.ts";

/** Who is to have the table. */
interface WantedHolder {
  /** Null: nobody, or nobody asks. */
  readonly by: string | null;
  readonly isOwned: boolean;
}

/** All that differs, apart from the sets' elements. */
export function compareTable(
  plan: Plan,
  phase: Phase,
  holder: WantedHolder,
  table: TableListing | undefined,
): Difference[] {
  const where = `table inet ${plan.intent.tableName}`;
  if (table === undefined) {
    return plan.chains.length === 0 ? [] : [{ kind: "table", message: `${where} is missing` }];
  }
  if (!isOurs(table)) return [{ kind: "table", message: `${where} is not ours` }];
  // An empty table that is held for us is nothing in the way of packets.
  if (plan.chains.length === 0 && tableState(table)?.phase === "claimed") return [];
  const wrong = compareState(plan, phase, holder, table);
  if (wrong !== undefined) return [{ kind: "table", message: `${where}: ${wrong}` }];
  const chains = nftChains(plan, phase);
  return [
    ...(table.isDormant
      ? [{ kind: "table", message: `${where} is dormant: no packet meets its rules` } as const]
      : []),
    ...setsAskedFor(plan, phase).filter(({ name }) => !table.sets.includes(name)).map((
      { name },
    ): Difference => ({
      kind: "set",
      message: `${where}: set ${name} is missing`,
    })),
    ...chains.flatMap((chain) =>
      compareChain(where, chain, table.chains.find((found) => found.name === chain.name))
    ),
    ...table.chains
      .filter(({ name }) => name !== STATE_CHAIN && !chains.some((chain) => chain.name === name))
      .map(({ name }): Difference => ({ kind: "rule", message: `${where}: chain ${name} is not ours` })),
  ];
}

/** Whether a set holds its prefixes and no others; `found` as nft prints them. */
export function compareElements(set: AddressSet, found: readonly string[]): boolean {
  if (found.length !== set.prefixes.length) return false;
  const wanted = new Set(set.prefixes);
  const host = set.family === 4 ? "/32" : "/128";
  return found.every((element) => {
    // Nearly always it is written as we wrote it; reading each one would take long.
    const text = element.includes("/") ? element : element + host;
    return wanted.has(text) || wanted.has(parsePrefix(text)?.text ?? "");
  });
}

function compareState(
  plan: Plan,
  phase: Phase,
  holder: WantedHolder,
  table: TableListing,
): string | undefined {
  const state = tableState(table);
  const hash = planHash(plan, phase);
  if (state === undefined) return "does not say what is loaded";
  if (state.phase !== phase || state.hash !== hash) {
    return `"${formatState(state)}" found, "${phase} ${hash}" wanted`;
  }
  if (holder.by !== null && state.by !== holder.by) {
    return `belongs to ${state.by ?? "no process"}, to ${holder.by} wanted`;
  }
  return holder.isOwned && !table.isOwned ? "no process owns it" : undefined;
}

function compareChain(where: string, chain: NftChain, found: ChainListing | undefined): Difference[] {
  const rule = (message: string): Difference => ({
    kind: "rule",
    message: `${where}: chain ${chain.name}${message}`,
  });
  if (found === undefined) return [rule(" is missing")];
  if (found.place !== chain.place?.listed) {
    return [rule(`: ${found.place ?? "no hook"} found, ${chain.place?.listed ?? "no hook"} wanted`)];
  }
  if (found.policy !== "accept") return [rule(`: policy ${found.policy} found, accept wanted`)];
  const wanted = chain.rules.map(({ comment }) => comment);
  const there = found.rules.map(({ comment }) => comment);
  const differences = [
    ...wanted.filter((comment) => !there.includes(comment)).map((comment) =>
      rule(`: rule "${comment}" is missing`)
    ),
    ...there.filter((comment) => !wanted.includes(comment)).map((comment) =>
      rule(`: rule "${comment}" is not ours`)
    ),
  ];
  // The same rules in another order, or one of them twice.
  if (differences.length === 0 && wanted.join("\n") !== there.join("\n")) {
    return [rule(": its rules are in another order")];
  }
  return differences;
}
