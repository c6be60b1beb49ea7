/**
 * Readers that do not read: the sender is stopped, the proxy keeps no more than a pipe for each direction, nothing is
 * lost when the reader goes on, and a reader that pauses is never taken for one that is gone.
 */
import { assert, assertEquals, assertLess } from "../assert.ts";
import { type ClientSpec, type ClientStep, GATEWAY_LAB, labTest, seededSha256 } from "../lab/mod.ts";
import { endpoint, type EventOf, RelaySite } from "./relay_site.ts";

const { v4, v6 } = GATEWAY_LAB.servers;
const MIB = 2 ** 20;
const APP = new URL("relay_app_main.ts", import.meta.url).href;
/** Stalled at once, half of them each way. */
const STALLED = 16;
/** Far more than all socket buffers on the way hold, see {@linkcode limitBuffers}. */
const BYTES = 24 * MIB;
/** A flow has come to rest when nobody has sent anything for so long. */
const REST_MS = 500;
const PAUSE_MS = 3_500;

for (const mode of ["tproxy", "redirect"] as const) {
  labTest(`pressure: ${mode}: a stalled reader stops the sender, and gets everything later`, async () => {
    await using site = await RelaySite.start({ mode });
    await limitBuffers(site);
    const [stall, source] = await Promise.all([
      site.internet.serve({ kind: "stall" }),
      site.internet.serve({ kind: "source", bytes: BYTES, seed: 2 }),
    ]);
    const before = { memory: await site.proxy.residentBytes(), ...site.proxy.descriptors() };
    const uploads = Array.from({ length: STALLED / 2 }, (_, seed): ClientSpec => ({
      address: seed % 2 === 0 ? v4 : v6,
      port: stall.port,
      steps: [{ do: "send", bytes: BYTES, seed }, { do: "half-close" }, { do: "await-end" }],
    }));
    const downloads = Array.from({ length: STALLED / 2 }, (_, at): ClientSpec => ({
      address: at % 2 === 0 ? v4 : v6,
      port: source.port,
      reading: "on-step",
      // Long enough to be stopped in.
      steps: [{ do: "half-close" }, { do: "sleep", ms: PAUSE_MS }, { do: "read" }, { do: "await-end" }],
    }));
    await using up = site.client.startClients(uploads);
    await using down = site.client.startClients(downloads);
    await Promise.all(downloads.map((_, at) => down.connected(at)));
    await down.process.kill("SIGSTOP");
    await atRest(() => uploads.reduce((sum, _, at) => sum + up.counts(at).sent, 0));

    const stalled = { memory: await site.proxy.residentBytes(), ...site.proxy.descriptors() };
    for (const at of uploads.keys()) assertLess(up.counts(at).sent, BYTES);
    for (const at of downloads.keys()) assertEquals(down.counts(at).received, 0);
    assertEquals(stalled.sockets, before.sockets + 2 * STALLED);
    // A pipe is two ends; the pools have some in any case.
    assertLess(stalled.pipeEnds, before.pipeEnds + 2 * STALLED + 16);
    assertLess(stalled.memory - before.memory, 8 * MIB);

    await down.process.kill("SIGCONT");
    await stall.resume();
    for (const [seed, client] of (await up.results()).entries()) {
      assertEquals([client.sent, client.end], [BYTES, "fin"]);
      assertEquals(client.sentSha256, seededSha256(seed, BYTES));
    }
    for (const flow of await flowsTo(site, stall.port)) {
      assertEquals([flow.bytesUp, flow.end], [BYTES, { reason: "closed", side: "client" }]);
    }
    const received = new Set<string>();
    for (const _ of uploads) received.add((await stall.nextClosed()).receivedSha256);
    assertEquals(received, new Set(uploads.map((_, seed) => seededSha256(seed, BYTES))));
    for (const client of await down.results()) {
      assertEquals([client.received, client.receivedSha256], [BYTES, seededSha256(2, BYTES)]);
    }
    for (const flow of await flowsTo(site, source.port)) assertEquals(flow.bytesDown, BYTES);
    const { stopped } = await site.proxy.stop();
    assertEquals([stopped.totals.tcpFinished, stopped.totals.tcpOpenNow], [STALLED, 0]);
  });
}

/**
 * Those of half the stalled clients, by destination: with NAT a client's port does not tell, when it has several
 * destinations.
 */
function flowsTo(site: RelaySite, port: number): Promise<EventOf<"flow">[]> {
  return Promise.all(
    Array.from({ length: STALLED / 2 }, (_, at) => {
      return site.proxy.flowTo(endpoint(at % 2 === 0 ? v4 : v6, port), at >> 1);
    }),
  );
}

/** A paused download and a paused upload, and how they ended. */
async function pause(site: RelaySite): Promise<{ download: string; upload: string }> {
  await limitBuffers(site);
  const [stall, source] = await Promise.all([
    site.internet.serve({ kind: "stall" }),
    site.internet.serve({ kind: "source", bytes: BYTES, seed: 8 }),
  ]);
  const paused: ClientStep[] = [{ do: "sleep", ms: PAUSE_MS }, { do: "read" }, { do: "await-end" }];
  const sending: ClientStep[] = [{ do: "send", bytes: BYTES, seed: 9 }, { do: "half-close" }, {
    do: "await-end",
  }];
  await using run = site.client.startClients([
    { address: v4, port: source.port, reading: "on-step", steps: paused },
    { address: v4, port: stall.port, steps: sending },
  ]);
  await Promise.all([run.connected(0), run.connected(1)]);
  const timer = setTimeout(() => stall.resume(), PAUSE_MS);
  const [download, upload] = await run.results();
  clearTimeout(timer);
  if (download!.end === "fin") assertEquals(download!.receivedSha256, seededSha256(8, BYTES));
  if (upload!.end === "fin") assertEquals((await stall.nextClosed()).receivedSha256, seededSha256(9, BYTES));
  assertEquals(download!.peer, endpoint(v4, source.port));
  const flows = await Promise.all([site.proxy.flowOf(download!), site.proxy.flowOf(upload!)]);
  const [down, up] = flows.map(({ end }) => `${end.reason} ${end.side}`);
  return { download: down!, upload: up! };
}

labTest("pressure: a paused reader survives with the settings we have", async () => {
  await using site = await RelaySite.start();
  const ends = await pause(site);
  assertEquals(ends, { download: "closed upstream", upload: "closed client" });
});

labTest("pressure: TCP_USER_TIMEOUT ends a paused reader, which is why it is off", async () => {
  // The kernel counts the time from the first window probe, whether or not the probes are answered
  // (net/ipv4/tcp_timer.c, tcp_probe_timer).
  await using site = await RelaySite.start({ program: [APP, JSON.stringify({ userTimeoutMs: 1000 })] });
  const ends = await pause(site);
  assertEquals(ends, { download: "lost client", upload: "lost upstream" });
});

/** Socket buffers of 2 MiB at most: left to itself, the kernel takes 32 MiB for a reader that does not read. */
async function limitBuffers(site: RelaySite): Promise<void> {
  const script = "cd /proc/sys/net/ipv4 && echo 4096 131072 2097152 | tee tcp_rmem >tcp_wmem";
  await Promise.all(
    [site.client, site.gateway, site.internet].map((host) => host.output(["sh", "-c", script])),
  );
}

/** Resolves when `count` has not changed for {@linkcode REST_MS}. */
async function atRest(count: () => number): Promise<void> {
  let last = -1;
  for (let turn = 0; turn < 40; turn++) {
    const now = count();
    if (now === last && now > 0) return;
    last = now;
    await new Promise((resolve) => setTimeout(resolve, REST_MS));
  }
  assert(false, "the senders were not stopped");
}
