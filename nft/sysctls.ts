/**
 * Settings of the kernel that a plan needs: set, and put back as they were. What they were is noted beside the
 * rules in the kernel (`KEY=VALUE` in their state), so that whoever removes the rules later can put them back too.
 *
 * Through files below /proc/sys, because sysctl(8) is not everywhere.
 *
 * @module
 */
import type { Exec } from "./exec.ts";
import type { Sysctl } from "./plan.ts";
import { RuleApplyError } from "./rule_apply_error.ts";
import { shellWord } from "./shell_word.ts";

/** What a setting was before it was ours. */
export interface OldSysctl {
  /** Below /proc/sys. */
  readonly key: string;
  /** As the kernel prints it. */
  readonly value: string;
}

/**
 * What is to be put back one day: what a predecessor has noted, else what there is now.
 *
 * @throws {RuleApplyError} of stage check when a setting cannot be read.
 */
export async function readOldSysctls(
  wanted: readonly Sysctl[],
  noted: readonly OldSysctl[],
  exec: Exec,
): Promise<OldSysctl[]> {
  const kept = noted.filter(({ key }) => !wanted.some((sysctl) => sysctl.key === key));
  return [
    ...kept,
    ...await Promise.all(wanted.map(async ({ key }): Promise<OldSysctl> => {
      return noted.find((old) => old.key === key) ?? { key, value: await readSysctl(key, exec) };
    })),
  ];
}

/** @throws {RuleApplyError} of stage apply. */
export async function applySysctls(wanted: readonly Sysctl[], exec: Exec): Promise<void> {
  for (const { key, value } of wanted) {
    const said = await writeSysctl(key, value, exec);
    if (said !== undefined) throw new RuleApplyError("apply", `${path(key)}: ${value} not taken`, said);
  }
}

/** Those of `wanted` that have another value, as sentences. @throws {RuleApplyError} of stage verify. */
export async function compareSysctls(wanted: readonly Sysctl[], exec: Exec): Promise<string[]> {
  const found = await Promise.all(wanted.map(({ key }) => readSysctl(key, exec, "verify")));
  return wanted.flatMap(({ key, value }, i) =>
    found[i] === value ? [] : [`${path(key)}: ${found[i]} found, ${value} wanted`]
  );
}

/** Puts everything back. @returns what was said against it. */
export async function restoreSysctls(old: readonly OldSysctl[], exec: Exec): Promise<string[]> {
  const said = await Promise.all(old.map(({ key, value }) => writeSysctl(key, value, exec)));
  return said.flatMap((text, i) => text === undefined ? [] : [`${path(old[i]!.key)}: ${text.trim()}`]);
}

/** Shell commands that do what {@linkcode restoreSysctls} does. */
export function restoreScript(old: readonly OldSysctl[]): string[] {
  return old.map(({ key, value }) => `echo ${shellWord(value)} >${shellWord(path(key))}`);
}

function path(key: string): string {
  return `/proc/sys/${key}`;
}

async function readSysctl(key: string, exec: Exec, stage: "check" | "verify" = "check"): Promise<string> {
  const result = await exec.run(["cat", path(key)]);
  if (result.code !== 0) throw new RuleApplyError(stage, path(key), result.stderr);
  return result.stdout.trim();
}

async function writeSysctl(key: string, value: string, exec: Exec): Promise<string | undefined> {
  // The value is an argument, so nothing in it is shell.
  const result = await exec.run(["sh", "-c", 'echo "$1" >"$2"', "sh", value, path(key)]);
  return result.code === 0 ? undefined : result.stderr;
}
