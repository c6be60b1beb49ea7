/**
 * What is measured of TCP, and in what unit.
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
 * @module
 */
import { SERVER_ADDRESS, SERVER_ADDRESSES } from "./bench_lab.ts";
import {
  costOf,
  type Durations,
  figure,
  type LoadRun,
  type Measure,
  measureGrowth,
  type Sample,
  settle,
  watchLoad,
} from "./measure.ts";
import type { InternetHost, RunningContestant } from "./running_contestant.ts";
import { absolute, ratio, type Target } from "./target.ts";

/** All of them, in the order of the rows and of each round. */
export const TCP_MEASURES: readonly Measure[] = [
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
    run: (running) => {
      const count = running.stage.idle;
      const options = ["--count", `${count}`, "--spread", `${SERVER_ADDRESSES}`];
      return measureGrowth(running, argvOf(running, "idle", options), count);
    },
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

/** For one worker. */
export const TCP_TARGETS: readonly Target[] = [
  ratio("bulk, 1 and 8 streams ≥ 1.0", ["bulk1", "bulk8"], "gbitPerSecond", 0.97),
  ratio("ping-pong, 1 and 64 connections ≥ 1.0", ["ping1", "ping64"], "perSecond", 0.97),
  ratio("p99 ≤ 1.1", ["ping1", "ping64"], "p99us", 1.1),
  ratio("new connections ≥ 1.0", ["connect"], "perSecond", 0.97),
  ratio("CPU time a GB ≤ 1.05", ["bulk1", "bulk8"], "cpuSeconds", 1.05),
  absolute("memory a connection ≤ 2,048 bytes", "idle", "bytesEach", 2048),
  absolute("descriptors a connection ≤ 2", "idle", "descriptorsEach", 2.01),
  absolute("whole process when idle ≤ 70 MiB", "start", "residentMiB", 70),
  absolute("start to ready ≤ 400 ms", "start", "startMs", 400),
];

/** Connections under way at once in `connect`. */
const IN_FLIGHT = 64;

async function measureStart(running: RunningContestant): Promise<Sample> {
  await settle();
  const usage = await running.usage();
  return { startMs: running.startMs!, residentMiB: usage!.rssBytes / 2 ** 20 };
}

/** So many streams at once, from the server to the client. */
export function bulk(name: string, title: string, streams: number, options: readonly string[] = []): Measure {
  return {
    name,
    appliesToForwarding: true,
    metrics: [
      { key: "gbitPerSecond", title: `${title}, Gbit/s`, digits: 2, better: "more" },
      { key: "cpuSeconds", title: `${title}: CPU s a GB`, digits: 3, better: "less" },
    ],
    run: async (running, { bulkSeconds, warmupMs }) => {
      const run = await load(running, "bulk", streams, bulkSeconds, warmupMs, options);
      return {
        gbitPerSecond: figure(run.result, "bytes") * 8 / 1e9 / figure(run.result, "seconds"),
        ...costOf(running, run, figure(run.result, "bytesTotal") / 1e9),
        ...run.busy,
      };
    },
  };
}

async function measureConnect(running: RunningContestant, durations: Durations): Promise<Sample> {
  const { requestSeconds, warmupMs } = durations;
  const run = await load(running, "connect", IN_FLIGHT, requestSeconds, warmupMs);
  return {
    perSecond: figure(run.result, "requests") / figure(run.result, "seconds"),
    ...costOf(running, run, figure(run.result, "requestsTotal") / 1e5),
    ...run.busy,
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

/** The servers of all measures. */
export async function startTcpServers({ native, spawn }: InternetHost): Promise<void> {
  const servers = spawn([native.load, "serve"]);
  await servers.stdout.waitFor((line) => line === "ready" || undefined, 5_000);
}

/** Proves that the relay is one: 64 MiB in both directions at once arrive as they were sent. */
export async function verifyTcp(running: RunningContestant): Promise<void> {
  await running.load(argvOf(running, "verify", ["--bytes", `${64 * 2 ** 20}`]), 30);
}

function load(
  running: RunningContestant,
  mode: string,
  count: number,
  seconds: number,
  warmupMs: number,
  options: readonly string[] = [],
): Promise<LoadRun> {
  // deno-fmt-ignore
  const argv = argvOf(running, mode, [
    "--count", `${count}`, "--seconds", `${seconds}`, "--warmup-ms", `${warmupMs}`,
    "--spread", `${SERVER_ADDRESSES}`, ...options,
  ]);
  return watchLoad(running, () => running.load(argv, seconds));
}

/** Of the load generator, which runs beside the servers. */
function argvOf({ stage }: RunningContestant, mode: string, options: readonly string[]): string[] {
  return [stage.native.load, mode, "--to", SERVER_ADDRESS, ...options];
}
