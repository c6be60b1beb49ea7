/**
 * What a command is told by its flags and by the file that `--config` names, as one.
 *
 * The code that reads files is only loaded where there is one.
 *
 * @module
 */
import { ConfigError, type ConfigIssue } from "../config/mod.ts";
import type { ConfigText } from "../config/file/mod.ts";
import { readLimited } from "../control/read_limited.ts";
import type { FlagSet, FlagValues } from "./flag.ts";
import type { ParsedFlags } from "./parse_flags.ts";
import { byUpstreamFlag } from "./upstream_flags.ts";

/** Several times what the file's reader takes: whatever is longer is something else. */
const MOST_BYTES = 4 << 20;

/** Values of flags, over those of a file. */
export interface Configured<F extends FlagSet> {
  readonly values: FlagValues<F>;
  /** What is wrong with flags and file, each by itself. */
  readonly issues: readonly ConfigIssue[];
  /** What is not wrong and should be known. */
  readonly warnings: readonly string[];
  /** Tells what checks have found by the file's keys and places, where the value is the file's. */
  readonly inItsWords: (issues: readonly ConfigIssue[]) => ConfigIssue[];
}

/** Reads the file that the flags name, if they do. */
export async function readConfigured<F extends FlagSet>(
  flags: F,
  parsed: ParsedFlags<F>,
): Promise<Configured<F>> {
  const { values, issues, given } = parsed;
  const told = (found: readonly ConfigIssue[]) =>
    withoutEchoes(given.has("upstream") ? found.map(byUpstreamFlag) : found, issues);
  const file = (values as Readonly<Record<string, unknown>>).config;
  if (typeof file !== "string") {
    return { values, issues, warnings: [], inItsWords: told };
  }
  const { text, warnings } = await readConfigFile(file);
  const settings: Record<string, unknown> = { ...text.settings };
  // `rules` commands are for a run with `none`: they choose a tool as if nothing had been said.
  if (settings.rules === "none" && !flags.rules?.placeholder.split("|").includes("none")) {
    delete settings.rules;
  }
  const merged: Record<string, unknown> = { ...values, ...settings, routing: text.routing };
  for (const name of given) merged[name] = values[name];
  return {
    values: merged as FlagValues<F>,
    issues: [...issues, ...text.issues],
    warnings,
    inItsWords: (found) => text.inItsWords(told(found), given),
  };
}

/** A file as it was read, and what should be known of it. */
export async function readConfigFile(file: string): Promise<{ text: ConfigText; warnings: string[] }> {
  let content: Uint8Array, mode: number | null;
  try {
    [content, { mode }] = await Promise.all([readLimited(file, MOST_BYTES), Deno.stat(file)]);
  } catch (error) {
    throw new ConfigError([{
      path: "--config",
      found: file,
      wanted: "a file that can be read",
      hint: reason(error),
    }]);
  }
  const { readConfigText } = await import("../config/file/mod.ts");
  const text = readConfigText(decode(content, file), file);
  const isOpen = ((mode ?? 0) & 0o044) !== 0;
  const warnings = isOpen
    ? text.secretKeys.map((key) => `${file}: ${key}: others may read this file (chmod 600, or password-file)`)
    : [];
  return { text, warnings };
}

function decode(content: Uint8Array, file: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(content);
  } catch {
    throw new ConfigError([{
      path: "--config",
      found: `${file}, which is not UTF-8`,
      wanted: "a text file",
    }]);
  }
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message.replace(/: \w+ '.*'$/, "") : String(error);
}

/** A flag that could not be read has its fallback as value: what is wrong with that is not the user's doing. */
function withoutEchoes(found: readonly ConfigIssue[], unread: readonly ConfigIssue[]): ConfigIssue[] {
  const paths = new Set(unread.map((issue) => issue.path));
  return found.filter((issue) => !issue.path.split(", ").some((path) => paths.has(path)));
}
