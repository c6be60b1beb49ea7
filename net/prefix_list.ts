/**
 * Lists of prefixes as text files: one prefix or address a line, `#` begins a comment.
 *
 * @module
 */
import { parsePrefix, type Prefix } from "./prefix.ts";

/** A line that is neither a prefix nor an address. */
export interface BadLine {
  /** Counted from 1. */
  readonly line: number;
  /** The line without comment and white space around it, cut where it is long. */
  readonly found: string;
}

/** What a list holds, or what is wrong with it; never a part of it. */
export type PrefixList =
  | { readonly prefixes: readonly Prefix[] }
  | {
    /** The first of the bad lines, at most {@linkcode BAD_LINES_NAMED}. */
    readonly badLines: readonly BadLine[];
    /** How many there are. */
    readonly badCount: number;
  };

/** A file that is no list at all would have every line named. */
export const BAD_LINES_NAMED = 10;
/** Longer than any prefix. */
const LONGEST_FOUND = 60;

/**
 * Reads a list. Lines may end in CR LF; blank ones, comments at the end of a line and a byte order mark are passed
 * over.
 */
export function parsePrefixList(text: string): PrefixList {
  const prefixes: Prefix[] = [];
  const badLines: BadLine[] = [];
  let badCount = 0, line = 0;
  for (const whole of text.replace(/^\uFEFF/, "").split("\n")) {
    line++;
    const hash = whole.indexOf("#");
    const entry = (hash < 0 ? whole : whole.slice(0, hash)).trim();
    if (entry === "") continue;
    const prefix = parsePrefix(entry);
    if (prefix !== undefined) prefixes.push(prefix);
    else if (badCount++ < BAD_LINES_NAMED) badLines.push({ line, found: shortened(entry) });
  }
  return badCount === 0 ? { prefixes } : { badLines, badCount };
}

function shortened(entry: string): string {
  return entry.length <= LONGEST_FOUND ? entry : `${entry.slice(0, LONGEST_FOUND)}…`;
}
