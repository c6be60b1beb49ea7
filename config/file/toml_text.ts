/**
 * A TOML text as plain values, with the place of each key and value.
 *
 * It knows nothing of what the text means. A syntax error ends what the parser reads; where the fault is in one line
 * by itself, that line is left out and the rest read, so that the next error is found too.
 *
 * @module
 */
import { type AST, parseTOML } from "toml-eslint-parser";

/** Counted from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** A way down the tables: keys, and indices (from 0) in arrays. */
export type KeyPath = readonly (string | number)[];

/** Where an entry is. */
export interface EntryPlace {
  readonly key: Position;
  /** Of a table its header, where it has one. */
  readonly value: Position;
}

/** Something that is not TOML. */
export interface SyntaxFault {
  readonly at: Position;
  readonly found: string;
  readonly wanted: string;
}

/** What a text says. */
export interface TomlText {
  readonly value: Readonly<Record<string, unknown>>;
  /** By {@linkcode formatKeyPath}. */
  readonly places: ReadonlyMap<string, EntryPlace>;
  readonly faults: readonly SyntaxFault[];
  /** Whether `value` lacks no more than the lines with faults, each of which was an entry of its own. */
  readonly isReadable: boolean;
}

/** Lists belong in files of their own; what is longer was not written by hand. */
const LONGEST_TEXT = 1 << 20;
const MOST_FAULTS = 20;
const START: Position = { line: 1, column: 1 };

/** Reads `text`, whatever it is. */
export function readToml(text: string): TomlText {
  if (text.length > LONGEST_TEXT) {
    return unreadable([{ at: START, found: `${text.length} characters`, wanted: `at most ${LONGEST_TEXT}` }]);
  }
  const lines = text.split(/\r?\n/);
  const faults: SyntaxFault[] = [];
  const left = new Set<number>();
  while (true) {
    const ast = parse(lines.join("\n"));
    if (!(ast instanceof Fault)) return treeOf(ast, faults);
    const fault = onItsLine(ast, lines);
    const { line } = fault.described.at;
    // Without its line the fault is still there: a text or a list that began above is not closed.
    if (left.has(line)) return unreadable(faults);
    faults.push(fault.described);
    if (faults.length === MOST_FAULTS || !isEntryByItself(lines[line - 1] ?? "", fault)) {
      return unreadable(faults);
    }
    lines[line - 1] = "";
    left.add(line);
  }
}

/** For people: `upstream.office.server`, `rule[3].use`; indices counted from 1. */
export function formatKeyPath(path: KeyPath): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") text += `[${part + 1}]`;
    else text += `${text === "" ? "" : "."}${/^[A-Za-z0-9_-]+$/.test(part) ? part : JSON.stringify(part)}`;
  }
  return text;
}

function treeOf(ast: AST.TOMLProgram, faults: readonly SyntaxFault[]): TomlText {
  const tree = new Tree();
  try {
    tree.addTable(ast.body[0]);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return unreadable([...faults, TOO_DEEP.described]);
  }
  return { value: tree.value, places: tree.places, faults: inOrder(faults), isReadable: true };
}

function unreadable(faults: readonly SyntaxFault[]): TomlText {
  return { value: {}, places: new Map(), faults: inOrder(faults), isReadable: false };
}

function inOrder(faults: readonly SyntaxFault[]): SyntaxFault[] {
  return faults.toSorted((a, b) => a.at.line - b.at.line);
}

class Fault {
  /** The parser's. */
  readonly message: string;
  readonly described: SyntaxFault;

  constructor(at: Position, message: string) {
    this.message = message;
    const [found, wanted] = WORDS[message] ?? [message.charAt(0).toLowerCase() + message.slice(1), "TOML"];
    this.described = { at, found, wanted };
  }
}

const REPEATED = "Defining a key multiple times is invalid";

/** What the parser's messages mean for who has written the text. */
const WORDS: Readonly<Record<string, readonly [found: string, wanted: string]>> = {
  "Unterminated string constant": ["the end before the closing quote", "a quote at the end of the text"],
  "Unterminated table-key": ["no closing bracket", "a table's name in brackets"],
  "Unterminated array": ["no closing bracket", "a bracket at the end of the list"],
  "Unterminated inline table": ["no closing brace", "a brace at the end of the table"],
  "Empty bare keys are not allowed": ["no key", "a key"],
  "Must be a newline": ["more after the value", "a new line"],
  "Expected equal (=) token": ["no =", "KEY = VALUE"],
  "Unspecified values are invalid": ["no value", "a value"],
  "Expected comma (,) token": ["no comma", "a comma between values"],
  [REPEATED]: ["a key or table for the second time", "each once"],
  "Unexpected character": ["a character that cannot stand here", "TOML (texts in quotes)"],
  "Unexpected token": ["something that cannot stand here", "TOML"],
};

const TOO_DEEP = new Fault(START, "Lists in lists deeper than anything means");

function parse(text: string): AST.TOMLProgram | Fault {
  try {
    return parseTOML(text, { tomlVersion: "1.0.0" });
  } catch (error) {
    const { lineNumber, column, message } = error as {
      lineNumber?: number;
      column?: number;
      message: string;
    };
    if (lineNumber !== undefined && column !== undefined) {
      return new Fault({ line: lineNumber, column: column + 1 }, message);
    }
    // The parser calls itself for each level, as we do.
    if (error instanceof RangeError) return TOO_DEEP;
    throw error;
  }
}

/** A value that is missing is noticed at the next line's key. */
function onItsLine(fault: Fault, lines: readonly string[]): Fault {
  const line = fault.described.at.line - 1;
  const before = lines.slice(0, line).findLastIndex((text) => !/^\s*(#.*)?$/.test(text));
  if (before < 0 || !/=\s*(#.*)?$/.test(lines[before]!)) return fault;
  const alone = parse(lines[before]!);
  if (!(alone instanceof Fault)) return fault;
  return new Fault({ line: before + 1, column: alone.described.at.column }, alone.message);
}

/** Whether the line is an entry, or part of a list, with the whole fault in it: leaving it out misleads nobody. */
function isEntryByItself(line: string, { message }: Fault): boolean {
  if (line.trim() === "" || /^\s*\[+[^\],"']*\]*\s*(#.*)?$/.test(line) || /"""|'''/.test(line)) return false;
  return (message === REPEATED) !== parse(line) instanceof Fault;
}

/** Values and places, as they are gathered. */
class Tree {
  readonly value: Record<string, unknown> = {};
  readonly places = new Map<string, EntryPlace>();

  addTable(table: AST.TOMLTopLevelTable | AST.TOMLTable): void {
    for (const node of table.body) {
      if (node.type === "TOMLKeyValue") {
        const at = "resolvedKey" in table ? table.resolvedKey : [];
        this.#addEntry(this.#tableAt(at), at, node);
      } else {
        this.#markHeader(node);
        this.#tableAt(node.resolvedKey);
        this.addTable(node);
      }
    }
  }

  #markHeader({ resolvedKey, key }: AST.TOMLTable): void {
    const indices = resolvedKey.flatMap((part, i) => typeof part === "string" ? [i] : []);
    for (const [i, bare] of key.keys.entries()) {
      const path = resolvedKey.slice(0, indices[i]! + 1);
      const isLast = i === key.keys.length - 1;
      this.#mark(path, bare, bare);
      if (isLast && resolvedKey.length > path.length) this.#mark(resolvedKey, bare, bare);
    }
  }

  /** The first to name something is where it is. */
  #mark(path: KeyPath, key: AST.TOMLNode, value: AST.TOMLNode): void {
    const text = formatKeyPath(path);
    if (!this.places.has(text)) this.places.set(text, { key: startOf(key), value: startOf(value) });
  }

  #tableAt(path: KeyPath): Record<string, unknown> {
    let at: Record<string, unknown> = this.value;
    for (const [i, part] of path.entries()) {
      const next = Object.hasOwn(at, part) ? at[part] : undefined;
      if (next === undefined) put(at, part, typeof path[i + 1] === "number" ? [] : {});
      at = at[part] as Record<string, unknown>;
    }
    return at;
  }

  #addEntry(table: Record<string, unknown>, at: KeyPath, { key, value }: AST.TOMLKeyValue): void {
    let path = at;
    for (const [i, bare] of key.keys.entries()) {
      const name = bare.type === "TOMLBare" ? bare.name : bare.value;
      path = [...path, name];
      this.#mark(path, bare, i === key.keys.length - 1 ? value : bare);
      if (i === key.keys.length - 1) put(table, name, this.#valueOf(value, path));
      else {
        if (!Object.hasOwn(table, name)) put(table, name, {});
        table = table[name] as Record<string, unknown>;
      }
    }
  }

  #valueOf(node: AST.TOMLContentNode, path: KeyPath): unknown {
    switch (node.type) {
      case "TOMLValue":
        return node.value;
      case "TOMLArray":
        return node.elements.map((element, i) => {
          this.#mark([...path, i], element, element);
          return this.#valueOf(element, [...path, i]);
        });
      case "TOMLInlineTable": {
        const table: Record<string, unknown> = {};
        for (const entry of node.body) this.#addEntry(table, path, entry);
        return table;
      }
    }
  }
}

/** Also under `__proto__`. */
function put(table: Record<string, unknown>, key: string | number, value: unknown): void {
  Object.defineProperty(table, key, { value, enumerable: true, configurable: true, writable: true });
}

function startOf({ loc }: AST.TOMLNode): Position {
  return { line: loc.start.line, column: loc.start.column + 1 };
}
