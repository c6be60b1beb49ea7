/**
 * UDP as `run` shows it: what is taken and what is left alone, what is logged, and how it stops.
 */
import { assert, assertEquals, assertGreaterOrEqual, assertLess } from "../assert.ts";
import { DatagramClient, GATEWAY_LAB, gatewayLab, type LabHost, labTest } from "../lab/mod.ts";
import { endpoint, FAMILIES } from "./datagram_site.ts";
import { eventually, ProxyRun } from "./proxy_run.ts";
import { Talker } from "./talker.ts";

const { client, gateway, servers } = GATEWAY_LAB;

/** Whom a server at `to` sees when the client sends it something. */
async function seenBy(host: LabHost, from: DatagramClient, port: number): Promise<string> {
  const server = await host.serveDatagrams({ kind: "echo", port });
  const socket = await from.open({ from: endpoint(client.v4, 0) });
  await socket.ask({ to: endpoint(servers.v4, port), text: "who am I?" });
  const seen = (await server.received()).from;
  return seen.slice(0, seen.lastIndexOf(":"));
}

labTest("udp run: ready names each worker's port, and flow events tell datagrams and the end", async () => {
  await using lab = await gatewayLab();
  await using sender = new DatagramClient(lab.host("client"));
  const echo = await lab.host("internet").serveDatagrams({ kind: "echo" });
  await using proxy = await ProxyRun.start(lab.host("gateway"), [
    ...["--from", "lan0", "--workers", "3", "--port", "9000", "--flows"],
  ]);
  const ready = await proxy.event("ready");
  assertEquals([ready.mode, ready.udp, ready.listeners], ["tproxy", "tproxy", ["[::]:9000", "0.0.0.0:9000"]]);
  const ports = [9000, 9001, 9002];
  assertEquals(ready.udpListeners, ports.flatMap((port) => [`[::]:${port}`, `0.0.0.0:${port}`]));
  const sent: string[] = [];
  for (const family of FAMILIES) {
    const socket = await sender.open({ from: endpoint(family.client, 0) });
    const to = endpoint(family.server, echo.port);
    for (const bytes of [10, 0, 200]) await socket.ask({ to, bytes });
    sent.push(endpoint(family.client, socket.port));
  }
  const startedAt = performance.now();
  const totals = await proxy.stop();
  // No session goes on, so a second of silence is all that is waited for, and not the drain timeout (30 s).
  assertLess(performance.now() - startedAt, 15_000);
  assertEquals((await proxy.event("draining")).openSessions, 2);
  assertEquals([totals.udpSessionsOpened, totals.udpSessionsNow, totals.udpReplySocketsNow], [2, 0, 0]);
  assertEquals([totals.udpDatagramsUp, totals.udpDatagramsDown], [6, 6]);
  const flows = proxy.logged("flow");
  assertEquals(flows.map((flow) => flow.client).toSorted(), sent.toSorted());
  for (const flow of flows) {
    const family = FAMILIES.find(({ client }) => flow.client.includes(client))!;
    assertEquals(flow.destination, endpoint(family.server, echo.port));
    assert(flow.local?.startsWith(endpoint(family.wan, 0).slice(0, -1)), flow.local);
    assertEquals([flow.proto, flow.bytesUp, flow.bytesDown], ["udp", 210, 210]);
    assertEquals([flow.datagramsUp, flow.datagramsDown], [3, 3]);
    assertEquals(flow.end.side, "proxy");
  }
});

labTest("udp run: a drain carries what goes on, and takes nothing new", async () => {
  await using lab = await gatewayLab();
  await using sender = new DatagramClient(lab.host("client"));
  const echo = await lab.host("internet").serveDatagrams({ kind: "echo" });
  await using proxy = await ProxyRun.start(lab.host("gateway"), ["--from", "lan0", "--workers", "2"]);
  const to = endpoint(servers.v4, echo.port);
  const old = await sender.open({ from: endpoint(client.v4, 0) });
  await old.ask({ to, text: "before" });
  const before = (await echo.received()).from;
  await proxy.process.kill("SIGTERM");
  await proxy.event("draining", ({ openSessions }) => openSessions === 1);
  const carriedUntil = performance.now() + 3_000;
  let sentAt = 0;
  while (performance.now() < carriedUntil) {
    sentAt = performance.now();
    await old.ask({ to, text: "meanwhile" });
    assertEquals((await echo.received()).from, before);
    // Far more often than a session may be quiet (1 s), since a busy machine adds to it.
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const late = await sender.open({ from: endpoint(client.v4, 0) });
  await late.ask({ to, text: "late" });
  assertEquals((await echo.received()).from, endpoint(client.v4, late.port), "it passes us by");
  assertEquals(await proxy.exitCode(), 0);
  // A second after the last datagram, long before the drain timeout (30 s).
  assertGreaterOrEqual(performance.now() - sentAt, 800);
  assertLess(performance.now() - sentAt, 15_000);
  assertEquals((await proxy.event("stopped")).totals.udpSessionsOpened, 1);
});

labTest(
  "udp run: --udp off and --udp-ports leave the rest of UDP alone, --tcp off leaves TCP alone",
  async () => {
    await using lab = await gatewayLab();
    const here = lab.host("gateway"), internet = lab.host("internet");
    await using sender = new DatagramClient(lab.host("client"));
    await using web = await internet.serve({ kind: "echo" });
    await using talker = new Talker(lab.host("client"));
    const taken = async (flags: string[], ...ports: number[]): Promise<[string[], number]> => {
      await using proxy = await ProxyRun.start(here, ["--from", "lan0", ...flags]);
      const seen: string[] = [];
      for (const port of ports) seen.push(await seenBy(internet, sender, port));
      const talk = await talker.reach(servers.v4, web.port);
      await talk.close();
      await eventually("the connection has ended", async () => {
        const listing = await here.output(["ss", "-Htn", "state", "established"]);
        return !listing.includes(`:${web.port}`);
      }, 15_000);
      return [seen, (await proxy.stop()).tcpAccepted];
    };
    assertEquals(await taken(["--udp", "off"], 4001), [[client.v4], 1]);
    assertEquals(await taken(["--tcp", "off"], 4002), [[gateway.wanV4], 0]);
    const ranges = ["--udp-ports", "4010-4011,4020"];
    assertEquals(await taken(ranges, 4009, 4010, 4011, 4012, 4020), [
      [client.v4, gateway.wanV4, gateway.wanV4, client.v4, gateway.wanV4],
      1,
    ]);
  },
);
