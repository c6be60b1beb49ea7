/**
 * As much of nft as the fake needs: the commands that change tables, and the listing. Rules are text to it, and sets
 * hold their elements as they were written.
 *
 * @module
 */

/** A table. */
export interface FakeTable {
  isOwned: boolean;
  comment: string;
  readonly sets: Map<string, { readonly type: string; elements: string[] }>;
  readonly chains: Map<string, FakeChain>;
  /** Of the rule that was added last. */
  handle: number;
}

/** A chain. */
export interface FakeChain {
  /** As nft lists it; empty for a chain that is not hooked. */
  readonly place: string;
  rules: { readonly handle: number; readonly text: string }[];
}

/** `nft` said no. */
export class FakeRefusal extends Error {}

const PRIORITIES: Readonly<Record<string, string>> = { raw: "-300", mangle: "-150", filter: "0" };

/**
 * Carries out every command in `text`.
 *
 * @param access called with the name of each table that is to be changed. @throws {FakeRefusal} at the first failure.
 */
export function runScript(
  text: string,
  tables: Map<string, FakeTable>,
  access: (name: string) => void,
): void {
  for (const statement of splitStatements(text)) {
    const words = /^(?:(add|create|delete|flush) )?(table|chain|set|rule|element) inet ([\w-]+)(?: (.*))?$/s
      .exec(statement);
    if (words === null) throw new FakeRefusal("syntax error");
    const [, verb = "add", object, name = "", rest = ""] = words;
    access(name);
    if (object === "table") changeTable(verb, name, rest, tables);
    else change(verb, object!, present(tables, name), rest);
  }
}

function changeTable(verb: string, name: string, rest: string, tables: Map<string, FakeTable>): void {
  if (verb === "create" && tables.has(name)) throw new FakeRefusal("File exists");
  if (verb === "delete") {
    present(tables, name);
    tables.delete(name);
  } else if (verb === "flush") {
    for (const chain of present(tables, name).chains.values()) chain.rules = [];
  } else {
    const isNew = !tables.has(name);
    if (isNew) {
      tables.set(name, { isOwned: false, comment: "", sets: new Map(), chains: new Map(), handle: 0 });
    }
    if (rest !== "") define(present(tables, name), inBraces(rest), isNew);
  }
}

function define(table: FakeTable, body: string, isNew: boolean): void {
  for (const statement of splitStatements(body)) {
    const [, object, name = "", block = ""] = /^(chain|set) ([\w.-]+) (\{.*\})$/s.exec(statement) ?? [];
    if (object === "chain") addRules(table, name, splitStatements(inBraces(block)));
    else if (object === "set") change("add", "set", table, `${name} ${block}`);
    else if (statement === "flags owner") {
      if (!isNew && !table.isOwned) throw new FakeRefusal("Operation not supported");
      table.isOwned = true;
    } else if (statement.startsWith("comment ") && isNew) table.comment = statement.slice(9, -1);
  }
}

function addRules(table: FakeTable, name: string, statements: readonly string[]): void {
  const isPlace = statements[0]?.startsWith("type ") === true;
  const place = isPlace
    ? statements[0]!.replace(/priority (\w+)$/, (_, word) => `priority ${PRIORITIES[word] ?? word}`)
    : "";
  if (!table.chains.has(name)) table.chains.set(name, { place, rules: [] });
  const rules = statements.slice(isPlace ? 2 : 0);
  table.chains.get(name)!.rules.push(...rules.map((text) => ({ handle: ++table.handle, text })));
}

function change(verb: string, object: string, table: FakeTable, rest: string): void {
  const [name = "", ...more] = rest.split(" ");
  const block = more.join(" ");
  const missing = () => new FakeRefusal("No such file or directory");
  if (object === "rule") {
    const chain = table.chains.get(name);
    const kept = chain?.rules.filter(({ handle }) => handle !== Number(more[1]));
    if (chain === undefined || kept?.length === chain.rules.length) throw missing();
    chain.rules = kept!;
  } else if (object === "chain") {
    if (verb === "flush") table.chains.get(name)!.rules = [];
    else if (!table.chains.delete(name)) throw missing();
  } else if (verb === "delete") {
    if (!table.sets.delete(name)) throw missing();
  } else if (object === "set" && verb === "add") {
    const [type = "", ...parts] = splitStatements(inBraces(block));
    const elements = parts.filter((part) => part.startsWith("elements")).flatMap((part) =>
      listed(part.slice(part.indexOf("{")))
    );
    if (!table.sets.has(name)) table.sets.set(name, { type, elements });
  } else {
    const set = table.sets.get(name);
    if (set === undefined) throw missing();
    if (verb === "flush") set.elements = [];
    else set.elements.push(...listed(block));
  }
}

function present(tables: Map<string, FakeTable>, name: string): FakeTable {
  const table = tables.get(name);
  if (table === undefined) throw new FakeRefusal("No such file or directory");
  return table;
}

function inBraces(block: string): string {
  return block.slice(block.indexOf("{") + 1, block.lastIndexOf("}"));
}

function listed(block: string): string[] {
  return inBraces(block).split(",").map((element) => element.trim()).filter((element) => element !== "");
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

/** The table as `nft -a -y list` prints it. */
export function listTable(name: string, table: FakeTable): string {
  const lines = [`table inet ${name} {${table.isOwned ? " # progname nft" : ""}`];
  if (table.isOwned) lines.push("\tflags owner");
  if (table.comment !== "") lines.push(`\tcomment "${table.comment}"`);
  for (const [set, { type, elements }] of table.sets) {
    lines.push(`\tset ${set} {`, `\t\t${type}`, `\t\telements = { ${elements.join(", ")} }`, "\t}", "");
  }
  for (const [chain, { place, rules }] of table.chains) {
    lines.push(`\tchain ${chain} {`, ...(place === "" ? [] : [`\t\t${place}; policy accept;`]));
    lines.push(...rules.map(({ handle, text }) => `\t\t${text} # handle ${handle}`), "\t}", "");
  }
  return [...lines, "}", ""].join("\n");
}
