/**
 * Reads `nft -s -t list ruleset`. The text and not `nft -j`, which is an option of nft's build, leaves comments of
 * tables out (1.0.6) and has no words for what iptables-nft made.
 *
 * @module
 */
import type { FirewallChain, FirewallRule, FirewallTable, Flowtable } from "./firewall.ts";

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type OpenTable = Omit<Mutable<FirewallTable>, "chains" | "flowtables"> & {
  chains: (Omit<Mutable<FirewallChain>, "rules"> & { rules: FirewallRule[] })[];
  flowtables: Flowtable[];
};

/** Every table of every family, in the order of the listing. */
export function parseNftRuleset(text: string): FirewallTable[] {
  const tables: OpenTable[] = [];
  let block: "table" | "chain" | "flowtable" | "other" = "table";
  for (const line of text.split("\n")) {
    const depth = /^\t*/.exec(line)![0].length;
    const words = line.trim();
    const head = /^table (\S+) (\S+) \{/.exec(line);
    if (head !== null) {
      tables.push({
        tool: "nft",
        family: head[1]!,
        name: head[2]!,
        comment: "",
        owned: false,
        chains: [],
        flowtables: [],
      });
      block = "table";
      continue;
    }
    const table = tables.at(-1);
    if (table === undefined || words === "" || words.startsWith("#")) continue;
    if (depth === 1) block = readTableLine(table, words);
    else if (depth === 2 && block === "chain") readChainLine(table, words);
    else if (depth === 2 && block === "flowtable") readFlowtableLine(table, words);
  }
  return tables;
}

function readTableLine(table: OpenTable, words: string): "table" | "chain" | "flowtable" | "other" {
  const block = /^(chain|flowtable) (\S+) \{/.exec(words);
  if (block?.[1] === "chain") {
    table.chains.push({ name: block[2]!, base: undefined, rules: [] });
    return "chain";
  }
  if (block?.[1] === "flowtable") {
    table.flowtables.push({ name: block[2]!, devices: [] });
    return "flowtable";
  }
  if (words === "}") return "table";
  if (words.startsWith("flags ")) table.owned = words.slice(6).split(",").includes("owner");
  else if (words.startsWith("comment ")) table.comment = /^comment "(.*)"$/.exec(words)?.[1] ?? "";
  return "other";
}

function readChainLine(table: OpenTable, words: string): void {
  const chain = table.chains.at(-1)!;
  const base = /^type \w+ hook (\w+) .*?;(?: policy (\w+);)?/.exec(words);
  if (base !== null) chain.base = { hook: base[1]!, drops: base[2] === "drop" };
  else if (!/^comment "[^"]*"$/.test(words)) chain.rules.push(readRule(words));
}

function readRule(words: string): FirewallRule {
  const comment = / comment "([^"]*)"(?: # handle \d+)?$/.exec(words);
  const text = (comment === null ? words : words.slice(0, comment.index)).replace(
    /\bcounter(?: packets \d+ bytes \d+)? ?/g,
    "",
  );
  return { text: text.replace(/\s+/g, " ").trim(), comment: comment?.[1] ?? "" };
}

function readFlowtableLine(table: OpenTable, words: string): void {
  const devices = /^devices = \{ (.*) \}/.exec(words)?.[1];
  if (devices === undefined) return;
  const { name } = table.flowtables.pop()!;
  table.flowtables.push({ name, devices: devices.split(", ").map((device) => device.replaceAll('"', "")) });
}
