/**
 * What is in the datagrams, and what comes with them: any length, TOS and ECN, order, segments, don't-fragment.
 */
import { assertEquals, assertGreater, assertStringIncludes } from "../assert.ts";
import { DatagramClient, type DatagramSpec, GATEWAY_LAB, labTest, seededSha256 } from "../lab/mod.ts";
import { DatagramSite, endpoint, FAMILIES, SOURCES } from "./datagram_site.ts";

for (const source of SOURCES) {
  labTest(`udp bytes: source ${source}: every length, in both directions`, async () => {
    await using site = await DatagramSite.start({ source });
    const echo = await site.internet.serveDatagrams({ kind: "echo" });
    for (const family of FAMILIES) {
      const socket = await site.open(family.client);
      const to = endpoint(family.server, echo.port);
      for (const bytes of [0, 1, 508, 509, 1452, 1472, 1473, 9000, family.longest]) {
        const answer = await socket.ask({ to, bytes, seed: bytes });
        const sha256 = seededSha256(bytes, bytes);
        assertEquals([answer.from, answer.bytes, answer.sha256], [to, bytes, sha256]);
        const served = await echo.received();
        assertEquals([served.bytes, served.sha256], [bytes, sha256]);
      }
    }
    const totals = await site.stop();
    assertEquals([totals.udpTruncated, totals.udpTooBig, totals.udpSendDropsDown], [0, 0, 0]);
  });

  labTest(`udp bytes: source ${source}: TOS and ECN of each datagram, each way its own`, async () => {
    await using site = await DatagramSite.start({ source });
    for (const answered of [undefined, 0x51]) {
      const echo = await site.internet.serveDatagrams({
        kind: "echo",
        ...(answered === undefined ? {} : { tos: answered }),
      });
      for (const family of FAMILIES) {
        const socket = await site.open(family.client);
        const to = endpoint(family.server, echo.port);
        for (const tos of [0, 0b01, 0b10, 0b11, 0xb8, 0xb9, 0xff, 0]) {
          assertEquals((await socket.ask({ to, text: "marked", tos })).tos, answered ?? tos);
          assertEquals((await echo.received()).tos, tos);
        }
        // In one batch as well.
        const mixed = Array.from({ length: 16 }, (_, n): DatagramSpec => ({ to, text: `${n}`, tos: n % 4 }));
        await socket.send(...mixed);
        const answers = await socket.receivedAll(mixed.length);
        assertEquals(
          answers.map(({ text, tos }) => [text, tos]),
          mixed.map(({ text, tos }) => [text!, answered ?? tos]),
        );
        for (const { text, tos } of mixed) {
          const served = await echo.received();
          assertEquals([served.text, served.tos], [text, tos]);
        }
      }
    }
  });

  labTest(`udp bytes: source ${source}: don't-fragment is heeded, and its absence too`, async () => {
    const mtu = 1400;
    await using site = await DatagramSite.start({ source, lab: { wanMtu: mtu } });
    const echo = await site.internet.serveDatagrams({ kind: "echo" });
    for (const family of FAMILIES) {
      const to = endpoint(family.server, echo.port);
      const fits = mtu - family.headers, tooBig = 1500 - family.headers;
      const strict = await site.client.open({ from: endpoint(family.client, 0), discover: "probe" });
      assertEquals((await strict.ask({ to, bytes: fits })).bytes, fits);
      for (const bytes of [fits + 1, tooBig]) {
        await strict.send({ to, bytes, seed: 7 });
        const { code, info, to: told, origin, quoted } = await strict.failed();
        assertEquals([code, info, told], ["EMSGSIZE", mtu, to]);
        assertStringIncludes(origin, "icmp");
        assertGreater(quoted.length, 0);
      }
      // It has not been given up on.
      assertEquals((await strict.ask({ to, bytes: fits })).bytes, fits);

      // Without it, whatever is too big is cut: by the proxy, and for IPv6 by the client, whose kernel knows the way now.
      const lenient = await site.client.open({ from: endpoint(family.client, 0), discover: "dont" });
      for (const bytes of [fits, fits + 1, tooBig, 5000]) {
        assertEquals((await lenient.ask({ to, bytes, seed: bytes })).sha256, seededSha256(bytes, bytes));
      }

      // What programs have that ask for nothing: told once, the kernel cuts by itself.
      const ordinary = await site.client.open({ from: endpoint(family.client, 0), discover: "want" });
      const other = endpoint(family.serverB, echo.port);
      await ordinary.send({ to: other, bytes: tooBig, seed: 3 });
      assertEquals((await ordinary.failed()).info, mtu);
      assertEquals(
        (await ordinary.ask({ to: other, bytes: tooBig, seed: 3 })).sha256,
        seededSha256(3, tooBig),
      );
    }
    const totals = await site.stop();
    assertGreater(totals.udpTooBig, 0);
    assertEquals(totals.udpIcmpSent, totals.udpTooBig);
  });
}

for (const source of SOURCES) {
  labTest(`udp bytes: source ${source}: a link far away that takes less is heard of, too`, async () => {
    const mtu = 1300;
    await using site = await DatagramSite.start({ source, lab: { farMtu: mtu } });
    const echo = await site.lab.host("far").serveDatagrams({ kind: "echo" });
    for (const family of FAMILIES) {
      const to = endpoint(GATEWAY_LAB.far[family.name], echo.port);
      const fits = mtu - family.headers, tooBig = 1500 - family.headers;
      const strict = await site.client.open({ from: endpoint(family.client, 0), discover: "probe" });
      assertEquals((await strict.ask({ to, bytes: fits, seed: 1 })).sha256, seededSha256(1, fits));
      // At first a router says so, then the gateway's kernel knows.
      for (let round = 0; round < 3; round++) {
        await strict.send({ to, bytes: tooBig });
        const { code, info, to: told } = await strict.failed();
        assertEquals([code, info, told], ["EMSGSIZE", mtu, to]);
      }
      const ordinary = await site.client.open({ from: endpoint(family.client, 0) });
      assertEquals((await ordinary.ask({ to, bytes: tooBig, seed: 2 })).sha256, seededSha256(2, tooBig));
      const lenient = await site.client.open({ from: endpoint(family.client, 0), discover: "dont" });
      assertEquals((await lenient.ask({ to, bytes: tooBig, seed: 3 })).sha256, seededSha256(3, tooBig));
    }
  });
}

labTest("udp bytes: the order within a flow is kept, in both directions", async () => {
  await using site = await DatagramSite.start();
  const echo = await site.internet.serveDatagrams({ kind: "echo" });
  const count = 500;
  for (const family of FAMILIES) {
    const socket = await site.open(family.client);
    const to = endpoint(family.server, echo.port);
    // Of all kinds of lengths, so that some can be joined to one send and some cannot.
    const texts = Array.from({ length: count }, (_, n) => `${n} ${"x".repeat(n % 7 === 0 ? n % 300 : 100)}`);
    const answers = await socket.askAll(texts.map((text): DatagramSpec => ({ to, text })));
    assertEquals(answers.map(({ text }) => text), texts);
    for (const text of texts) assertEquals((await echo.received()).text, text);
  }
});

for (const source of SOURCES) {
  labTest(
    `udp bytes: source ${source}: what is sent as UDP_SEGMENT arrives whole, whoever receives it`,
    async () => {
      await using site = await DatagramSite.start({ source });
      await using far = new DatagramClient(site.internet);
      for (const family of FAMILIES) {
        const near = await site.client.open({ from: endpoint(family.client, 0), segments: true });
        const merged = await far.open({ from: endpoint(family.server, 0), segments: true });
        const single = await far.open({ from: endpoint(family.server, 0) });
        const bytes = 30 * 1200 + 77;
        // Before the first answers nobody asks the upstream socket for merged packets: whole is what counts there.
        await near.send({ to: merged.local, bytes, seed: 1, segment: 1200 });
        const up = await merged.received();
        assertEquals([up.bytes, up.segment, up.sha256], [bytes, 1200, seededSha256(1, bytes)]);
        await merged.send({ to: up.from, bytes, seed: 2, segment: 1200 });
        let down = 0;
        while (down < bytes) down += (await near.received()).bytes;
        assertEquals(down, bytes);
        await merged.send({ to: up.from, bytes, seed: 3, segment: 1200 });
        const again = await near.received();
        assertEquals([again.bytes, again.segment, again.sha256], [bytes, 1200, seededSha256(3, bytes)]);

        await near.send({ to: single.local, bytes: 2500, segment: 1200 });
        assertEquals((await single.receivedAll(3)).map(({ bytes }) => bytes), [1200, 1200, 100]);
      }
      const totals = await site.stop();
      assertEquals([totals.udpDatagramsUp, totals.udpDatagramsDown], [2 * (31 + 3), 2 * 2 * 31]);
    },
  );
}
