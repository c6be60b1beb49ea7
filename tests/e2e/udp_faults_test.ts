/**
 * Things that go wrong around the proxy: what it loses by them, and that it loses no more.
 */
import { assert, assertEquals, assertStringIncludes } from "../assert.ts";
import { type ClientSocket, DatagramClient, GATEWAY_LAB, labTest, seededSha256 } from "../lab/mod.ts";
import { DatagramSite, endpoint, FAMILIES, type Family, SOURCES } from "./datagram_site.ts";
import { eventually } from "./proxy_run.ts";

const OUR_PORT = 7870;
const CLIENT_PORT = 40_000;
const ANSWER_MS = 500;

/** Asks until there is an answer: what was on its way in a moment of trouble may be lost. */
async function reach(socket: ClientSocket, to: string): Promise<void> {
  let asked = 0;
  await eventually(`${to} answers`, async () => {
    const text = `question ${asked++}`;
    await socket.send({ to, text });
    return await socket.received(ANSWER_MS).then(() => true, () => false);
  }, 10_000);
}

for (const source of SOURCES) {
  labTest(
    `udp faults: source ${source}: a port that another program holds on every address still answers, raw`,
    async () => {
      await using site = await DatagramSite.start({ source });
      await using holders = new DatagramClient(site.gateway);
      const echo = await site.internet.serveDatagrams({ kind: "echo" });
      for (const family of FAMILIES) {
        // As a resolver holds port 53: without SO_REUSEADDR.
        const holder = await holders.open({ from: endpoint(family.any, echo.port) });
        const socket = await site.open(family.client, CLIENT_PORT);
        for (const bytes of [0, 1, 1200, 1473, 9000, family.longest]) {
          const to = endpoint(family.server, echo.port);
          const answer = await socket.ask({ to, bytes, seed: bytes, tos: 0xb9 });
          assertEquals([answer.from, answer.bytes, answer.sha256], [to, bytes, seededSha256(bytes, bytes)]);
          assertEquals(answer.tos, 0xb9);
        }
        // The holder has heard nothing of it.
        assertEquals(holder.receivedCount, 0);
        await socket.send({ to: endpoint(family.lan, echo.port), text: "for the holder" });
        assertEquals((await holder.received()).text, "for the holder");
      }
      const warning = await site.proxy.event("warning", ({ code }) => code === "reply-port-taken");
      assertStringIncludes(warning.message, `${echo.port}`);
      const totals = await site.stop();
      assertEquals([totals.udpReplyRaw, totals.udpDatagramsDown, totals.udpSendDropsDown], [12, 12, 0]);
    },
  );
}

labTest("udp faults: a datagram to our own port is dropped, counted and warned of", async () => {
  await using site = await DatagramSite.start({ flags: ["--local"] });
  const echo = await site.internet.serveDatagrams({ kind: "echo", port: OUR_PORT });
  await using local = new DatagramClient(site.gateway);
  let dropped = 0;
  for (const family of FAMILIES) {
    const socket = await site.open(family.client, CLIENT_PORT);
    const mine = await local.open({ from: endpoint(family.name === "v4" ? "127.0.0.1" : "::1", 0) });
    for (const port of [OUR_PORT, OUR_PORT + 1]) {
      await socket.send({ to: endpoint(family.lan, port), text: "to you?" });
      await socket.send({ to: endpoint(family.wan, port), text: "to you?" });
      await mine.send({ to: endpoint(family.name === "v4" ? "127.0.0.1" : "::1", port), text: "to you?" });
      dropped += 3;
    }
    // The same number on another host is a port like any other.
    const to = endpoint(family.server, echo.port);
    assertEquals((await socket.ask({ to, text: "to him" })).from, to);
    assertEquals([socket.receivedCount, mine.receivedCount], [1, 0]);
  }
  const warning = await site.proxy.event("warning", ({ code }) => code === "udp-loop");
  assert(warning.hint !== undefined);
  const totals = await site.stop();
  assertEquals([totals.udpRefusedLoop, totals.udpSessionsOpened], [dropped, FAMILIES.length]);
});

for (const source of SOURCES) {
  labTest(`udp faults: source ${source}: an interface that goes down and comes up again`, async () => {
    await using site = await DatagramSite.start({ source });
    const echo = await site.internet.serveDatagrams({ kind: "echo" });
    const sockets: [Family, ClientSocket][] = [];
    for (const family of FAMILIES) {
      const socket = await site.open(family.client, CLIENT_PORT);
      await reach(socket, endpoint(family.server, echo.port));
      sockets.push([family, socket]);
    }
    const { gateway } = GATEWAY_LAB;
    const wanBack =
      `ip addr replace ${gateway.wanV6}/64 dev wan0 nodad; ip route replace default via 198.18.0.2; ` +
      "ip route replace default via 2001:db8:ffff::2";
    const lanBack = `ip addr replace ${gateway.v6}/64 dev lan0 nodad`;
    for (const [link, back] of [["wan0", wanBack], ["lan0", lanBack]] as const) {
      await site.gateway.output(["ip", "link", "set", link, "down"]);
      for (const [family, socket] of sockets) {
        await socket.send({ to: endpoint(family.server, echo.port), text: "into the dark" });
      }
      // Going down takes IPv6 addresses and the routes along.
      await site.gateway.output(["sh", "-ec", `ip link set ${link} up; ${back}`]);
      for (const [family, socket] of sockets) await reach(socket, endpoint(family.server, echo.port));
    }
    const totals = await site.stop();
    // The sessions have lived through it.
    assertEquals([totals.udpSessionsOpened, totals.udpSessionErrors], [2, 0]);
  });
}
