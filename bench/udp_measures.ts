/**
 * What is measured of UDP, and in what unit.
 *
 * idle      Thousands of sessions that have carried one datagram each way and then rest: how much the process has
 *           grown by for each (Pss; user space alone), and how many descriptors each takes. Comes first, after a
 *           short flood: so the process has its code and buffers, but nothing else has grown it.
 * up, down  A flood of datagrams of one size on 1 flow or 1,000 flows, from clients to the server or back: datagrams
 *           that arrived a second, the part that did not, and the relay's CPU time for a million. The sender has no
 *           more than 256 on their way, so it sends as fast as the gateway can carry. The name says direction, flows,
 *           bytes; `s` at its end: sent and received by UDP_SEGMENT and UDP_GRO, 16 at a time.
 * offer     200,000 datagrams a second, whatever becomes of them: more than the reference can carry. Shows what is left
 *           when a relay's CPU also has to drop.
 * sessions  Datagrams each from an endpoint of its own, which the server sends back: how many came back a second,
 *           so many on their way at once that the relay never waits for the next; CPU time for 100,000. A relay may
 *           have 10,000 sessions (SESSION_LIMIT), so beyond that each new one ends the oldest.
 * dns       Queries a second through the gateway: dnsperf against Knot DNS, 20 clients, 100 queries on their way.
 * latency   128 datagrams a second of 200 bytes on each of 200 flows, in both directions, beside one TCP stream that
 *           would fill a line of 1 Gbit/s and that the gateway's kernel forwards: the time from the sender's call to
 *           the receiver's kernel, and by how much that is more than with plain forwarding in the same round. (A
 *           stream without a limit would take all of the gateway's CPU.)
 * latencyT  The same, with that TCP stream carried by the relay too: Pellucid with both, and for the reference both C
 *           relays beside each other.
 *
 * @module
 */
import { CLIENT_ADDRESSES, INTERNET_NETNS, OTHER_ADDRESS, SERVER_ADDRESS } from "./bench_lab.ts";
import type { Probe } from "./contestant.ts";
import { versionOf } from "./contestants.ts";
import { QUERIES_FILE, startNameServer } from "./dns_server.ts";
import {
  costOf,
  type Durations,
  figure,
  type Measure,
  measureGrowth,
  type Metric,
  type Sample,
  settle,
  watchLoad,
} from "./measure.ts";
import { RunningContestant } from "./running_contestant.ts";
import { absolute, ratio, type Target } from "./target.ts";
import { startTcpServers } from "./tcp_measures.ts";
import { CLIENT_PORTS } from "./udp_contestants.ts";

/** Datagrams of a flood on their way at once: fewer than any queue on the way has room for. */
const WINDOW = 256;
/** Datagrams a second in `offer`. */
const OFFERED = 200_000;
/** Datagrams that a sender with UDP_SEGMENT hands over at a time, as QUIC libraries do. */
const SEGMENTS = 16;
/** UDP over IPv4 knows no larger one. */
const LARGEST_DATAGRAM = 65_507;
/** Of the TCP stream in `latency`. */
const BULK_MBIT = 1000;
/** Sessions under way at once in `sessions`. */
const IN_FLIGHT = 128;

interface Flood {
  readonly direction: "up" | "down";
  readonly flows: number;
  readonly bytes: number;
  readonly segments: number;
  /** Datagrams a second that are sent whatever becomes of them; undefined: as many as get through. */
  readonly offered?: number;
}

const FLOODS: readonly Flood[] = [
  ...[1, SEGMENTS].flatMap((segments) =>
    (["up", "down"] as const).flatMap((direction) =>
      [1, 1000].flatMap((flows) => [64, 512, 1200].map((bytes) => ({ direction, flows, bytes, segments })))
    )
  ),
  ...[1, 1000].map((flows) =>
    ({ direction: "up", flows, bytes: 512, segments: 1, offered: OFFERED }) as const
  ),
];

/** All of them, in the order of the rows and of each round. */
export const UDP_MEASURES: readonly Measure[] = [
  {
    name: "idle",
    appliesToForwarding: false,
    metrics: [
      { key: "bytesEach", title: "memory for an idle session, bytes", digits: 0, better: "less" },
      { key: "descriptorsEach", title: "descriptors for an idle session", digits: 2, better: "less" },
    ],
    run: async (running, { bulkSeconds }) => {
      const { idle } = running.stage;
      if (!canHold(running, idle)) return {};
      const warmup = ["--flows", "100", "--seconds", `${bulkSeconds}`];
      await running.load(argvOf(running, "flood", warmup), bulkSeconds);
      await settle();
      return await measureGrowth(running, argvOf(running, "idle", ["--flows", `${idle}`]), idle);
    },
  },
  ...FLOODS.map(flood),
  {
    name: "sessions",
    appliesToForwarding: true,
    metrics: [
      { key: "perSecond", title: "new sessions a second", digits: 0, better: "more" },
      {
        key: "lossPercent",
        title: "new sessions: not answered, %",
        digits: 2,
        better: "less",
        onlyIfAny: true,
      },
      { key: "cpuSeconds", title: "new sessions: CPU s for 100,000", digits: 2, better: "less" },
    ],
    run: measureSessions,
  },
  {
    name: "dns",
    appliesToForwarding: true,
    metrics: [
      { key: "perSecond", title: "DNS queries a second", digits: 0, better: "more" },
      {
        key: "lossPercent",
        title: "DNS queries: not answered, %",
        digits: 2,
        better: "less",
        onlyIfAny: true,
      },
      { key: "cpuSeconds", title: "DNS: CPU s a million queries", digits: 2, better: "less" },
    ],
    servers: [startNameServer],
    probe: probeDns,
    run: measureDns,
  },
  latency("latency", "through the kernel", true, measureLatency),
  latency("latencyT", "through the relay", false, async (running, durations) => {
    const { contestant, stage } = running;
    if (contestant.withTcp === undefined) return {};
    await using both = await RunningContestant.start(
      { ...contestant, relay: contestant.withTcp },
      stage,
      { ...running.site, forwards: "nothing", intercepts: { tcp: "tproxy", udp: "tproxy" } },
    );
    return await measureLatency(both, durations);
  }),
];

/** For one worker. */
export const UDP_TARGETS: readonly Target[] = [
  ratio("datagrams without UDP_SEGMENT ≥ 1.0", floodNames(1), "perSecond", 0.97),
  ratio("datagrams with UDP_SEGMENT ≥ 1.5", floodNames(SEGMENTS), "perSecond", 1.5),
  ratio("new sessions ≥ 0.9", ["sessions"], "perSecond", 0.9),
  ratio("DNS queries ≥ 1.0", ["dns"], "perSecond", 0.97),
  ratio("added latency, p50 ≤ 1.0", ["latency"], "p50Added", 1.03),
  ratio("added latency, p99 ≤ 1.1", ["latency"], "p99Added", 1.1),
  absolute("memory a session ≤ 1,024 bytes", "idle", "bytesEach", 1024),
  absolute("descriptors a session ≤ 1", "idle", "descriptorsEach", 1.01),
];

function floodNames(segments: number): string[] {
  return FLOODS.filter((one) => one.segments === segments && one.offered === undefined).map(nameOf);
}

function nameOf({ direction, flows, bytes, segments, offered }: Flood): string {
  return `${offered === undefined ? direction : "offer"}${flows}x${bytes}${segments > 1 ? "s" : ""}`;
}

function flood(spec: Flood): Measure {
  const { direction, flows, bytes, segments, offered } = spec;
  const title =
    `${offered === undefined ? "" : `${offered.toLocaleString("en")} a second offered `}${direction}, ${
      flows === 1 ? "1 flow" : "1,000 flows"
    }, ` +
    `${bytes} B${segments > 1 ? ", UDP_SEGMENT" : ""}`;
  return {
    name: nameOf(spec),
    appliesToForwarding: true,
    metrics: [
      { key: "perSecond", title: `${title}: datagrams a second`, digits: 0, better: "more" },
      { key: "lossPercent", title: `${title}: lost, %`, digits: 2, better: "less", onlyIfAny: true },
      { key: "cpuSeconds", title: `${title}: CPU s a million`, digits: 2, better: "less" },
    ],
    run: async (running, { bulkSeconds, warmupMs }) => {
      if (!canHold(running, flows)) return {};
      // deno-fmt-ignore
      const argv = argvOf(running, "flood", [
        "--flows", `${flows}`, "--bytes", `${bytes}`, "--segments", `${segments}`,
        ...(offered === undefined ? ["--window", `${WINDOW}`] : ["--offer", `${offered}`]),
        ...lasting(bulkSeconds, warmupMs), ...(direction === "down" ? ["--down"] : []),
      ]);
      const run = await watchLoad(running, () => running.load(argv, bulkSeconds));
      return {
        perSecond: figure(run.result, "delivered") / figure(run.result, "seconds"),
        lossPercent: 100 * (1 - figure(run.result, "deliveredTotal") / figure(run.result, "sentTotal")),
        ...costOf(running, run, figure(run.result, "deliveredTotal") / 1e6),
        ...run.busy,
      };
    },
  };
}

async function measureSessions(running: RunningContestant, durations: Durations): Promise<Sample> {
  const { requestSeconds, warmupMs } = durations;
  // deno-fmt-ignore
  const argv = argvOf(running, "sessions", [
    "--flows", `${CLIENT_PORTS}`, "--window", `${IN_FLIGHT}`, "--from", CLIENT_ADDRESSES,
    ...lasting(requestSeconds, warmupMs),
  ]);
  const run = await watchLoad(running, () => running.load(argv, requestSeconds));
  return {
    perSecond: figure(run.result, "answered") / figure(run.result, "seconds"),
    lossPercent: 100 * figure(run.result, "lost") / figure(run.result, "startedTotal"),
    ...costOf(running, run, figure(run.result, "answeredTotal") / 1e5),
    ...run.busy,
  };
}

async function measureDns(running: RunningContestant, { requestSeconds }: Durations): Promise<Sample> {
  // deno-fmt-ignore
  const argv = [
    "dnsperf", "-s", SERVER_ADDRESS, "-d", `${running.directory}/${QUERIES_FILE}`, "-l", `${requestSeconds}`,
    "-c", "20", "-q", "100",
  ];
  const run = await watchLoad(running, async () => parseDnsperf(await running.runLoad(argv, requestSeconds)));
  return {
    perSecond: figure(run.result, "perSecond"),
    lossPercent: figure(run.result, "lossPercent"),
    ...costOf(running, run, figure(run.result, "completed") / 1e6),
    ...run.busy,
  };
}

async function probeDns(): Promise<Probe> {
  const server = await versionOf("knotd", ["-V"], /version (\S+)/);
  if ("missing" in server) return server;
  const client = await versionOf("dnsperf", ["-h"], /Version (\S+)/);
  if ("missing" in client) return client;
  return { version: `Knot DNS ${server.version}, dnsperf ${client.version}` };
}

/** @throws {Error} when an answer was an error or a figure is missing */
export function parseDnsperf(printed: string): Record<string, number> {
  const number = (pattern: RegExp) => {
    const text = pattern.exec(printed)?.[1];
    if (text === undefined) throw new Error(`dnsperf: no ${pattern} in:\n${printed}`);
    return Number(text);
  };
  const completed = number(/Queries completed:\s+(\d+)/);
  const right = number(/Response codes:.*\bNOERROR (\d+)/);
  if (right !== completed) throw new Error(`dnsperf: ${completed - right} answers were errors:\n${printed}`);
  return {
    completed,
    perSecond: number(/Queries per second:\s+([\d.]+)/),
    lossPercent: number(/Queries lost:\s+\d+ \(([\d.]+)%\)/),
  };
}

function latency(name: string, way: string, hasBaseline: boolean, run: Measure["run"]): Measure {
  const added = ["p50", "p99"].map((quantile): Metric => ({
    key: `${quantile}Added`,
    title: `one way, TCP ${way} beside it: ${quantile} that the relay adds, µs`,
    digits: 0,
    better: "less",
    addedTo: `${quantile}us`,
  }));
  return {
    name,
    appliesToForwarding: hasBaseline,
    servers: [startTcpServers],
    metrics: [
      { key: "p50us", title: `one way, TCP ${way} beside it: p50, µs`, digits: 0, better: "less" },
      { key: "p99us", title: `one way, TCP ${way} beside it: p99, µs`, digits: 0, better: "less" },
      ...(hasBaseline ? added : []),
      {
        key: "lossPercent",
        title: `one way, TCP ${way} beside it: lost, %`,
        digits: 2,
        better: "less",
        onlyIfAny: true,
      },
      { key: "gbitPerSecond", title: `that TCP ${way}, Gbit/s`, digits: 2, better: "more" },
    ],
    run,
  };
}

/**
 * A game lasts for hours. A program that is compiled while it runs has been by then; compiling takes the relay's CPU
 * from it for milliseconds at a time, which would be all that the 99th percentile tells.
 */
const LATENCY_WARMUP_MS = 3000;

async function measureLatency(running: RunningContestant, { requestSeconds }: Durations): Promise<Sample> {
  // The stream begins before and ends after.
  const bulkSeconds = requestSeconds + LATENCY_WARMUP_MS / 1000 + 1;
  // deno-fmt-ignore
  const bulk = [
    running.stage.native.load, "bulk", "--to", SERVER_ADDRESS, "--seconds", `${bulkSeconds}`, "--warmup-ms", "0",
    "--up", "--pace", `${BULK_MBIT}`,
  ];
  // deno-fmt-ignore
  const argv = argvOf(running, "latency", [
    "--flows", "200", "--rate", "128", "--bytes", "200", ...lasting(requestSeconds, LATENCY_WARMUP_MS),
  ]);
  const stream = running.load(bulk, bulkSeconds);
  const run = await watchLoad(running, () => running.load(argv, requestSeconds));
  const carried = await stream;
  return {
    p50us: figure(run.result, "p50us"),
    p99us: figure(run.result, "p99us"),
    lossPercent: 100 * (1 - figure(run.result, "deliveredTotal") / figure(run.result, "sentTotal")),
    gbitPerSecond: figure(carried, "bytes") * 8 / 1e9 / figure(carried, "seconds"),
    ...run.busy,
  };
}

/**
 * Proves that the relay is one: datagrams of all sizes arrive in order, once and unchanged in both directions, from
 * the address they should be from; and those of a server that the client never wrote to as well (full cone), where
 * there is a second server, which there is not behind SOCKS5.
 */
export async function verifyUdp(running: RunningContestant): Promise<void> {
  const { limits, framesDatagrams } = running.contestant;
  // deno-fmt-ignore
  const argv = argvOf(running, "verify", [
    "--flows", "16", "--bytes", `${limits?.largestDatagram ?? LARGEST_DATAGRAM}`,
    ...(limits?.fullCone === false || framesDatagrams ? [] : ["--other", OTHER_ADDRESS]),
  ]);
  await running.load(argv, 30);
}

function canHold({ contestant }: RunningContestant, sessions: number): boolean {
  return sessions <= (contestant.limits?.sessions ?? Infinity);
}

function lasting(seconds: number, warmupMs: number): string[] {
  return ["--seconds", `${seconds}`, "--warmup-ms", `${warmupMs}`];
}

/** Of the load generator, which is client and server at once. */
function argvOf(
  { stage, contestant }: RunningContestant,
  mode: string,
  options: readonly string[],
): string[] {
  // deno-fmt-ignore
  return [
    stage.native.udp_load, mode, "--to", SERVER_ADDRESS, "--server-netns", INTERNET_NETNS, ...options,
    ...(contestant.framesDatagrams ? ["--framed"] : []),
  ];
}
