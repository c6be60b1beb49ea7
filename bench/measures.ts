/**
 * What is measured, and in what unit.
 *
 * start     On a fresh process: milliseconds from its start until it carries connections (entering the lab costs
 *           every relay the same few of them), and what it keeps resident before the first connection.
 * idle      Thousands of connections that have carried one byte each way and then rest: how much the process has
 *           grown by for each (Pss; user space alone, the kernel's socket buffers are the same for all), and how
 *           many descriptors each takes. Comes first, so that nothing else has grown the process.
 * bulk1/8   One stream and eight, server to client: payload bits a second, and the relay's CPU time for 10^9 bytes.
 * connect   New connections: connect, one byte each way, an orderly close by both; so many under way at once
 *           that the relay never waits for the next. With the relay's CPU time for 100,000 of them.
 * ping1/64  64 bytes each way on one connection and on 64: requests a second, and their latency.
 *
 * CPU time is the relay's own: user and system time of all its threads. Kernel work that packets cause on the
 * load's CPU is nobody's. How busy the two CPUs were says what limited a run: a figure that the load's CPU limits is
 * a lower bound for the relay. Plain forwarding has no process, so it has neither CPU time nor memory.
 *
 * @module
 */
import { busyBetween, readCpuTimes } from "./machine.ts";
import type { LoadResult, RunningContestant } from "./running_contestant.ts";
import { SERVER_ADDRESSES } from "./tcp_lab.ts";

/** One figure of a measure. */
export interface Metric {
  readonly key: string;
  /** Head of its row. */
  readonly title: string;
  readonly digits: number;
  readonly better: "more" | "less";
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
  run(running: RunningContestant, durations: Durations): Promise<Sample>;
}

/** All of them, in the order of the rows and of each round. */
export const MEASURES: readonly Measure[] = [
  {
    name: "start",
    appliesToForwarding: false,
    metrics: [
      { key: "startMs", title: "start to ready, ms", digits: 0, better: "less" },
      { key: "residentMiB", title: "resident before the first connection, MiB", digits: 1, better: "less" },
    ],
    run: measureStart,
  },
  {
    name: "idle",
    appliesToForwarding: false,
    metrics: [
      { key: "bytesEach", title: "memory for an idle connection, bytes", digits: 0, better: "less" },
      { key: "descriptorsEach", title: "descriptors for an idle connection", digits: 2, better: "less" },
    ],
    run: measureIdle,
  },
  bulk("bulk1", "bulk, 1 stream", 1),
  bulk("bulk8", "bulk, 8 streams", 8),
  {
    name: "connect",
    appliesToForwarding: true,
    metrics: [
      { key: "perSecond", title: "new connections a second", digits: 0, better: "more" },
      { key: "cpuSeconds", title: "new connections: CPU s for 100,000", digits: 2, better: "less" },
    ],
    run: measureConnect,
  },
  pingPong("ping1", "64-byte ping-pong, 1 connection", 1),
  pingPong("ping64", "64-byte ping-pong, 64 connections", 64),
];

/** Connections under way at once in `connect`. */
const IN_FLIGHT = 64;
/** After its start or its last connection a process may still be busy with itself. */
const SETTLE_MS = 300;

async function measureStart(running: RunningContestant): Promise<Sample> {
  await settle();
  const usage = await running.usage();
  return { startMs: running.startMs!, residentMiB: usage!.rssBytes / 2 ** 20 };
}

async function measureIdle(running: RunningContestant): Promise<Sample> {
  const count = running.stage.connections;
  const before = await running.usage();
  await using client = running.spawnLoad("idle", [
    ...["--count", `${count}`, "--spread", `${SERVER_ADDRESSES}`],
  ]);
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

function bulk(name: string, title: string, streams: number): Measure {
  return {
    name,
    appliesToForwarding: true,
    metrics: [
      { key: "gbitPerSecond", title: `${title}, Gbit/s`, digits: 2, better: "more" },
      { key: "cpuSeconds", title: `${title}: CPU s a GB`, digits: 3, better: "less" },
    ],
    run: async (running, { bulkSeconds, warmupMs }) => {
      const { result, cpuSeconds, busy } = await load(running, "bulk", streams, bulkSeconds, warmupMs);
      return {
        gbitPerSecond: figure(result, "bytes") * 8 / 1e9 / figure(result, "seconds"),
        ...costOf(running, cpuSeconds, figure(result, "bytesTotal") / 1e9),
        ...busy,
      };
    },
  };
}

async function measureConnect(running: RunningContestant, durations: Durations): Promise<Sample> {
  const { requestSeconds, warmupMs } = durations;
  const { result, cpuSeconds, busy } = await load(running, "connect", IN_FLIGHT, requestSeconds, warmupMs);
  return {
    perSecond: figure(result, "requests") / figure(result, "seconds"),
    ...costOf(running, cpuSeconds, figure(result, "requestsTotal") / 1e5),
    ...busy,
  };
}

function pingPong(name: string, title: string, connections: number): Measure {
  return {
    name,
    appliesToForwarding: true,
    metrics: [
      { key: "perSecond", title: `${title}: requests a second`, digits: 0, better: "more" },
      { key: "p50us", title: `${title}: p50, µs`, digits: 0, better: "less" },
      { key: "p99us", title: `${title}: p99, µs`, digits: 0, better: "less" },
    ],
    run: async (running, { requestSeconds, warmupMs }) => {
      const { result, busy } = await load(running, "pingpong", connections, requestSeconds, warmupMs);
      return {
        perSecond: figure(result, "requests") / figure(result, "seconds"),
        p50us: figure(result, "p50us"),
        p99us: figure(result, "p99us"),
        ...busy,
      };
    },
  };
}

/** Proves that the relay is one: 64 MiB in both directions at once arrive as they were sent. */
export async function verifyRelay(running: RunningContestant): Promise<void> {
  await running.load("verify", ["--bytes", `${64 * 2 ** 20}`], 30);
}

interface LoadRun {
  readonly result: LoadResult;
  /** Of the relay. */
  readonly cpuSeconds: number;
  readonly busy: Sample;
}

async function load(
  running: RunningContestant,
  mode: string,
  count: number,
  seconds: number,
  warmupMs: number,
): Promise<LoadRun> {
  const { gatewayCpus, loadCpus } = running;
  const read = async () => ({
    cpuSeconds: await running.cpuSeconds(),
    gateway: await readCpuTimes(gatewayCpus),
    load: await readCpuTimes(loadCpus),
  });
  const before = await read();
  // deno-fmt-ignore
  const result = await running.load(mode, [
    "--count", `${count}`, "--seconds", `${seconds}`, "--warmup-ms", `${warmupMs}`,
    "--spread", `${SERVER_ADDRESSES}`,
  ], seconds);
  const after = await read();
  const busy = gatewayCpus === undefined || loadCpus === undefined ? {} : {
    gatewayBusy: busyBetween(before.gateway, after.gateway),
    loadBusy: busyBetween(before.load, after.load),
  };
  return { result, cpuSeconds: after.cpuSeconds - before.cpuSeconds, busy };
}

function costOf(running: RunningContestant, cpuSeconds: number, units: number): { cpuSeconds?: number } {
  return running.contestant.relay === undefined ? {} : { cpuSeconds: cpuSeconds / units };
}

function figure(result: LoadResult, key: string): number {
  const value = result[key];
  if (typeof value !== "number") {
    throw new Error(`load generator: no number "${key}" in ${JSON.stringify(result)}`);
  }
  return value;
}

function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
}
