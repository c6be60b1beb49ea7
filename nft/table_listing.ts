/**
 * Reads our tables back from nft's own listing: whose they are, and which rules and sets they hold, told by comments
 * and names. Nothing else of a rule is looked at, because nft does not print rules as they were written.
 *
 * The text is read rather than `nft -j`: nft 1.0.6 leaves table comments and flags out of its JSON, and JSON is
 * an option of its build.
 *
 * @module
 */
import type { Exec, ExecResult } from "./exec.ts";
import { ownState } from "./own_marks.ts";
import { STATE_CHAIN, TABLE_COMMENT } from "./render_nft.ts";
import { parseState, type RulesState } from "./state_comment.ts";

/** With handles and plain numbers, and without the elements of sets, which may be many. */
const LIST = ["nft", "-a", "-y", "-t", "list", "ruleset", "inet"] as const;
/** nft reads the elements back one interval at a time. */
const ELEMENTS_TIMEOUT_MS = 60_000;

/** A table as the kernel has it. */
export interface TableListing {
  readonly name: string;
  readonly comment: string;
  /** Held by a process; nobody else can change it, and it ends with that process. */
  readonly isOwned: boolean;
  /** Somebody has switched its hooks off: no packet meets its rules. */
  readonly isDormant: boolean;
  /** Names. */
  readonly sets: readonly string[];
  /** Those of them that rules ask for. */
  readonly usedSets: ReadonlySet<string>;
  readonly chains: readonly ChainListing[];
}

/** A chain and its rules in order. */
export interface ChainListing {
  readonly name: string;
  /** `type filter hook input priority 0`; undefined for a chain that is not hooked. */
  readonly place: string | undefined;
  /** What becomes of a packet that no rule decides: `accept` or `drop`. */
  readonly policy: string;
  readonly rules: readonly RuleListing[];
}

/** What is read of a rule. */
export interface RuleListing {
  /** Empty for a rule without one. */
  readonly comment: string;
  /** The kernel's number for it: another one for every rule that ever was in the table. */
  readonly handle: number;
  /** 0 for a rule that does not count. */
  readonly packets: number;
  readonly bytes: number;
}

/** Whether the table is one of ours, of any name; version 0.1 said in the comment what is loaded. */
export function isOurs(table: TableListing): boolean {
  return table.comment === TABLE_COMMENT || ownState(table.comment) !== undefined;
}

/** What a table of ours says of itself; version 0.1 said it in the table's comment. */
export function tableState(table: TableListing): RulesState | undefined {
  const chain = table.chains.find(({ name }) => name === STATE_CHAIN);
  return parseState(
    chain === undefined ? table.comment : chain.rules.map(({ comment }) => comment).join(" "),
  );
}

/** All tables of family inet, or what nft said when it could not tell. */
export async function readTables(exec: Exec): Promise<TableListing[] | ExecResult> {
  // Of the whole ruleset, because nft 1.0.6 reads all elements for a listing of one table, and even of the tables'
  // names, whether it is to print them or not.
  const result = await exec.run(LIST);
  return result.code === 0 ? parseTables(result.stdout) : result;
}

/** The table `inet name`, or undefined when there is none, or what nft said when it could not tell. */
export async function readTable(exec: Exec, name: string): Promise<TableListing | undefined | ExecResult> {
  const tables = await readTables(exec);
  return Array.isArray(tables) ? tables.find((table) => table.name === name) : tables;
}

/** The elements of every set of a table, as nft prints them, by the set's name. */
export async function readElements(exec: Exec, name: string): Promise<Map<string, string[]> | ExecResult> {
  const result = await exec.run(["nft", "list", "table", "inet", name], { timeoutMs: ELEMENTS_TIMEOUT_MS });
  return result.code === 0 ? parseElements(result.stdout) : result;
}

/** Whether a result of these functions is a failure. */
export function isExecResult(value: object | undefined): value is ExecResult {
  return value !== undefined && "code" in value;
}

interface OpenTable {
  name: string;
  comment: string;
  isOwned: boolean;
  isDormant: boolean;
  sets: string[];
  usedSets: Set<string>;
  chains: OpenChain[];
}

interface OpenChain {
  name: string;
  place: string | undefined;
  policy: string;
  rules: RuleListing[];
}

/** The `inet` tables in the text of `nft list ruleset` or `nft list table`. */
export function parseTables(text: string): TableListing[] {
  const tables: OpenTable[] = [];
  let table: OpenTable | undefined, chain: OpenChain | undefined;
  for (const line of text.split("\n")) {
    const start = /^table (\S+) (\S+) \{/.exec(line);
    if (start !== null) {
      table = {
        name: start[2]!,
        comment: "",
        isOwned: false,
        isDormant: false,
        sets: [],
        usedSets: new Set(),
        chains: [],
      };
      chain = undefined;
      if (start[1] === "inet") tables.push(table);
    } else if (table === undefined) continue;
    else if (/^\t\S/.test(line)) {
      chain = undefined;
      const [word, rest = ""] = line.trim().split(/ (.*)/);
      const name = /^(\S+) \{/.exec(rest)?.[1];
      if (word === "chain" && name !== undefined) {
        table.chains.push(chain = { name, place: undefined, policy: "accept", rules: [] });
      } else if (word === "set" && name !== undefined) table.sets.push(name);
      else if (word === "flags") {
        const flags = rest.split(/[\s,]+/);
        table.isOwned = flags.includes("owner");
        table.isDormant = flags.includes("dormant");
      } else if (word === "comment") table.comment = lastComment(line);
    } else if (chain !== undefined && /^\t\t\S/.test(line)) readChainLine(line, table, chain);
  }
  return tables;
}

function readChainLine(line: string, table: OpenTable, chain: OpenChain): void {
  if (line.startsWith("\t\tcomment ")) return;
  if (line.startsWith("\t\ttype ")) {
    chain.place = line.trim().split(";")[0]!;
    chain.policy = / policy (\w+);/.exec(line)?.[1] ?? "accept";
    return;
  }
  const count = / counter packets (\d+) bytes (\d+) /.exec(line);
  chain.rules.push({
    comment: lastComment(line),
    handle: Number(/ # handle (\d+)$/.exec(line)?.[1]),
    packets: Number(count?.[1] ?? 0),
    bytes: Number(count?.[2] ?? 0),
  });
  for (const [, set] of line.replace(/"[^"]*"/g, "").matchAll(/ @(\S+)/g)) table.usedSets.add(set!);
}

function lastComment(line: string): string {
  return /comment "([^"]*)"(?: # handle \d+)?$/.exec(line)?.[1] ?? "";
}

/** The sets of the one table in `text`. */
function parseElements(text: string): Map<string, string[]> {
  const sets = new Map<string, string[]>();
  let elements: string[] = [], isWithin = false;
  for (const line of text.split("\n")) {
    const name = /^\tset (\S+) \{/.exec(line)?.[1];
    if (name !== undefined) sets.set(name, elements = []);
    else if (line.startsWith("\t\telements = {")) isWithin = true;
    if (!isWithin) continue;
    const words = line.replace(/^\t\telements = \{/, "").replace(/\}$/, "").split(",");
    for (const word of words) if (word.trim() !== "") elements.push(word.trim());
    if (line.endsWith("}")) isWithin = false;
  }
  return sets;
}
