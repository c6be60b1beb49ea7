/**
 * Contestants of every benchmark, and how to find out which version of one is installed.
 *
 * @module
 */
import { type LabProcess, within } from "../tests/lab/mod.ts";
import { LAN_INTERFACE } from "./bench_lab.ts";
import { type Contestant, type Probe, READY_TIMEOUT_MS, type RelaySpec } from "./contestant.ts";
import { RELAY_PORT } from "./interception.ts";
import { FORWARDING_NAME } from "./measure.ts";

const PELLUCID = new URL("../mod.ts", import.meta.url).pathname;

/** The gateway's kernel alone. */
export const FORWARDING: Contestant = {
  name: FORWARDING_NAME,
  title: "plain forwarding",
  threads: 0,
  probe: () => Promise.resolve({ version: `Linux ${Deno.osRelease()}` }),
  relay: undefined,
};

/** @param flags of `pellucid run`, beside those that every benchmark needs */
export function pellucid(workers: number, flags: readonly string[]): Contestant {
  return {
    name: `pellucid-${workers}`,
    title: `Pellucid, ${workers} worker${workers === 1 ? "" : "s"}`,
    threads: workers,
    probe: () => Promise.resolve({ version: `Deno ${Deno.version.deno}` }),
    relay: pellucidRelay(workers, flags),
  };
}

/** How Pellucid is run. */
export function pellucidRelay(workers: number, flags: readonly string[]): RelaySpec {
  return {
    bringsRules: true,
    command: () =>
      // deno-fmt-ignore
      Promise.resolve([
        Deno.execPath(), "run", "-A", "--cached-only", PELLUCID, "run", ...flags,
        "--from", LAN_INTERFACE, "--port", `${RELAY_PORT}`, "--workers", `${workers}`,
        "--rules", "nft", "--log", "json",
      ]),
    ready: async (process) => {
      await process.stderr.waitFor((line) => isReadyEvent(line) || undefined, READY_TIMEOUT_MS);
    },
  };
}

function isReadyEvent(line: string): boolean {
  return line.startsWith("{") && JSON.parse(line).event === "ready";
}

/** For our own programs, which print `ready`. */
export async function waitForReadyLine(process: LabProcess): Promise<void> {
  await process.stdout.waitFor((line) => line === "ready" || undefined, READY_TIMEOUT_MS);
}

/** A command that runs both; the second one is the one that is waited for. */
export function beside(first: readonly string[], second: readonly string[]): string[] {
  return ["sh", "-c", `${first.join(" ")} >/dev/null & exec ${second.join(" ")}`];
}

/** Of the compiler that made the references. */
export function probeCompiler(): Promise<Probe> {
  return versionOf("cc", ["--version"], /^(.*)$/m);
}

/** Looks where ordinary users' PATH does not, as the lab does. */
export async function versionOf(program: string, args: string[], pattern: RegExp): Promise<Probe> {
  try {
    const env = { PATH: `${Deno.env.get("PATH") ?? ""}:/usr/sbin:/sbin` };
    const command = new Deno.Command("env", { args: [program, ...args], env, stdin: "null" });
    const { success, stdout, stderr } = await within(command.output(), 5_000, `${program} ${args.join(" ")}`);
    const printed = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    if (!success) return { missing: `${program} is not installed` };
    return { version: pattern.exec(printed)?.[1] ?? printed.trim() };
  } catch (error) {
    return { missing: error instanceof Error ? error.message : `${error}` };
  }
}
