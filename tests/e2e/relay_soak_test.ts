/**
 * Half a minute of connections opened and dropped at random, thousands of them: what is left of it afterwards is nothing.
 */
import { assert, assertEquals, assertLess } from "../assert.ts";
import {
  type ClientResult,
  type ClientSpec,
  type ClientStep,
  GATEWAY_LAB,
  type LabServer,
  labTest,
  type ServerBehaviour,
} from "../lab/mod.ts";
import { RelaySite } from "./relay_site.ts";

const { servers, nowhere } = GATEWAY_LAB;
const MIB = 2 ** 20;
/**
 * Half a minute without flow events, so that nothing grows but what the data plane itself leaves; and a while with them,
 * when each has to be told. Memory is not judged there: V8 lets the garbage of a busy log reach 100 MiB.
 */
const SOAKS = [
  { mode: "tproxy", source: "own", soakMs: 30_000, flows: false, growth: 32 * MIB },
  { mode: "redirect", source: "keep", soakMs: 15_000, flows: true, growth: Infinity },
] as const;
/** Client processes at the same time, and connections in each. */
const CROWDS = 4;
const CROWD = 120;
/** How often a whole crowd of clients is killed in the middle of what it does. */
const KILLED_EVERY = 5;
/** Free pipes a worker keeps (tcp/pipe_pool.ts), two ends each. */
const POOLED_ENDS = 2 * 16;
const SETTLE_MS = 10_000;
const QUIET_MS = 3_000;
/** For a client process to say its first word. */
const START_MS = 15_000;

const SERVERS: readonly ServerBehaviour[] = [
  { kind: "echo" },
  { kind: "sink" },
  { kind: "source", bytes: 300_000, seed: 1 },
  { kind: "reset" },
  { kind: "reset", afterReceived: 10_000 },
  { kind: "reset", afterSent: 200_000, afterReceived: 1 },
  { kind: "half-close" },
  { kind: "mute" },
  { kind: "close" },
];

for (const { mode, source, soakMs, flows, growth } of SOAKS) {
  labTest(`soak: ${mode}, source ${source}: thousands of connections leave nothing behind`, async () => {
    const flags = ["--connect-timeout", "2", "--half-closed-timeout", "20", "--workers", "2"];
    await using site = await RelaySite.start({ mode, source, flows, flags });
    const started = await Promise.all(SERVERS.map((server) => site.internet.serve(server)));
    const { proxy } = site;
    const before = { ...proxy.descriptors(), memory: await proxy.residentBytes() };

    const startedAt = performance.now();
    const isOver = () => performance.now() - startedAt > soakMs;
    const crowds = await Promise.all(
      Array.from({ length: CROWDS }, (_, seed) => keepCrowding(site, started, seed, isOver)),
    );
    const results = crowds.flat();
    // A server that had died would have ended its connections early, and proved nothing.
    for (const { process } of started) assert(process.running, process.stderr.tail());
    const memory = await settled(site, before.sockets);

    assertLess(memory - before.memory, growth);
    const after = proxy.descriptors();
    assert(after.pipeEnds <= before.pipeEnds + 2 * POOLED_ENDS, `${after.pipeEnds} ends of pipes`);
    assertLess(after.all - after.pipeEnds - (before.all - before.pipeEnds), 1);
    await assertQuiet(site);

    const { draining, stopped } = await proxy.stop();
    assertEquals(draining.openConnections, 0);
    const { totals } = stopped;
    assertEquals([totals.tcpOpenNow, totals.pipesNow, totals.tcpAcceptErrors], [0, 0, 0]);
    assertEquals(totals.tcpAccepted, totals.tcpFinished + totals.tcpDialFailed);
    const told = proxy.events("flow");
    assertEquals(told.length + totals.flowRecordsDropped, flows ? totals.tcpAccepted : 0);
    assert(totals.tcpAccepted > 1000, `only ${totals.tcpAccepted} connections`);
    const strange = told.filter(({ end }) => end.reason === "error" || end.reason === "limit");
    assertEquals(strange, []);
    assert(results.length > 500, `only ${results.length} results`);
  }, { timeoutMs: soakMs + 60_000 });
}

/** One crowd of clients after another. Returns what those saw that lived to tell. */
async function keepCrowding(
  site: RelaySite,
  started: readonly LabServer[],
  seed: number,
  isOver: () => boolean,
): Promise<ClientResult[]> {
  const random = randomNumbers(seed);
  const results: ClientResult[] = [];
  for (let round = 1; !isOver(); round++) {
    const specs = Array.from({ length: CROWD }, () => randomClient(random, started));
    await using run = site.client.startClients(specs);
    if (round % KILLED_EVERY === 0) {
      await run.process.stdout.waitFor(() => true, START_MS);
      await new Promise((resolve) => setTimeout(resolve, random(500)));
      continue;
    }
    for (const [at, client] of (await run.results()).entries()) {
      const spec = specs[at]!;
      const isWhole = spec.steps.at(-1)?.do === "await-end" && client.stepsDone === spec.steps.length;
      if (isWhole && client.end === "fin" && spec.port === started[0]!.port) {
        assertEquals([client.received, client.receivedSha256], [client.sent, client.sentSha256]);
      }
      results.push(client);
    }
  }
  return results;
}

function randomClient(random: (limit: number) => number, started: readonly LabServer[]): ClientSpec {
  // The echo server as often as all others together: it is the one that proves what was carried.
  const server = random(2) === 0 ? started[0]! : started[random(started.length)]!;
  const addresses = [...Object.values(servers), ...(random(20) === 0 ? Object.values(nowhere) : [])];
  const steps: ClientStep[] = [];
  if (random(4) > 0) steps.push({ do: "send", bytes: 1 + random(2) * random(400_000) + random(2_000) });
  if (random(2) === 0) steps.push({ do: "sleep", ms: random(800) });
  if (random(3) === 0) steps.push({ do: "send", bytes: 1 + random(3_000), seed: 2 });
  switch (random(4)) {
    case 0:
      steps.push({ do: "reset" });
      break;
    case 1:
    case 2:
      // Half-closed, with as much time as the server takes to answer, or less.
      steps.push(
        { do: "half-close" },
        random(4) > 0 ? { do: "await-end" } : { do: "sleep", ms: random(200) },
      );
      break;
  }
  const reading = random(8) === 0 ? "on-step" : "always";
  return {
    address: addresses[random(addresses.length)]!,
    // One in twenty knocks where nobody listens.
    port: random(20) === 0 ? 9 : server.port,
    steps: reading === "on-step" ? steps.filter((step) => step.do !== "await-end") : steps,
    reading,
    timeoutMs: 8_000,
  };
}

/** Waits until the proxy has no more sockets than at first. Returns its resident memory then. */
async function settled(site: RelaySite, sockets: number): Promise<number> {
  const deadline = performance.now() + SETTLE_MS;
  while (site.proxy.descriptors().sockets > sockets && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assertEquals(site.proxy.descriptors().sockets, sockets, await site.gateway.output(["ss", "-tano"]));
  return await site.proxy.residentBytes();
}

/** No timer is left: a worker without connections sleeps. */
async function assertQuiet(site: RelaySite): Promise<void> {
  const before = site.proxy.workerSleeps();
  assertEquals(before.length, 2);
  await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
  const sleeps = site.proxy.workerSleeps().map((count, worker) => count - before[worker]!);
  assert(sleeps.every((count) => count <= 3 * QUIET_MS / 1000), `${sleeps} wake-ups in ${QUIET_MS} ms`);
}

/** Numbers from 0 up to a limit, the same for the same seed (Park and Miller's minimal standard). */
function randomNumbers(seed: number): (limit: number) => number {
  let state = seed + 1;
  return (limit) => {
    state = state * 48271 % 0x7fffffff;
    return state % limit;
  };
}
