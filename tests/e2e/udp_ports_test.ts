/**
 * Ports out of the ordinary: none at all, and more of them than there are sockets to answer from.
 */
import { assertEquals, assertGreater, assertLess } from "../assert.ts";
import { DatagramClient, type DatagramSpec, labTest } from "../lab/mod.ts";
import { DatagramSite, endpoint, FAMILIES, seenAs, SOURCES } from "./datagram_site.ts";

const FIRST_PORT = 2_000;
/** More than a worker has reply sockets (control/fd_budget.ts). */
const PORTS = 1_500;
/** So many answers fit into the client's buffer. */
const BURST = 100;
const CLIENT_PORT = 40_000;

for (const source of SOURCES) {
  labTest(
    `udp ports: source ${source}: answers from ${PORTS} ports, one after another and again`,
    async () => {
      await using site = await DatagramSite.start({ source, flags: ["--workers", "1"] });
      await using far = new DatagramClient(site.internet);
      for (const family of FAMILIES) {
        const socket = await site.open(family.client, CLIENT_PORT);
        const listener = await far.open({ from: endpoint(family.server, 0) });
        await socket.send({ to: listener.local, text: "here I am" });
        const { from: mapped } = await listener.received();
        const raw = await far.open({ from: endpoint(family.any, 0), raw: true });
        for (let from = 0; from < PORTS + BURST; from += BURST) {
          const ports = Array.from({ length: BURST }, (_, n) => FIRST_PORT + (from + n) % PORTS);
          const answers = ports.map((port): DatagramSpec => ({
            to: mapped,
            source: family.server,
            text: `${port}`,
            rawFromPort: port,
          }));
          assertEquals((await raw.send(...answers)).errors, {});
          for (const { from, text } of await socket.receivedAll(BURST)) {
            assertEquals(from, endpoint(family.server, Number(text)));
          }
        }
      }
      const descriptors = [...Deno.readDirSync(`/proc/${await site.proxy.process.outsidePid()}/fd`)].length;
      assertLess(descriptors, PORTS);
      const totals = await site.stop();
      assertEquals([totals.udpSendDropsDown, totals.udpReplyRaw], [0, 0]);
    },
  );
}

labTest("udp ports: port 0, as source and as destination, disturbs nobody", async () => {
  await using site = await DatagramSite.start();
  const echo = await site.internet.serveDatagrams({ kind: "echo" });
  await using far = new DatagramClient(site.internet);
  for (const family of FAMILIES) {
    const socket = await site.open(family.client, CLIENT_PORT);
    const to = endpoint(family.server, echo.port);
    await socket.ask({ to, text: "before" });
    const { from: mapped } = await echo.received();
    const raw = await site.client.open({ from: endpoint(family.any, 0), raw: true });
    // RFC 768: a sender that expects no answer may leave its port out.
    await raw.send({ to, source: family.client, text: "no answer wanted", rawFromPort: 0 });
    assertEquals((await echo.received()).text, "no answer wanted");
    await raw.send({
      to: endpoint(family.server, 0),
      source: family.client,
      text: "to nobody",
      rawFromPort: CLIENT_PORT,
    });
    const remote = await far.open({ from: endpoint(family.any, 0), raw: true });
    await remote.send({ to: mapped, source: family.server, text: "from no port", rawFromPort: 0 });
    const answer = await socket.ask({ to, text: "after" });
    // Either it has come with its port as it is, or not at all; with another port it would be somebody else's.
    const got = answer.text === "after" ? [answer] : [answer, await socket.received()];
    for (const { from, text } of got) assertEquals(from, text === "after" ? to : endpoint(family.server, 0));
    assertEquals((await echo.received()).text, "after");
  }
  const totals = await site.stop();
  assertGreater(totals.udpDatagramsUp, 0);
  // Client port 0 is an endpoint of its own.
  assertEquals(totals.udpSessionsOpened, 4);
});

for (const source of SOURCES) {
  labTest(`udp ports: source ${source}: the client has the server's port, as with NTP`, async () => {
    // What another worker's answering socket holds is as taken as anybody's.
    await using site = await DatagramSite.start({
      source,
      flags: ["--workers", "1"],
      lab: { secondClient: true },
    });
    await using second = new DatagramClient(site.lab.host("client2"));
    const servers = await Promise.all(
      [123, 27_015].map((port) => site.internet.serveDatagrams({ kind: "echo", port })),
    );
    for (const family of FAMILIES) {
      for (const [n, echo] of servers.entries()) {
        const to = endpoint(family.server, echo.port);
        // The answering socket is there before the session, or the session before the answering socket.
        const first = n === 0
          ? await site.open(family.client, echo.port)
          : await site.open(family.client, CLIENT_PORT);
        const then = n === 0 ? CLIENT_PORT : echo.port;
        assertEquals((await first.ask({ to, text: "first" })).from, to);
        assertEquals((await echo.received()).from, seenAs(source, family, first.port));
        const other = await site.open(family.client, then);
        assertEquals((await other.ask({ to, text: "second" })).from, to);
        assertEquals((await echo.received()).from, seenAs(source, family, then));
        await first.close();
        await other.close();
      }
      // And at another address as well, where the port is taken for the server's eyes.
      const to = endpoint(family.server, 123);
      const neighbour = await second.open({ from: endpoint(family.secondClient, 123) });
      assertEquals((await neighbour.ask({ to, text: "third" })).from, to);
      await servers[0]!.received();
    }
    const totals = await site.stop();
    assertEquals([totals.udpReplyRaw, totals.udpSendDropsDown], [0, 0]);
    assertEquals(totals.udpSourcePortChanged, source === "own" ? FAMILIES.length : 0);
  });
}
