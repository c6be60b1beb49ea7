/**
 * What rules in the kernel say of themselves, the same on every backend: which plan they carry out, whose they are,
 * and what has to be put back when they go. A process with no memory knows by it what it has found.
 *
 *     intercept 1f0c77a25e9b3d40 closed by 4711/8123456 sysctl net/ipv4/tcp_fwmark_accept=0
 *
 * nft: comments of the rules in chain `state`. iptables: the comment of each jump, after {@linkcode COMMENT_PREFIX}.
 *
 * @module
 */
import type { InterceptIntent } from "./intent.ts";
import type { Phase } from "./plan.ts";
import type { OldSysctl } from "./sysctls.ts";

/** First word of what marks kernel objects as ours: an nft table's comment, an iptables jump's. */
export const COMMENT_PREFIX = "pellucid:";

/** Stands for the hash where no plan is loaded. */
const NO_PLAN = "-";

/** What rules say of themselves. */
export interface RulesState {
  /** `claimed`: held for a process, without rules as yet, or without them any more. */
  readonly phase: Phase | "claimed";
  /** content_hash.ts of the rendered rules; undefined while claimed. */
  readonly hash: string | undefined;
  /** The plan's; `open` is what is meant where nothing is said, as by older versions. */
  readonly onProxyDown: InterceptIntent["onProxyDown"];
  /** living_process.ts; null: they belong to no process and stay. */
  readonly by: string | null;
  /** What settings were before the rules came. */
  readonly sysctls: readonly OldSysctl[];
}

/** One line; what it holds has no spaces. */
export function formatState({ phase, hash, onProxyDown, by, sysctls }: RulesState): string {
  return [
    phase,
    hash ?? NO_PLAN,
    ...(onProxyDown === "open" ? [] : [onProxyDown]),
    ...(by === null ? [] : ["by", by]),
    ...(sysctls.length === 0 ? [] : ["sysctl", ...sysctls.map(({ key, value }) => `${key}=${value}`)]),
  ].join(" ");
}

/**
 * Reads {@linkcode formatState}'s line, with or without the prefix, and the table comments of version 0.1
 * (`pellucid: drain HASH`, `pellucid: claimed UUID`).
 *
 * @returns undefined when it is no such line.
 */
export function parseState(text: string): RulesState | undefined {
  const line = text.startsWith(`${COMMENT_PREFIX} `) ? text.slice(COMMENT_PREFIX.length + 1) : text;
  const match =
    /^(intercept|drain|claimed) (\S+)(?: (closed))?(?: by (\d+\/\d+))?(?: sysctl ([^\s=]+=\S*(?: [^\s=]+=\S*)*))?$/
      .exec(
        line,
      );
  if (match === null) return undefined;
  const [, phase, hash, closed, by, sysctls] = match;
  return {
    phase: phase as RulesState["phase"],
    hash: phase === "claimed" ? undefined : hash,
    onProxyDown: closed === undefined ? "open" : "closed",
    by: by ?? null,
    sysctls: sysctls === undefined ? [] : sysctls.split(" ").map((word) => {
      const equals = word.indexOf("=");
      return { key: word.slice(0, equals), value: word.slice(equals + 1) };
    }),
  };
}

/** `line` in as few pieces of at most `bytes` as its spaces allow; joined by spaces they are the line. */
export function splitState(line: string, bytes: number): string[] {
  const pieces: string[] = [];
  for (const word of line.split(" ")) {
    const longer = pieces.length === 0 ? word : `${pieces.at(-1)} ${word}`;
    if (pieces.length === 0 || longer.length > bytes) pieces.push(word);
    else pieces[pieces.length - 1] = longer;
  }
  return pieces;
}
