/**
 * The rules of this host, whoever made them and by whichever tool: as much of their text as the judges ask for.
 * nft_ruleset.ts and iptables_save.ts read the tools' listings into it.
 *
 * @module
 */

/** Whose listing a table comes from. */
export type FirewallTool = "nft" | "iptables" | "iptables-legacy";

/** A table of rules. */
export interface FirewallTable {
  readonly tool: FirewallTool;
  /** nft's word: `inet`, `ip`, `ip6`, `bridge`, `arp`, `netdev`. */
  readonly family: string;
  readonly name: string;
  /** Of the table itself; iptables has none. */
  readonly comment: string;
  /** Ends with the process that made it. */
  readonly owned: boolean;
  readonly chains: readonly FirewallChain[];
  readonly flowtables: readonly Flowtable[];
}

/** A list of rules. */
export interface FirewallChain {
  readonly name: string;
  /** Where packets meet it; undefined: where other chains send them. */
  readonly base: { readonly hook: string; readonly drops: boolean } | undefined;
  readonly rules: readonly FirewallRule[];
}

/** A rule in its tool's words, without counters and comment. */
export interface FirewallRule {
  readonly text: string;
  readonly comment: string;
}

/** Forwarded flows that bypass the rules once they are in it. */
export interface Flowtable {
  readonly name: string;
  readonly devices: readonly string[];
}

/** For people, `table inet filter` or `iptables ip filter`. */
export function describeTable({ tool, family, name }: FirewallTable): string {
  if (tool === "nft") return `table ${family} ${name}`;
  return `${family === "ip6" ? tool.replace("ip", "ip6") : tool} table ${name}`;
}

/** Every rule with where it stands. */
export function* everyRule(
  tables: readonly FirewallTable[],
): Generator<{ table: FirewallTable; chain: FirewallChain; rule: FirewallRule }> {
  for (const table of tables) {
    for (const chain of table.chains) {
      for (const rule of chain.rules) yield { table, chain, rule };
    }
  }
}
