/**
 * What the figures depend on, for the head of a report.
 *
 * @module
 */

/** The machine, as far as it matters. */
export interface Machine {
  readonly cpu: string;
  readonly cpus: number;
  readonly kernel: string;
  readonly memoryGiB: number;
  /** Hard limit of descriptors a process may have. */
  readonly descriptors: number;
}

export async function describeMachine(): Promise<Machine> {
  const cpuinfo = await Deno.readTextFile("/proc/cpuinfo");
  const limits = await Deno.readTextFile("/proc/self/limits");
  return {
    cpu: /^(?:model name|CPU part)\s*:\s*(.*)$/m.exec(cpuinfo)?.[1] ?? Deno.build.arch,
    cpus: navigator.hardwareConcurrency,
    kernel: Deno.osRelease(),
    memoryGiB: Deno.systemMemoryInfo().total / 2 ** 30,
    descriptors: Number(/^Max open files\s+\S+\s+(\d+)/m.exec(limits)?.[1] ?? 1024),
  };
}

/** Part of all CPUs' time, 0 to 1, that was in use during the next second: what disturbs a benchmark. */
export async function sampleBusyness(): Promise<number> {
  const before = await readCpuTimes();
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const after = await readCpuTimes();
  return 1 - (after.idle - before.idle) / (after.all - before.all);
}

/** First line of /proc/stat: user nice system idle iowait irq softirq steal, in ticks (proc_stat(5)). */
async function readCpuTimes(): Promise<{ idle: number; all: number }> {
  const [line] = (await Deno.readTextFile("/proc/stat")).split("\n");
  const times = line!.trim().split(/\s+/).slice(1, 9).map(Number);
  return { idle: times[3]! + times[4]!, all: times.reduce((sum, time) => sum + time, 0) };
}
