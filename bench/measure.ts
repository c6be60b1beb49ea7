/**
 * What a measure is, and what all of them need: a load that is run while CPU time is watched.
 *
 * CPU time is the relay's own: user and system time of all its threads. Kernel work that packets cause on the
 * load's CPU is nobody's. How busy the two CPUs were says what limited a run: a figure that the load's CPU limits is
 * a lower bound for the relay. Plain forwarding has no process, so it has neither CPU time nor memory.
 *
 * @module
 */
import type { Probe } from "./contestant.ts";
import { busyBetween, readCpuTimes } from "./machine.ts";
import type { LoadResult, RunningContestant, Server } from "./running_contestant.ts";

/** The contestant without a relay. */
export const FORWARDING_NAME = "forwarding";

/** One figure of a measure. */
export interface Metric {
  readonly key: string;
  /** Head of its row. */
  readonly title: string;
  readonly digits: number;
  readonly better: "more" | "less";
  /** No row when it is 0 everywhere. */
  readonly onlyIfAny?: boolean;
  /** The sample's figure that it is taken from, less plain forwarding's in the same round; absent: its own. */
  readonly addedTo?: string;
}

/**
 * What one run of a measure found, by metric; a metric that does not apply is absent. Where a load was run on bound
 * CPUs, `gatewayBusy` and `loadBusy` say what part of their time was in use.
 */
export type Sample = Readonly<Record<string, number>>;

/** How long each run takes. */
export interface Durations {
  readonly bulkSeconds: number;
  readonly requestSeconds: number;
  readonly warmupMs: number;
}

/** One kind of load. */
export interface Measure {
  readonly name: string;
  readonly metrics: readonly Metric[];
  /** False where plain forwarding has nothing to measure. */
  readonly appliesToForwarding: boolean;
  /** How often each contestant has its turn in a round: more where a difference of a few percent is looked for. */
  readonly turns?: number;
  /** Servers that it needs beside those of the suite. */
  readonly servers?: readonly Server[];
  /** The version of a program that it needs, or why it has to be left out; absent: it needs none. */
  probe?(): Promise<Probe>;
  run(running: RunningContestant, durations: Durations): Promise<Sample>;
}

/** What a load did, and what it cost. */
export interface LoadRun {
  readonly result: LoadResult;
  /** Of the relay. */
  readonly cpuSeconds: number;
  readonly busy: Sample;
}

/** After its start or its last connection a process may still be busy with itself. */
const SETTLE_MS = 300;

/** Runs a load to its end. */
export async function watchLoad(
  running: RunningContestant,
  load: () => Promise<LoadResult>,
): Promise<LoadRun> {
  const { gatewayCpus, loadCpus } = running;
  const read = async () => ({
    cpuSeconds: await running.cpuSeconds(),
    gateway: await readCpuTimes(gatewayCpus),
    load: await readCpuTimes(loadCpus),
  });
  const before = await read();
  const result = await load();
  const after = await read();
  const busy = gatewayCpus === undefined || loadCpus === undefined ? {} : {
    gatewayBusy: busyBetween(before.gateway, after.gateway),
    loadBusy: busyBetween(before.load, after.load),
  };
  return { result, cpuSeconds: after.cpuSeconds - before.cpuSeconds, busy };
}

/** How much the relay grew by for each of `count` connections or sessions, which `load` opens and holds. */
export async function measureGrowth(
  running: RunningContestant,
  load: readonly string[],
  count: number,
): Promise<Sample> {
  const before = await running.usage();
  await using client = running.spawnLoad(load);
  await client.stdout.waitFor((line) => line.startsWith("{") || undefined, 60_000);
  await settle();
  const after = await running.usage();
  await client.closeStdin();
  await client.wait(10_000);
  return {
    bytesEach: (after!.pssBytes - before!.pssBytes) / count,
    descriptorsEach: (after!.descriptors - before!.descriptors) / count,
  };
}

/** The relay's CPU time a unit; nothing without a relay. */
export function costOf(
  running: RunningContestant,
  { cpuSeconds }: LoadRun,
  units: number,
): { cpuSeconds?: number } {
  return running.contestant.relay === undefined ? {} : { cpuSeconds: cpuSeconds / units };
}

/** @throws {Error} when the load generator printed no such number. */
export function figure(result: LoadResult, key: string): number {
  const value = result[key];
  if (typeof value !== "number") {
    throw new Error(`load generator: no number "${key}" in ${JSON.stringify(result)}`);
  }
  return value;
}

/** Lets a process come to rest. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
}
