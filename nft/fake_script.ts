/**
 * As much of nft's grammar as the fake needs: commands on tables, and tables of chains of statements.
 *
 * @module
 */

/** A table as a script describes it. */
export interface FakeTable {
  readonly flags: string;
  readonly comment: string;
  readonly chains: Map<string, string[]>;
}

/** One command of a script. */
export type FakeCommand =
  | { readonly verb: "add" | "delete"; readonly name: string }
  | { readonly verb: "define"; readonly name: string; readonly table: FakeTable };

/** The commands in `text`; undefined for what is none. */
export function parseScript(text: string): FakeCommand[] | undefined {
  const commands: FakeCommand[] = [];
  for (const statement of splitStatements(text)) {
    const words = /^(delete )?table inet ([\w-]+)(?: (\{.*\}))?$/s.exec(statement);
    if (words === null) return undefined;
    const name = words[2]!;
    if (words[3] !== undefined) {
      commands.push({ verb: "define", name, table: parseTable(words[3].slice(1, -1)) });
    } else commands.push({ verb: words[1] === undefined ? "add" : "delete", name });
  }
  return commands;
}

function parseTable(body: string): FakeTable {
  const chains = new Map<string, string[]>();
  let flags = "", comment = "";
  for (const statement of splitStatements(body)) {
    const chain = /^chain (\w+) (\{.*\})$/s.exec(statement);
    if (chain !== null) chains.set(chain[1]!, chainLines(chain[2]!.slice(1, -1)));
    else if (statement.startsWith("flags ")) flags = statement.slice(6);
    else if (statement.startsWith("comment ")) comment = statement.slice(9, -1);
  }
  return { flags, comment, chains };
}

/** A base chain's type, hook and policy on the first line, as nft prints them; then a line a rule. */
function chainLines(body: string): string[] {
  const statements = splitStatements(body);
  if (!statements[0]?.startsWith("type ")) return statements;
  const [type = "", policy = "", ...rules] = statements;
  return [`${type}; ${policy};`, ...rules];
}

/** Statements end at a semicolon or line break outside quotes and braces; # starts a comment. */
function splitStatements(text: string): string[] {
  const statements: string[] = [];
  let depth = 0, quoted = false, current = "";
  for (const char of text.replaceAll(/^\s*#.*$/gm, "")) {
    if (char === '"') quoted = !quoted;
    if (!quoted && char === "{") depth++;
    if (!quoted && char === "}") depth--;
    if (depth === 0 && !quoted && (char === ";" || char === "\n")) {
      statements.push(current.trim());
      current = "";
    } else current += char;
  }
  return [...statements, current.trim()].filter((statement) => statement !== "");
}

/** The table as `nft -s list table` prints it. */
export function listTable(name: string, table: FakeTable): string {
  const lines = [`table inet ${name} {${table.flags === "" ? "" : " # progname nft"}`];
  if (table.flags !== "") lines.push(`\tflags ${table.flags}`);
  if (table.comment !== "") lines.push(`\tcomment "${table.comment}"`);
  for (const [chain, statements] of table.chains) {
    lines.push(`\tchain ${chain} {`, ...statements.map((statement) => `\t\t${statement}`), "\t}", "");
  }
  return [...lines, "}", ""].join("\n");
}
