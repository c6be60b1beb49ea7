/**
 * Reads rules back from the text of `iptables-save -c`: which chains and jumps are ours, what they say of themselves,
 * and what each rule has met.
 *
 * A jump is ours when its comment is a state and its target a chain `TABLE_CHAIN`. A chain is ours when its name begins
 * with the table name and a jump of ours leads to it, or when a plan can have a chain of its name and each rule in it
 * has a comment like ours: a chain of ours whose jump somebody removed is still ours.
 *
 * @module
 */
import type { RestoreChain, RestoreTable, TableName } from "./iptables_restore.ts";
import { isOwnChainName, ownState } from "./own_marks.ts";
import type { RulesState } from "./state_comment.ts";

/** A table as the kernel has it. */
export interface SavedTable {
  readonly table: string;
  readonly chains: readonly SavedChain[];
}

/** A chain of it. */
export interface SavedChain {
  readonly name: string;
  /** The kernel sends packets here. */
  readonly isBuiltin: boolean;
  readonly rules: readonly SavedRule[];
}

/** A rule of it. */
export interface SavedRule {
  /** What follows `-A CHAIN`; iptables takes it back as it is. */
  readonly text: string;
  /** Empty: none. */
  readonly comment: string;
  /** Chain or target that it leads to; empty: none. */
  readonly target: string;
  readonly packets: number;
  readonly bytes: number;
}

/** What of a family's tables is under our name. */
export interface OwnRules {
  readonly tables: readonly RestoreTable[];
  /** What the jumps say, each text once. */
  readonly states: readonly RulesState[];
  /** `TABLE CHAIN` of chains with our names that are somebody else's. */
  readonly foreign: readonly string[];
}

/** The text of `iptables-save`, with `-c` or without. */
export function parseSave(text: string): SavedTable[] {
  const tables: { table: string; chains: Map<string, SavedChain & { rules: SavedRule[] }> }[] = [];
  for (const line of text.split("\n")) {
    const chains = tables.at(-1)?.chains;
    if (line.startsWith("*")) tables.push({ table: line.slice(1), chains: new Map() });
    else if (line.startsWith(":")) {
      const [name = "", policy] = line.slice(1).split(" ");
      chains?.set(name, { name, isBuiltin: policy !== "-", rules: [] });
    } else {
      const [, packets, bytes, name, rule] = /^(?:\[(\d+):(\d+)\] )?-A (\S+) ?(.*)$/.exec(line) ?? [];
      if (name === undefined || rule === undefined) continue;
      chains?.get(name)?.rules.push({
        text: rule,
        ...readRule(rule),
        packets: Number(packets ?? 0),
        bytes: Number(bytes ?? 0),
      });
    }
  }
  return tables.map(({ table, chains }) => ({ table, chains: [...chains.values()] }));
}

/** The comment and the target of a rule's text. */
export function readRule(text: string): { readonly comment: string; readonly target: string } {
  const words = splitWords(text);
  const after = (flags: readonly string[]) => {
    const at = words.findIndex((word) => flags.includes(word));
    return at < 0 ? "" : words[at + 1] ?? "";
  };
  return { comment: after(["--comment"]), target: after(["-j", "-g"]) };
}

/** As iptables-save quotes them: in double quotes, with backslashes. */
function splitWords(text: string): string[] {
  return [...text.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)].map(([, quoted, plain]) =>
    quoted?.replace(/\\(.)/g, "$1") ?? plain!
  );
}

/** What of `saved` is under the name `tableName`. */
export function ownRules(saved: readonly SavedTable[], tableName: string): OwnRules {
  const found = saved.map((table) => ownOfTable(table, tableName));
  const comments = new Set(found.flatMap(({ comments }) => comments));
  return {
    tables: found.map(({ own }) => own).filter(({ chains, jumps }) => chains.length + jumps.length > 0),
    states: [...comments].flatMap((comment) => ownState(comment) ?? []),
    foreign: found.flatMap(({ foreign }) => foreign),
  };
}

/** The table names under which there are rules of ours: those of the chains that our jumps lead to. */
export function ownNames(saved: readonly SavedTable[]): string[] {
  const targets = saved.flatMap(({ chains }) =>
    chains.flatMap((chain) =>
      chain.isBuiltin ? chain.rules.filter(isOurJump).map(({ target }) => target) : []
    )
  );
  return [...new Set(targets.map((target) => target.slice(0, target.indexOf("_"))))];
}

/** A table name has no underscore (iptables_limits.ts), and a plan's chain begins with a small letter. */
const JUMP_TARGET = /^[A-Za-z][A-Za-z0-9-]*_[a-z]\w*$/;

function isOurJump({ comment, target }: SavedRule): boolean {
  return JUMP_TARGET.test(target) && ownState(comment) !== undefined;
}

function ownOfTable(
  { table, chains }: SavedTable,
  tableName: string,
): { own: RestoreTable; comments: string[]; foreign: string[] } {
  const named = (name: string) => name.startsWith(`${tableName}_`);
  const jumps = chains.filter(({ isBuiltin }) => isBuiltin)
    .flatMap(({ name, rules }) =>
      rules.filter((rule) => isOurJump(rule) && named(rule.target)).map((rule) => ({ builtin: name, rule }))
    );
  const reached = reachable(chains, jumps.map(({ rule }) => rule.target).filter(named));
  const candidates = chains.filter(({ name, isBuiltin }) => !isBuiltin && named(name));
  const isOurs = ({ name, rules }: SavedChain) =>
    reached.has(name) ||
    (isOwnChainName(name, tableName) && rules.every(({ comment }) => RULE_COMMENT.test(comment)));
  const own = candidates.filter(isOurs);
  const leaving = new Set(jumps.map(({ rule }) => rule));
  const isReferred = (target: string) =>
    chains.some((chain) =>
      !own.includes(chain) && chain.rules.some((rule) => rule.target === target && !leaving.has(rule))
    );
  return {
    own: {
      table: table as TableName,
      chains: own.map(({ name, rules }): RestoreChain => ({
        name,
        rules: rules.map(({ text }) => text),
        ...(isReferred(name) ? { isReferred: true } : {}),
      })),
      jumps: jumps.map(({ builtin, rule }) => ({ builtin, rule: rule.text })),
    },
    comments: jumps.map(({ rule }) => rule.comment),
    foreign: candidates.filter((chain) => !isOurs(chain)).map(({ name }) => `${table} ${name}`),
  };
}

/** `ID: WHY`, as each rule of ours says. */
const RULE_COMMENT = /^[\w-]+: \S/;

function reachable(chains: readonly SavedChain[], from: readonly string[]): Set<string> {
  const reached = new Set(from);
  // A set grows while it is gone through.
  for (const name of reached) {
    const rules = chains.find((chain) => chain.name === name && !chain.isBuiltin)?.rules ?? [];
    for (const { target } of rules) if (target !== "") reached.add(target);
  }
  return reached;
}
