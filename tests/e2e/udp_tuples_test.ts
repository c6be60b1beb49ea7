/**
 * Who talks to whom: the server sees the right client, the client the endpoint that it asked, with as many remotes and
 * as many clients as there are.
 */
import { assert, assertEquals, assertNotEquals } from "../assert.ts";
import { DatagramClient, type DatagramSpec, labTest, type MappingAnswer } from "../lab/mod.ts";
import { DatagramSite, endpoint, FAMILIES, seenAs, SOURCES } from "./datagram_site.ts";

const PORT = 40_000;
const REMOTES = 1000;

for (const source of SOURCES) {
  labTest(
    `udp tuples: source ${source}: both ends see whom they should, and so does the flow event`,
    async () => {
      await using site = await DatagramSite.start({ source });
      const echo = await site.internet.serveDatagrams({ kind: "echo" });
      for (const family of FAMILIES) {
        const socket = await site.open(family.client, PORT);
        const seen = seenAs(source, family, PORT);
        for (const address of [family.server, family.serverB, family.server]) {
          const to = endpoint(address, echo.port);
          assertEquals((await socket.ask({ to, text: "hello" })).from, to);
          const served = await echo.received();
          assertEquals([served.from, served.to, served.text], [seen, to, "hello"]);
        }
      }
      const totals = await site.stop();
      const flows = site.proxy.logged("flow");
      assertEquals(flows.length, FAMILIES.length);
      for (const family of FAMILIES) {
        const flow = flows.find((flow) => flow.client === endpoint(family.client, PORT))!;
        const { proto, destination, local, bytesUp, bytesDown, datagramsUp, datagramsDown, end } = flow;
        assertEquals({ proto, destination, local, bytesUp, bytesDown, datagramsUp, datagramsDown, end }, {
          proto: "udp",
          // The first of them.
          destination: endpoint(family.server, echo.port),
          local: seenAs(source, family, PORT),
          bytesUp: 15,
          bytesDown: 15,
          datagramsUp: 3,
          datagramsDown: 3,
          end: { reason: "shutdown", side: "proxy" },
        });
      }
      const { udpSessionsOpened, udpSessionsNow, udpDatagramsUp, udpDatagramsDown, udpBytesUp } = totals;
      assertEquals(
        { udpSessionsOpened, udpSessionsNow, udpDatagramsUp, udpDatagramsDown, udpBytesUp },
        { udpSessionsOpened: 2, udpSessionsNow: 0, udpDatagramsUp: 6, udpDatagramsDown: 6, udpBytesUp: 30 },
      );
      assertEquals(totals.udpSourcePortChanged, 0);
    },
  );

  labTest(`udp tuples: source ${source}: ${REMOTES} remotes from one socket of the client`, async () => {
    await using site = await DatagramSite.start({ source });
    // Whole prefixes are the internet host's own.
    const prefixes = ["198.51.100.0/24", "203.0.113.0/24", "2001:db8:100::/64"];
    for (const prefix of prefixes) {
      await site.internet.output(["ip", "route", "add", "local", prefix, "dev", "lo"]);
    }
    const mapping = await Promise.all(
      [1, 2].map(() => site.internet.serveDatagrams({ kind: "mapping", reports: false })),
    );
    for (const family of FAMILIES) {
      const socket = await site.open(family.client, PORT);
      const remotes = Array.from({ length: REMOTES }, (_, n) => {
        const [host, { port }] = [1 + (n >> 2), mapping[n & 1]!];
        if (family.name === "v6") return endpoint(`2001:db8:100::${(n >> 1) + 1}`, port);
        return endpoint(n & 2 ? `198.51.100.${host}` : `203.0.113.${host}`, port);
      });
      const answers = await socket.askAll(remotes.map((to): DatagramSpec => ({ to, text: "who am I?" })));
      assertEquals(answers.map(({ from }) => from).sort(), remotes.sort());
      for (const { from, text } of answers) {
        const answer = JSON.parse(text!) as MappingAnswer;
        assertEquals(answer, { mapped: seenAs(source, family, PORT), asked: from, from });
      }
    }
    const totals = await site.stop();
    assertEquals([totals.udpSessionsOpened, totals.udpDatagramsDown], [2, 2 * REMOTES]);
  });

  labTest(`udp tuples: source ${source}: one port at two client addresses is two sessions`, async () => {
    await using site = await DatagramSite.start({ source, lab: { secondClient: true } });
    const echo = await site.internet.serveDatagrams({ kind: "echo" });
    await using second = new DatagramClient(site.lab.host("client2"));
    for (const family of FAMILIES) {
      const to = endpoint(family.server, echo.port);
      const sockets = [
        await site.open(family.client, PORT),
        await second.open({ from: endpoint(family.secondClient, PORT) }),
      ];
      const seen: string[] = [];
      for (const round of [0, 1, 2]) {
        for (const [at, socket] of sockets.entries()) {
          const text = `${family.name} ${round} ${at}`;
          const answer = await socket.ask({ to, text });
          assertEquals([answer.from, answer.text], [to, text]);
          const { from } = await echo.received();
          if (round === 0) seen.push(from);
          else assertEquals(from, seen[at]);
        }
      }
      assertEquals(seen[0], seenAs(source, family, PORT));
      if (source === "keep") assertEquals(seen[1], endpoint(family.secondClient, PORT));
      else {
        assertNotEquals(seen[1], seen[0]);
        assertEquals(portOf(seen[1]!) % 2, PORT % 2);
      }
    }
    assertEquals((await site.stop()).udpSourcePortChanged, source === "keep" ? 0 : 2);
  });
}

labTest("udp tuples: a port that is taken on this host is replaced by one of the same parity", async () => {
  await using site = await DatagramSite.start();
  const echo = await site.internet.serveDatagrams({ kind: "echo" });
  await using holder = new DatagramClient(site.gateway);
  for (const family of FAMILIES) {
    for (const port of [PORT, PORT + 1, PORT + 2, PORT + 3]) {
      await holder.open({ from: endpoint(family.wan, port) });
      const socket = await site.open(family.client, port);
      await socket.ask({ to: endpoint(family.server, echo.port), text: "hello" });
      const seen = portOf((await echo.received()).from);
      assertNotEquals(seen, port);
      assertEquals(seen % 2, port % 2);
    }
  }
  assertEquals((await site.stop()).udpSourcePortChanged, 8);
});

labTest("udp tuples: a session that has ended is no obstacle to the next one of the same port", async () => {
  await using site = await DatagramSite.start({
    flags: ["--max-sessions", "1", "--max-sessions-per-client", "0", "--workers", "1"],
  });
  const echo = await site.internet.serveDatagrams({ kind: "echo" });
  for (const family of FAMILIES) {
    const to = endpoint(family.server, echo.port);
    const [socket, other] = [await site.open(family.client, PORT), await site.open(family.client, PORT + 1)];
    for (let round = 0; round < 5; round++) {
      // The second socket's session takes the place of the first one's.
      for (const each of [socket, other]) {
        const text = `${family.name} ${round} ${each.port}`;
        assertEquals((await each.ask({ to, text })).text, text);
        assertEquals((await echo.received()).from, endpoint(family.wan, each.port));
      }
    }
  }
  const totals = await site.stop();
  assertEquals([totals.udpSessionsOpened, totals.udpSourcePortChanged], [20, 0]);
  assert(totals.udpEvictedLimit === 19, `${totals.udpEvictedLimit} evicted`);
});

function portOf(text: string): number {
  return Number(text.slice(text.lastIndexOf(":") + 1));
}
