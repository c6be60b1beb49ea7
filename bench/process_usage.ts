/**
 * What a process and its descendants use, as /proc tells it.
 *
 * @module
 */

/** Sums over a process and all of its descendants. */
export interface ProcessUsage {
  /** User and system time of all threads, with what the kernel did in their name (its soft interrupts too). */
  readonly cpuSeconds: number;
  /** Resident memory. */
  readonly rssBytes: number;
  /** Resident memory, pages shared with others counted in part. */
  readonly pssBytes: number;
  readonly descriptors: number;
}

/** USER_HZ: the unit of times in /proc, 100 on every architecture Deno runs on. */
const TICKS_A_SECOND = 100;

/** @throws {Deno.errors.NotFound} when the process has ended. */
export async function readCpuSeconds(pid: number): Promise<number> {
  const stats = await Promise.all((await readTree(pid)).map((id) => Deno.readTextFile(`/proc/${id}/stat`)));
  let ticks = 0;
  for (const stat of stats) {
    // The second field is the name in parentheses and may hold anything; after it come fields 3 and on.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    ticks += Number(fields[14 - 3]) + Number(fields[15 - 3]);
  }
  return ticks / TICKS_A_SECOND;
}

/** @throws {Deno.errors.NotFound} when the process has ended. */
export async function readUsage(pid: number): Promise<ProcessUsage> {
  let rssBytes = 0, pssBytes = 0, descriptors = 0;
  for (const id of await readTree(pid)) {
    const memory = await Deno.readTextFile(`/proc/${id}/smaps_rollup`);
    rssBytes += 1024 * Number(/^Rss:\s+(\d+) kB/m.exec(memory)?.[1]);
    pssBytes += 1024 * Number(/^Pss:\s+(\d+) kB/m.exec(memory)?.[1]);
    for await (const _ of Deno.readDir(`/proc/${id}/fd`)) descriptors++;
  }
  return { cpuSeconds: await readCpuSeconds(pid), rssBytes, pssBytes, descriptors };
}

/** The process and its descendants. */
export async function readTree(pid: number): Promise<number[]> {
  const tree = [pid];
  for (let at = 0; at < tree.length; at++) {
    for await (const task of Deno.readDir(`/proc/${tree[at]}/task`)) {
      const children = await Deno.readTextFile(`/proc/${tree[at]}/task/${task.name}/children`).catch(() =>
        ""
      );
      tree.push(...children.split(" ").filter((id) => id !== "").map(Number));
    }
  }
  return tree;
}

/** Whether a TCP listener or a UDP socket has `port` in the network namespace of the process. */
export async function isBound(pid: number, protocol: "tcp" | "udp", port: number): Promise<boolean> {
  const state = protocol === "tcp" ? "0A" : "07";
  const wanted = new RegExp(`:${port.toString(16).toUpperCase().padStart(4, "0")} 0+:0000 ${state} `);
  for (const table of [protocol, `${protocol}6`]) {
    if (wanted.test(await Deno.readTextFile(`/proc/${pid}/net/${table}`))) return true;
  }
  return false;
}
