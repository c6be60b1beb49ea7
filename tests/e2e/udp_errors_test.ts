/**
 * What comes back when a datagram does not arrive: the client hears of it as if nobody were in between.
 */
import { assertEquals, assertGreater, assertLess, assertStringIncludes } from "../assert.ts";
import { type ClientSocket, type DatagramSpec, labTest } from "../lab/mod.ts";
import { DatagramSite, endpoint, FAMILIES, SOURCES } from "./datagram_site.ts";

const CLOSED = 9;
/** A client that hears nothing would wait for seconds. */
const FAST_MS = 1500;

for (const source of SOURCES) {
  labTest(`udp errors: source ${source}: a port where nobody listens refuses at once`, async () => {
    await using site = await DatagramSite.start({ source });
    for (const family of FAMILIES) {
      const to = endpoint(family.server, CLOSED);
      const socket = await site.open(family.client);
      for (const text of ["first", "second", ""]) {
        const { atMs: sentMs } = await socket.send({ to, text });
        const { atMs, code, offender, to: told, quoted, origin } = await socket.failed();
        assertEquals({ code, offender, told, quoted }, {
          code: "ECONNREFUSED",
          offender: family.server,
          told: to,
          quoted: text,
        });
        assertStringIncludes(origin, "icmp");
        assertLess(atMs - sentMs, FAST_MS);
      }
      // What a resolver's library does: a connected socket, no error queue.
      const connected = await site.client.open({ to, queueErrors: false });
      await connected.send({ text: "anybody there?" });
      assertEquals((await connected.failed()).code, "ECONNREFUSED");
    }
    assertEquals((await site.stop()).udpIcmpSent, 8);
  });

  labTest(`udp errors: source ${source}: an error for one destination leaves the others alone`, async () => {
    await using site = await DatagramSite.start({ source });
    const echo = await site.internet.serveDatagrams({ kind: "echo" });
    for (const family of FAMILIES) {
      const [open, closed] = [endpoint(family.server, echo.port), endpoint(family.serverB, CLOSED)];
      const socket = await site.open(family.client);
      for (let round = 0; round < 5; round++) {
        // In one batch: the error is there before the next datagram is sent, or comes between.
        await socket.send(
          { to: closed, text: `closed ${round}` },
          { to: open, text: `open ${round}` },
          { to: open, text: `open again ${round}` },
        );
        assertEquals((await socket.failed()).to, closed);
        assertEquals((await socket.receivedAll(2)).map(({ text }) => text), [
          `open ${round}`,
          `open again ${round}`,
        ]);
      }
    }
    assertEquals((await site.stop()).udpSendDropsUp, 0);
  });

  labTest(`udp errors: source ${source}: a host that cannot be reached is said to be so`, async () => {
    await using site = await DatagramSite.start({ source });
    for (const family of FAMILIES) {
      await site.internet.unreachable(`${family.nowhere}/${family.name === "v4" ? 32 : 128}`);
      const to = endpoint(family.nowhere, CLOSED);
      const socket = await site.open(family.client);
      await socket.send({ to, text: "anybody there?" });
      const { code, to: told, icmpType, quoted } = await socket.failed();
      // "Host unreachable", and ICMPv6's "no route to destination".
      const isV4 = family.name === "v4";
      assertEquals({ code, told, icmpType, quoted }, {
        code: isV4 ? "EHOSTUNREACH" : "ENETUNREACH",
        told: to,
        icmpType: isV4 ? 3 : 1,
        quoted: "anybody there?",
      });
    }
  });

  labTest(`udp errors: source ${source}: a gateway without a route says so itself`, async () => {
    await using site = await DatagramSite.start({ source });
    const echo = await site.internet.serveDatagrams({ kind: "echo" });
    for (const family of FAMILIES) {
      const socket = await site.open(family.client);
      const open = endpoint(family.server, echo.port);
      await socket.ask({ to: open, text: "before" });
      const prefix = `${family.nowhere}/${family.name === "v4" ? 32 : 128}`;
      await site.gateway.unreachable(prefix);
      const to = endpoint(family.nowhere, CLOSED);
      await socket.send({ to, text: "anybody there?" });
      const { code, to: told, quoted } = await socket.failed();
      assertEquals([code, told, quoted], ["EHOSTUNREACH", to, "anybody there?"]);
      assertEquals((await socket.ask({ to: open, text: "after" })).text, "after");
    }
  });
}

labTest(
  "udp errors: a flood of refusals is passed on at a limited rate, and the rest is counted",
  async () => {
    const flood = 500;
    await using site = await DatagramSite.start();
    // The server's own limit would come first.
    const unlimited =
      "echo 0 > /proc/sys/net/ipv4/icmp_ratelimit; echo 0 > /proc/sys/net/ipv6/icmp/ratelimit";
    await site.internet.output(["sh", "-ec", unlimited]);
    const echo = await site.internet.serveDatagrams({ kind: "echo" });
    const sockets: ClientSocket[] = [];
    for (const family of FAMILIES) {
      const socket = await site.open(family.client);
      const datagrams = Array.from({ length: flood }, (): DatagramSpec => {
        return { to: endpoint(family.server, CLOSED), text: "anybody there?" };
      });
      await socket.send(...datagrams);
      assertEquals((await socket.failed()).code, "ECONNREFUSED");
      // Behind all of the flood.
      await socket.ask({ to: endpoint(family.server, echo.port), text: "you are" });
      sockets.push(socket);
    }
    const { udpIcmpSent, udpIcmpSuppressed } = await site.stop();
    const told = sockets.map(({ errorCount }) => errorCount).reduce((sum, count) => sum + count);
    assertEquals(told, udpIcmpSent);
    assertGreater(udpIcmpSuppressed, 0);
    assertGreater(udpIcmpSent, FAMILIES.length);
    // What an error queue had no room for is neither; none is told twice.
    assertLess(udpIcmpSent + udpIcmpSuppressed, FAMILIES.length * flood + 1);
  },
);
