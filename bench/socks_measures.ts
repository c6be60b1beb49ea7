/**
 * What is measured of upstreams and policies. Most measures are those of tcp_measures.ts and udp_measures.ts, with the
 * same names; here each contestant has several turns at one in a round, since the differences looked for are small.
 *
 * up8    Eight streams, client to server.
 * trips  Round trips on the line towards the servers until the client's first bytes leave, that of the TCP
 *        handshake included: counted in packets, see native/round_trips.c.
 *
 * @module
 */
import { SERVER_ADDRESS, WAN_INTERFACE } from "./bench_lab.ts";
import { figure, FORWARDING_NAME, type Measure, type Sample } from "./measure.ts";
import type { LoadResult, RunningContestant } from "./running_contestant.ts";
import { SOCKS_SECTIONS, TRACKED } from "./socks_contestants.ts";
import { absolute, ratio, type Target } from "./target.ts";
import { bulk, TCP_MEASURES, verifyTcp } from "./tcp_measures.ts";
import { UDP_MEASURES, verifyUdp } from "./udp_measures.ts";

const TURNS = 2;
/** For what targets tell apart by a few percent. */
const BULK_TURNS = 3;
const MANY_TURNS = 4;

/** All of them, in the order of the rows and of each round. */
export const SOCKS_MEASURES: readonly Measure[] = [
  { ...named(TCP_MEASURES, "bulk8"), turns: BULK_TURNS },
  { ...bulk("up8", "bulk up, 8 streams", 8, ["--up"]), turns: BULK_TURNS },
  { ...named(TCP_MEASURES, "connect"), turns: MANY_TURNS },
  { ...named(TCP_MEASURES, "ping1"), turns: TURNS },
  {
    name: "trips",
    appliesToForwarding: true,
    metrics: [{
      key: "roundTrips",
      title: "round trips until the client's first bytes leave",
      digits: 0,
      better: "less",
    }],
    run: measureRoundTrips,
  },
  { ...named(UDP_MEASURES, "up1x512"), turns: TURNS },
  { ...named(UDP_MEASURES, "down1x512"), turns: TURNS },
  named(UDP_MEASURES, "up1000x512"),
  named(UDP_MEASURES, "sessions"),
];

const BULK = ["bulk8", "up8"];

/** For one worker. */
export const SOCKS_TARGETS: readonly Target[] = [
  ratio("SOCKS5 bulk ≥ 0.97 of direct", BULK, "gbitPerSecond", 0.97),
  ratio("SOCKS5 new connections ≥ 1.0 of redsocks", ["connect"], "perSecond", 1, { reference: "redsocks" }),
  absolute("SOCKS5: at most one round trip beside TCP's own", "trips", "roundTrips", 2),
  ratio("100,000 prefixes: new connections ≥ 0.97 of no rules", ["connect"], "perSecond", 0.97, {
    judged: "rules-100k",
  }),
  ratio("empty policy module: new connections ≥ 0.95 of none", ["connect"], "perSecond", 0.95, {
    judged: "module",
  }),
  ratio("pushed down: bulk ≥ 0.98 of plain forwarding", BULK, "gbitPerSecond", 0.98, {
    judged: "pushed",
    reference: FORWARDING_NAME,
  }),
  ratio("pushed down: new connections ≥ 0.98 of plain forwarding", ["connect"], "perSecond", 0.98, {
    judged: "pushed",
    reference: FORWARDING_NAME,
  }),
  ratio(
    "pushed down, with UDP: ≥ 0.98 of plain forwarding, tracked",
    ["connect", "up1x512"],
    "perSecond",
    0.98,
    { judged: "pushed-udp", reference: TRACKED },
  ),
];

/** Connections whose packets are looked at; each client of `connect` begins with one byte. */
const LOOKED_AT = 5;
const FIRST_BYTES = 1;

async function measureRoundTrips(running: RunningContestant): Promise<Sample> {
  const { native } = running.stage;
  // deno-fmt-ignore
  await using capture = running.gateway.spawn([
    native.round_trips, "--interface", WAN_INTERFACE, "--payload", `${FIRST_BYTES}`, "--connections", `${LOOKED_AT}`,
  ]);
  await capture.stdout.waitFor((line) => line === "ready" || undefined, 5_000);
  // deno-fmt-ignore
  await running.load([
    native.load, "connect", "--to", SERVER_ADDRESS, "--count", "1", "--seconds", "0.1", "--warmup-ms", "0",
  ], 1);
  const result: LoadResult = await capture.stdout.waitFor(
    (line) => line.startsWith("{") ? JSON.parse(line) : undefined,
    5_000,
  );
  return { roundTrips: figure(result, "roundTrips") };
}

/** Of each contestant what it carries. */
export async function verifySocks(running: RunningContestant): Promise<void> {
  await verifyTcp(running);
  const { name } = running.contestant;
  const carriesUdp = SOCKS_SECTIONS.some(({ contestants, measures }) =>
    contestants.includes(name) &&
    measures.some((measure) => UDP_MEASURES.some(({ name }) => name === measure))
  );
  if (carriesUdp) await verifyUdp(running);
}

function named(measures: readonly Measure[], wanted: string): Measure {
  const found = measures.find(({ name }) => name === wanted);
  if (found === undefined) throw new RangeError(`measure "${wanted}": there is none`);
  return found;
}
