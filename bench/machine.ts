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

/** Time of all or some CPUs since boot, in ticks. */
export interface CpuTimes {
  readonly idle: number;
  readonly all: number;
}

/** Part of the time between two readings, 0 to 1, that was in use. */
export function busyBetween(before: CpuTimes, after: CpuTimes): number {
  return 1 - (after.idle - before.idle) / Math.max(1, after.all - before.all);
}

/** Part of all CPUs' time, 0 to 1, that was in use during the next second: what disturbs a benchmark. */
export async function sampleBusyness(): Promise<number> {
  const before = await readCpuTimes();
  await new Promise((resolve) => setTimeout(resolve, 1000));
  return busyBetween(before, await readCpuTimes());
}

/** @param cpus numbers of CPUs; default: all of them together */
export async function readCpuTimes(cpus?: readonly number[]): Promise<CpuTimes> {
  const names = cpus?.map((cpu) => `cpu${cpu}`) ?? ["cpu"];
  let idle = 0, all = 0;
  for (const line of (await Deno.readTextFile("/proc/stat")).split("\n")) {
    // proc_stat(5): user nice system idle iowait irq softirq steal; the guests' times are in user and nice already.
    const [name, ...words] = line.split(/\s+/);
    if (!names.includes(name!)) continue;
    const times = words.slice(0, 8).map(Number);
    idle += times[3]! + times[4]!;
    all += times.reduce((sum, time) => sum + time, 0);
  }
  return { idle, all };
}
