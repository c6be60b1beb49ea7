/**
 * Plan → nft text. Pure. nft_rules.ts writes the rules, nft_transactions.ts what turns one state of our table into
 * another, and table_listing.ts reads nft's own listing.
 *
 * Chain `state`, which no packet meets, says what is loaded (state_comment.ts): unlike a table's comment it can
 * change together with the rules. By the hash in it a later process knows what the table holds, because nft does not
 * print rules back as they were written.
 *
 * @module
 */
import type { Hold } from "./backend.ts";
import { COMMENT_BYTES } from "./check_plan.ts";
import { contentHash } from "./content_hash.ts";
import { type NftChain, nftChains, setsAskedFor } from "./nft_rules.ts";
import type { AddressSet, Phase, Plan } from "./plan.ts";
import type { OldSysctl } from "./sysctls.ts";
import { COMMENT_PREFIX, formatState, type RulesState, splitState } from "./state_comment.ts";

/** The comment of every table of ours. */
export const TABLE_COMMENT = `${COMMENT_PREFIX} chain state says what is loaded`;

/** The chain that says so; no plan's chain has this name. */
export const STATE_CHAIN = "state";

const ELEMENTS_A_LINE = 6;

/** The whole text for `nft -f -`, which replaces any table of that name; empty when the plan has no chains. */
export function renderNft(
  plan: Plan,
  phase: Phase,
  hold: Hold,
  sysctls: readonly OldSysctl[] = [],
): string {
  if (plan.chains.length === 0) return "";
  const name = plan.intent.tableName;
  return [
    // A table must exist to be deleted.
    `table inet ${name}`,
    `delete table inet ${name}`,
    `table inet ${name} {`,
    ...(hold === "owner" ? ["\tflags owner"] : []),
    `\tcomment "${TABLE_COMMENT}"`,
    ...setsAskedFor(plan, phase).map(renderSet),
    "\t# Met by no packet: says what is loaded.",
    renderStateChain({
      phase,
      hash: planHash(plan, phase),
      onProxyDown: plan.intent.onProxyDown,
      by: null,
      sysctls,
    }),
    renderChains(plan, phase),
    "}",
    "",
  ].join("\n");
}

/** Tells the rules of two plans, or of two phases of one, apart. */
export function planHash(plan: Plan, phase: Phase): string {
  return contentHash(renderChains(plan, phase));
}

/** All chains of the plan, as they stand in a table's block. */
export function renderChains(plan: Plan, phase: Phase): string {
  return nftChains(plan, phase).map(renderChain).join("\n");
}

/** The chain that says what is loaded. */
export function renderStateChain(state: RulesState): string {
  return [
    `\tchain ${STATE_CHAIN} {`,
    ...splitState(formatState(state), COMMENT_BYTES).map((piece) => `\t\treturn comment "${piece}"`),
    "\t}",
  ].join("\n");
}

/** What a set is, apart from its elements. */
export function renderSetType({ family }: AddressSet): string {
  return `type ${family === 4 ? "ipv4_addr" : "ipv6_addr"}; flags interval;`;
}

function renderChain({ name, why, place, rules }: NftChain): string {
  return [
    `\t# ${why}`,
    `\tchain ${name} {`,
    ...(place === undefined ? [] : [`\t\t${place.text}; policy accept;`]),
    ...rules.map(({ text, comment }) => `\t\t${text} comment "${comment}"`),
    "\t}",
  ].join("\n");
}

function renderSet(set: AddressSet): string {
  const { prefixes } = set;
  const lines = Array.from(
    { length: Math.ceil(prefixes.length / ELEMENTS_A_LINE) },
    (_, i) => `\t\t\t${prefixes.slice(i * ELEMENTS_A_LINE, (i + 1) * ELEMENTS_A_LINE).join(", ")}`,
  );
  return [
    `\t# ${set.why}`,
    `\tset ${set.name} {`,
    `\t\t${renderSetType(set)}`,
    "\t\telements = {",
    lines.join(",\n"),
    "\t\t}",
    "\t}",
  ].join("\n");
}
