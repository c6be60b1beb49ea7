/**
 * A worker that throws while it carries UDP sessions: what becomes of them.
 */
import { assertEquals, assertGreater } from "../assert.ts";
import { type ClientSocket, DatagramClient, GATEWAY_LAB, gatewayLab, labTest } from "../lab/mod.ts";
import { endpoint, FAMILIES } from "./datagram_site.ts";
import { ProxyRun } from "./proxy_run.ts";

const { gateway } = GATEWAY_LAB;
const THROWING_MAIN = new URL("../fixtures/throwing_main.ts", import.meta.url).href;
/** So many that the hash of client endpoints leaves no worker without one: 2^-15 is the chance of it. */
const MANY = 16;

labTest(
  "udp: a worker that throws: the other one's sessions go on, its own are made anew by the next datagram",
  async () => {
    await using lab = await gatewayLab();
    await using sender = new DatagramClient(lab.host("client"));
    const echo = await lab.host("internet").serveDatagrams({ kind: "echo" });
    await using proxy = await ProxyRun.start(lab.host("gateway"), ["udp"], { main: THROWING_MAIN });
    const sockets: [ClientSocket, to: string, wan: string][] = [];
    for (let i = 0; i < MANY; i++) {
      const family = FAMILIES[i % 2]!;
      const socket = await sender.open({ from: endpoint(family.client, 0) });
      sockets.push([socket, endpoint(family.server, echo.port), family.wan]);
    }
    const askAll = async () => {
      const seen: string[] = [];
      for (const [socket, to, wan] of sockets) {
        assertEquals((await socket.ask({ to, text: "hello" })).from, to);
        seen.push((await echo.received()).from);
        // The number is the client's own, before and after.
        assertEquals(seen.at(-1), endpoint(wan, socket.port));
      }
    };
    await askAll();

    const trigger = await sender.open({ from: endpoint(GATEWAY_LAB.client.v4, 0) });
    const ports = [7870, 7871];
    for (const [nth, port] of ports.entries()) {
      await trigger.send({ to: endpoint(gateway.v4, port), text: "loop" });
      let deaths = 0, restarts = 0;
      const death = await proxy.event("worker-died", () => deaths++ === nth);
      assertEquals([death.worker, death.message], [nth, "fixture: a fault"]);
      await proxy.event("worker-restarted", () => restarts++ === nth);
      await askAll();
    }

    const totals = await proxy.stop();
    // Each worker died once, so each session was made twice and none more often.
    assertEquals(totals.udpSessionsOpened, 2 * MANY);
    assertEquals([totals.udpSessionsNow, totals.udpReplySocketsNow, totals.udpRefusedLoop], [0, 0, 2]);
    const flows = proxy.logged("flow").filter(({ proto }) => proto === "udp");
    assertEquals(flows.length, 2 * MANY);
    assertEquals(flows.reduce((sum, { datagramsDown = 0 }) => sum + datagramsDown, 0), 3 * MANY);
    assertGreater(flows.filter(({ end }) => end.reason === "shutdown").length, MANY - 1);
  },
);
