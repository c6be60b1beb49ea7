/**
 * A process named so that no later one with the same number is taken for it: `PID/STARTTIME`, the start time as
 * field 22 of /proc/PID/stat (clock ticks since boot).
 *
 * @module
 */
import type { ExecResult } from "./exec.ts";

/** This process's name. */
export function ownProcess(): string {
  return `${Deno.pid}/${parseStat(Deno.readTextFileSync("/proc/self/stat")).startTime}`;
}

/**
 * Whether the process of that name still runs, as far as the process namespace that `exec` runs programs in can see:
 * so the host sees what runs in a container. A container does not see its siblings, and must not take one that was
 * there before it for living, or none would start again.
 */
export async function isLiving(
  process: string,
  exec: { run(argv: readonly string[]): Promise<ExecResult> },
): Promise<boolean> {
  const [pid, start] = process.split("/");
  const isRunning = async (path: string) => {
    const stat = await exec.run(["cat", path]);
    if (stat.code !== 0) return false;
    const { state, startTime } = parseStat(stat.stdout);
    // Killed, and not waited for by its parent, which may never do so: the first process of many a container.
    return startTime === start && state !== "Z";
  };
  if (await isRunning(`/proc/${pid}/stat`)) return true;
  // The last number is what it has in its own namespace; when it started is the same in all.
  // deno-fmt-ignore
  const { stdout } = await exec.run([
    "find", "/proc", "-maxdepth", "2", "-path", "/proc/[0-9]*/status",
    "-exec", "grep", "-lsE", `^NSpid:.*[[:space:]]${pid}$`, "{}", "+",
  ]);
  for (const path of stdout.split("\n")) {
    if (path !== "" && await isRunning(path.replace(/status$/, "stat"))) return true;
  }
  return false;
}

/** Its second field is a program's name in parentheses, which may hold anything. */
function parseStat(stat: string): { state: string | undefined; startTime: string | undefined } {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return { state: fields[0], startTime: fields[19] };
}
