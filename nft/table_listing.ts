/**
 * Reads our tables back from nft's own listing: whose they are, and which rules they hold, told by comments.
 * Nothing else of a rule is looked at, because nft does not print rules as they were written.
 *
 * The text is read rather than `nft -j`: nft 1.0.6 leaves table comments and flags out of its JSON, and JSON is
 * an option of its build.
 *
 * @module
 */
import type { Exec, ExecResult } from "./exec.ts";
import { TABLE_COMMENT_PREFIX } from "./render_nft.ts";

const LIST_ATTEMPTS = 3;

/** A table as the kernel has it. */
export interface TableListing {
  readonly name: string;
  readonly comment: string;
  /** Held by a process; nobody else can change it, and it ends with that process. */
  readonly owned: boolean;
  readonly chains: readonly ChainListing[];
}

/** The comments of a chain's rules in order; empty text for a rule without one. */
export interface ChainListing {
  readonly name: string;
  readonly ruleComments: readonly string[];
}

/** Whether the table is one of ours, of any version and any name. */
export function isOurs(table: TableListing): boolean {
  return table.comment.startsWith(TABLE_COMMENT_PREFIX);
}

/** The table `inet name`, or undefined when there is none, or what nft said when it could not tell. */
export async function readTable(exec: Exec, name: string): Promise<TableListing | undefined | ExecResult> {
  // The listing of all tables says for certain whether ours is there; the text of an error would not.
  for (let attempt = 1;; attempt++) {
    const tables = await exec.run(["nft", "list", "tables"]);
    if (tables.code !== 0) return tables;
    if (!tables.stdout.split("\n").includes(`table inet ${name}`)) return undefined;
    // -s: no counters.
    const listing = await exec.run(["nft", "-s", "list", "table", "inet", name]);
    if (listing.code === 0) return parseTables(listing.stdout)[0];
    // An owned table may have gone in between, with its owner.
    if (attempt === LIST_ATTEMPTS) return listing;
  }
}

/** Whether a result of {@linkcode readTable} is a failure. */
export function isExecResult(value: TableListing | undefined | ExecResult): value is ExecResult {
  return value !== undefined && "code" in value;
}

/** The `inet` tables in the text of `nft list ruleset` or `nft list table`. */
export function parseTables(text: string): TableListing[] {
  const tables: TableListing[] = [];
  let comment = "", owned = false, name: string | undefined;
  let chains: { name: string; ruleComments: string[] }[] = [];
  let chain: { name: string; ruleComments: string[] } | undefined;
  for (const line of text.split("\n")) {
    const table = /^table (\S+) (\S+) \{/.exec(line);
    if (table !== null) {
      // Of other families only the closing brace matters.
      name = table[1] === "inet" ? table[2] : undefined;
      [comment, owned, chains, chain] = ["", false, [], undefined];
    } else if (line === "}") {
      if (name !== undefined) tables.push({ name, comment, owned, chains });
      name = undefined;
    } else if (/^\t\S/.test(line)) {
      chain = undefined;
      const words = line.trim();
      const found = /^chain (\S+) \{$/.exec(words);
      if (found !== null) chains.push(chain = { name: found[1]!, ruleComments: [] });
      else if (words.startsWith("flags ")) owned = words.slice(6).split(",").includes("owner");
      else if (words.startsWith("comment ")) comment = lastComment(words);
    } else if (chain !== undefined && /^\t\t\S/.test(line) && !/^\t\t(type|comment) /.test(line)) {
      chain.ruleComments.push(lastComment(line));
    }
  }
  return tables;
}

function lastComment(line: string): string {
  return /comment "([^"]*)"(?: # handle \d+)?$/.exec(line)?.[1] ?? "";
}
