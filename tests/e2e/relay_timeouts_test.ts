/**
 * Connections that nobody ends: idle ones, half-closed ones, and those whose client has vanished without a word.
 * Each is ended after its time, both sides are told by a RST, and nothing of it stays behind.
 */
import { assert, assertEquals, assertLess } from "../assert.ts";
import { type ClientStep, GATEWAY_LAB, labTest } from "../lab/mod.ts";
import { endpoint, RelaySite } from "./relay_site.ts";

const { v4, v6 } = GATEWAY_LAB.servers;
const MIB = 2 ** 20;
const APP = new URL("relay_app_main.ts", import.meta.url).href;
/** Nothing leaves the client any more, and nothing arrives: as if its cable had been pulled. */
const CABLE_PULLED = `table inet cable {
  chain out { type filter hook output priority 0; policy drop; }
  chain in { type filter hook input priority 0; policy drop; }
}
`;

labTest("timeouts: an idle connection ends, one that carries a byte now and then does not", async () => {
  await using site = await RelaySite.start({ flags: ["--idle-timeout", "2"] });
  await using mute = await site.internet.serve({ kind: "mute" });
  const aByte: ClientStep[] = [{ do: "sleep", ms: 600 }, { do: "send", bytes: 1 }];
  const idle: ClientStep[] = [{ do: "send", bytes: 10 }, { do: "await-end" }];
  const busy: ClientStep[] = [...aByte, ...aByte, ...aByte, ...aByte, ...aByte, { do: "half-close" }, {
    do: "await-end",
  }];
  const specs = [idle, idle, busy].map((steps, at) => ({
    address: at === 1 ? v6 : v4,
    port: mute.port,
    steps,
  }));
  const clients = await site.client.startClients(specs).results();
  assertEquals(clients.map(({ end }) => end), ["reset", "reset", "fin"]);
  for (const client of clients.slice(0, 2)) {
    const flow = await site.proxy.flowOf(client);
    assertEquals([flow.end, flow.bytesUp], [{ reason: "idle-timeout", side: "proxy" }, 10]);
    assert(flow.durationMs >= 2000 && flow.durationMs < 4500, `${flow.durationMs} ms`);
    assertEquals((await mute.nextClosed()).end, "reset");
  }
  const flow = await site.proxy.flowOf(clients[2]!);
  assertEquals([flow.end.reason, flow.bytesUp], ["closed", 5]);
});

labTest("timeouts: a connection that stays half-closed ends, whichever side has closed", async () => {
  await using site = await RelaySite.start({ flags: ["--half-closed-timeout", "1"] });
  const { internet } = site;
  const [stall, halfClosing] = await Promise.all([
    internet.serve({ kind: "stall" }),
    internet.serve({ kind: "half-close" }),
  ]);
  const specs = [
    { address: v6, port: stall.port, steps: [{ do: "half-close" }, { do: "await-end" }] },
    // A FIN, then silence, then a RST, which only a write can tell from silence.
    {
      address: v4,
      port: halfClosing.port,
      steps: [{ do: "await-end" }, { do: "sleep", ms: 2500 }, { do: "send", bytes: 9 }, {
        do: "send",
        bytes: 9,
      }],
    },
  ] as const;
  const [closed, told] = await site.client.startClients(specs).results();
  assertEquals([closed!.end, told!.end], ["reset", "reset"]);
  for (const client of [closed!, told!]) {
    const flow = await site.proxy.flowOf(client);
    assertEquals(flow.end, { reason: "half-closed-timeout", side: "proxy" });
    assert(flow.durationMs >= 1000 && flow.durationMs < 2500, `${flow.durationMs} ms`);
  }
  assertEquals((await halfClosing.nextClosed()).end, "reset");
  await stall.resume();
  assertEquals((await stall.nextClosed()).end, "reset");
});

/** How the proxy notices that a client has vanished. */
const VANISHED = [
  {
    name: "that was silent: the idle timeout",
    options: { flags: ["--idle-timeout", "1"] },
    bytes: 0,
    end: { reason: "idle-timeout", side: "proxy" },
    mostMs: 2500,
  },
  {
    name: "in a download: retransmissions go unanswered",
    // 200 + 400 + 800 + 1600 ms instead of the 15 minutes that the kernel's own 15 retransmissions take.
    options: { lab: { gatewaySysctls: { "net/ipv4/tcp_retries2": "3" } } },
    bytes: 100 * MIB,
    end: { reason: "lost", side: "client" },
    mostMs: 8000,
  },
  {
    name: "in a download, with TCP_USER_TIMEOUT",
    options: { program: [APP, JSON.stringify({ userTimeoutMs: 1000 })] },
    bytes: 100 * MIB,
    end: { reason: "lost", side: "client" },
    mostMs: 4000,
  },
  {
    name: "that was silent, with TCP_USER_TIMEOUT: keepalive probes go unanswered",
    options: { program: [APP, JSON.stringify({ keepaliveMs: 1000, userTimeoutMs: 1500 })] },
    bytes: 0,
    end: { reason: "lost", side: "client" },
    // Probes are 15 s apart.
    mostMs: 25_000,
  },
] as const;

for (const { name, options, bytes, end, mostMs } of VANISHED) {
  labTest(`timeouts: a client that has vanished ${name}`, async () => {
    await using site = await RelaySite.start(options);
    await using server = await site.internet.serve(
      bytes === 0 ? { kind: "mute" } : { kind: "source", bytes, seed: 1 },
    );
    const before = site.proxy.descriptors();
    const steps = [{ do: "sleep", ms: 30_000 }] as const;
    await using run = site.client.startClients([{ address: v4, port: server.port, steps }]);
    const client = await run.connected();
    if (bytes > 0) await run.progress(({ received }) => received > MIB);
    else await server.nextOpened();
    await site.client.output(["nft", "-f", "-"], { stdin: CABLE_PULLED });
    const pulledAt = performance.now();
    const flow = await site.proxy.flowOf(client, mostMs + 5_000);
    assertLess(performance.now() - pulledAt, mostMs);
    assertEquals([flow.destination, flow.end], [endpoint(v4, server.port), end]);
    assertEquals((await server.nextClosed()).end, "reset");
    const { sockets } = site.proxy.descriptors();
    assertEquals(sockets, before.sockets);
    const { draining } = await site.proxy.stop();
    assertEquals(draining.openConnections, 0);
  });
}
