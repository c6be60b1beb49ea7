/**
 * Reads a command's arguments by its table of flags, and says everything that is wrong with them at once.
 *
 * @module
 */
// @ts-types="./parse_args.d.ts"
import { parseArgs } from "@std/cli/parse-args";
import type { ConfigIssue } from "../config/mod.ts";
import { type FlagSet, type FlagValues, Unreadable } from "./flag.ts";
import { nearest } from "../config/nearest.ts";

/** What was read. A flag that could not be read has its fallback as value, and an issue. */
export interface ParsedFlags<F extends FlagSet> {
  readonly values: FlagValues<F>;
  /** Names of the flags that were given, readable or not. */
  readonly given: ReadonlySet<string>;
  /** Arguments that are no flags. */
  readonly operands: readonly string[];
  readonly issues: readonly ConfigIssue[];
}

/** Reads `args`. `-h` is short for `--help` where the set has it. */
export function parseFlags<F extends FlagSet>(flags: F, args: readonly string[]): ParsedFlags<F> {
  const names = Object.keys(flags);
  const switches = names.filter((name) => flags[name]!.shape === "switch");
  const valued = names.filter((name) => flags[name]!.shape !== "switch");
  const operands: string[] = [];
  const issues: ConfigIssue[] = valuedSwitches(switches, args);
  const found = parseArgs(args, {
    boolean: switches,
    string: valued,
    collect: valued,
    alias: "help" in flags ? { help: "h" } : {},
    unknown: (arg, key) => {
      if (key === undefined) operands.push(arg);
      else issues.push(unknownFlag(arg, names));
      return false;
    },
  });
  // What follows `--` is not asked about.
  operands.push(...(found._ as unknown[]).map(String));
  const values: Record<string, unknown> = {};
  const given = new Set<string>();
  for (const name of names) {
    const flag = flags[name]!;
    values[name] = flag.fallback;
    if (flag.shape === "switch") {
      if (found[name] === true) {
        values[name] = true;
        given.add(name);
      }
      continue;
    }
    const texts = found[name] as string[] | undefined ?? [];
    if (texts.length === 0) continue;
    given.add(name);
    const value = readTexts(flag, texts);
    if (value instanceof Unreadable) {
      issues.push({ path: `--${name}`, found: value.found, wanted: value.wanted });
    } else values[name] = value;
  }
  return { values: values as FlagValues<F>, given, operands, issues };
}

function readTexts(flag: FlagSet[string], texts: readonly string[]): unknown {
  if (texts.includes("")) return new Unreadable("nothing", `a value (${flag.placeholder})`);
  if (flag.shape === "single" && texts.length > 1) return new Unreadable(texts.join(" and "), "one value");
  return flag.read(texts);
}

/** `--local=x`: the parser would take any text for yes. */
function valuedSwitches(switches: readonly string[], args: readonly string[]): ConfigIssue[] {
  return switches.flatMap((name) => {
    const arg = args.find((arg) => arg.startsWith(`--${name}=`));
    return arg === undefined ? [] : [{ path: `--${name}`, found: arg, wanted: "no value" }];
  });
}

function unknownFlag(arg: string, names: readonly string[]): ConfigIssue {
  const written = arg.replace(/=.*$/s, "");
  const meant = nearest(written.replace(/^-+/, ""), names);
  return {
    path: written,
    found: "an unknown flag",
    wanted: "one that --help lists",
    ...(meant === undefined ? {} : { hint: `did you mean --${meant}?` }),
  };
}
