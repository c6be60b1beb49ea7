/**
 * A process named so that no later one with the same number is taken for it: `PID/STARTTIME`, the start time as
 * field 22 of /proc/PID/stat (clock ticks since boot).
 *
 * @module
 */
import type { Exec } from "./exec.ts";

/** This process's name. */
export function ownProcess(): string {
  return `${Deno.pid}/${startTime(Deno.readTextFileSync("/proc/self/stat"))}`;
}

/** Whether the process of that name still runs, in the process namespace that `exec` runs programs in. */
export async function isLiving(process: string, exec: Exec): Promise<boolean> {
  const [pid, start] = process.split("/");
  const stat = await exec.run(["cat", `/proc/${pid}/stat`]);
  return stat.code === 0 && startTime(stat.stdout) === start;
}

/** Its second field is a program's name in parentheses, which may hold anything. */
function startTime(stat: string): string | undefined {
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
}
