/**
 * Reads `iptables-save` and `ip6tables-save`, of either kind.
 *
 * @module
 */
import type { FirewallChain, FirewallRule, FirewallTable, FirewallTool } from "./firewall.ts";

type OpenChain = Omit<FirewallChain, "rules"> & { readonly rules: FirewallRule[] };

const HOOKS: Readonly<Record<string, string>> = {
  PREROUTING: "prerouting",
  INPUT: "input",
  FORWARD: "forward",
  OUTPUT: "output",
  POSTROUTING: "postrouting",
};

/** Every table in the listing. */
export function parseIptablesSave(
  text: string,
  tool: Exclude<FirewallTool, "nft">,
  family: "ip" | "ip6",
): FirewallTable[] {
  const tables: FirewallTable[] = [];
  let chains = new Map<string, OpenChain>();
  let name = "";
  for (const line of text.split("\n")) {
    if (line.startsWith("*")) {
      [name, chains] = [line.slice(1), new Map()];
    } else if (line.startsWith(":")) {
      const [chain = "", policy = "-"] = line.slice(1).split(" ");
      // A user's chain may have a builtin one's name in another table, but it has no policy.
      const hook = policy === "-" ? undefined : HOOKS[chain];
      chains.set(chain, {
        name: chain,
        base: hook === undefined ? undefined : { hook, drops: policy === "DROP" },
        rules: [],
      });
    } else if (line.startsWith("-A ")) {
      const [, chain, rest] = /^-A (\S+) ?(.*)$/.exec(line)!;
      chains.get(chain!)?.rules.push(readRule(rest!));
    } else if (line === "COMMIT") {
      tables.push({
        tool,
        family,
        name,
        comment: "",
        owned: false,
        chains: [...chains.values()],
        flowtables: [],
      });
    }
  }
  return tables;
}

function readRule(words: string): FirewallRule {
  const comment = /-m comment --comment (?:"((?:[^"\\]|\\.)*)"|(\S+)) ?/.exec(words);
  if (comment === null) return { text: words.trim(), comment: "" };
  return { text: words.replace(comment[0], "").trim(), comment: comment[1] ?? comment[2]! };
}
