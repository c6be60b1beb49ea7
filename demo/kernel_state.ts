/**
 * What the gateway's kernel holds of rules and routes: all of it, so that "nothing is left" means "as before".
 *
 * @module
 */
import type { LabHost } from "../tests/lab/mod.ts";

const LISTINGS = {
  "nft tables": [["nft", "list", "tables"]],
  "ip rules": [["ip", "-4", "rule", "show"], ["ip", "-6", "rule", "show"]],
  "ip routes": [["ip", "-4", "route", "show", "table", "all"], ["ip", "-6", "route", "show", "table", "all"]],
} as const;

/** What can be listed. */
export type StateKind = keyof typeof LISTINGS;
/** Every kind, in the order of the report. */
export const STATE_KINDS = Object.keys(LISTINGS) as readonly StateKind[];
/** The lines of each listing. */
export type KernelState = Readonly<Record<StateKind, readonly string[]>>;

/** @throws {Error} when one of the tools fails. */
export async function readKernelState(host: LabHost): Promise<KernelState> {
  const entries = STATE_KINDS.map(async (kind) => {
    const outputs = await Promise.all(LISTINGS[kind].map((argv) => host.output(argv)));
    return [kind, outputs.flatMap((text) => text.split("\n").filter((line) => line !== ""))] as const;
  });
  return Object.fromEntries(await Promise.all(entries)) as unknown as KernelState;
}

/** Lines of `now` that `before` does not have. */
export function addedLines(before: KernelState, now: KernelState, kind: StateKind): string[] {
  return now[kind].filter((line) => !before[kind].includes(line));
}

/** Everything in which the state after the proxy's end differs from the one before its start. */
export function judgeCleanup(before: KernelState, during: KernelState, after: KernelState): string[] {
  const wrong: string[] = [];
  // Otherwise finding nothing afterwards would prove nothing.
  if (addedLines(before, during, "nft tables").length === 0) {
    wrong.push("nft tables: none found while the proxy ran, one wanted");
  }
  for (const kind of STATE_KINDS) {
    for (const line of addedLines(before, after, kind)) wrong.push(`${kind}: left behind: ${line.trim()}`);
    for (const line of addedLines(after, before, kind)) wrong.push(`${kind}: lost: ${line.trim()}`);
  }
  return wrong;
}
