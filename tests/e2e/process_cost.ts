/**
 * What a process costs the machine, from /proc.
 *
 * @module
 */

/** USER_HZ is 100 on every Linux that Deno runs on. */
const MS_PER_JIFFY = 10;

/** User and system time of all threads. */
export function processCpuMs(pid: number): number {
  const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
  // The second field is the name, which may hold spaces; utime and stime are fields 14 and 15 (proc(5)).
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * MS_PER_JIFFY;
}

/** How often each thread of the process has gone to sleep, by thread id; with its name. */
export function threadSleeps(pid: number): Map<string, { name: string; sleeps: number }> {
  const threads = new Map<string, { name: string; sleeps: number }>();
  for (const { name: tid } of Deno.readDirSync(`/proc/${pid}/task`)) {
    const status = Deno.readTextFileSync(`/proc/${pid}/task/${tid}/status`);
    const read = (field: RegExp) => field.exec(status)![1]!;
    threads.set(tid, {
      name: read(/^Name:\t(.*)$/m),
      sleeps: Number(read(/^voluntary_ctxt_switches:\t(\d+)$/m)),
    });
  }
  return threads;
}
