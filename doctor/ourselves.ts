/**
 * What of the host's rules is our own, so that no judge takes it for somebody else's.
 *
 * @module
 */
import { COMMENT_PREFIX, parseState } from "../nft/state_comment.ts";
import { everyRule, type FirewallChain, type FirewallTable } from "./firewall.ts";

/** Chains of iptables that are ours begin so; the rest is the plan's table name. */
const OUR_NAMES = "pellucid_";

/** Rules of ours that are in place. */
export interface OurTable {
  readonly table: FirewallTable;
  /** A process that is running holds them. */
  readonly isHeld: boolean;
}

/** Whether a chain is one of ours, in a table of ours or by its name. */
export function isOurChain(table: FirewallTable, chain: FirewallChain): boolean {
  return table.tool === "nft" ? isOurNftTable(table) : chain.name.startsWith(OUR_NAMES);
}

/** The tables of every tool that have rules of ours. `living`: those of {@linkcode holdersIn} that are running. */
export function ourTables(tables: readonly FirewallTable[], living: ReadonlySet<string>): OurTable[] {
  const isHeld = (table: FirewallTable) => [...holdersIn([table])].some((holder) => living.has(holder));
  return tables.flatMap((table) => {
    if (isOurNftTable(table)) return [{ table, isHeld: table.owned || isHeld(table) }];
    const isOurs = table.tool !== "nft" && table.chains.some(({ name }) => name.startsWith(OUR_NAMES));
    return isOurs ? [{ table, isHeld: isHeld(table) }] : [];
  });
}

/** The processes that rules of ours say they belong to, named as in nft/living_process.ts. */
export function holdersIn(tables: readonly FirewallTable[]): Set<string> {
  return new Set([...everyRule(tables)].flatMap(({ rule }) => parseState(rule.comment)?.by ?? []));
}

function isOurNftTable({ tool, comment }: FirewallTable): boolean {
  return tool === "nft" && comment.startsWith(COMMENT_PREFIX);
}
