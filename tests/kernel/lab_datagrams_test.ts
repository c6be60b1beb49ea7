/**
 * The lab's datagram peers over plain forwarding: what they report is what was on the wire.
 *
 * @module
 */
import { assertEquals, assertGreater } from "../assert.ts";
import {
  DatagramClient,
  GATEWAY_LAB,
  gatewayLab,
  labTest,
  type MappingAnswer,
  seededSha256,
} from "../lab/mod.ts";
import { runLoad } from "../lab/datagram_load_run.ts";

const { servers, client: own, gateway } = GATEWAY_LAB;
const FAMILIES = [
  { server: servers.v4, other: servers.v4b, from: own.v4, router: gateway.v4, headers: 28 },
  { server: servers.v6, other: servers.v6b, from: own.v6, router: gateway.v6, headers: 48 },
] as const;

function at(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

labTest(
  "datagrams: echo gives back bytes, TOS and the address asked, from nothing to the longest",
  async () => {
    await using lab = await gatewayLab();
    await using echo = await lab.host("internet").serveDatagrams({ kind: "echo" });
    await using client = new DatagramClient(lab.host("client"));
    for (const { server, other, from } of FAMILIES) {
      const socket = await client.open({ from: at(from, 40_000) });
      for (const [n, bytes] of [0, 1, 1472, 9_000, 65_507 - (from.includes(":") ? 20 : 0)].entries()) {
        const to = at(n % 2 === 0 ? server : other, echo.port);
        const answer = await socket.ask({ to, bytes, seed: n, tos: 0xb8 | n % 4 });
        const sha256 = seededSha256(n, bytes);
        assertEquals([answer.from, answer.bytes, answer.tos, answer.sha256], [
          to,
          bytes,
          0xb8 | n % 4,
          sha256,
        ]);
        const { from: seen, to: asked, tos, bytes: length, sha256: digest } = await echo.received();
        assertEquals([seen, asked, tos, length, digest], [at(from, 40_000), to, 0xb8 | n % 4, bytes, sha256]);
      }
      assertEquals((await socket.send({ to: at(server, echo.port), bytes: 65_536 })).errors, {
        0: "EMSGSIZE",
      });
    }
  },
);

labTest("datagrams: a mapping server answers from where it is asked to", async () => {
  await using lab = await gatewayLab();
  await using mapping = await lab.host("internet").serveDatagrams({ kind: "mapping" });
  await using client = new DatagramClient(lab.host("client"));
  for (const { server, other, from } of FAMILIES) {
    const socket = await client.open({ from: at(from, 40_000) });
    const asked = at(server, mapping.port);
    const places = [asked, at(server, 4000), at(other, mapping.port), at(other, 4001)];
    await socket.send({ to: asked, text: JSON.stringify({ from: places }) });
    for (const place of places) {
      const answer = await socket.received();
      const said = JSON.parse(answer.text!) as MappingAnswer;
      assertEquals([answer.from, said], [place, { mapped: socket.local, asked, from: place }]);
    }
  }
});

labTest("datagrams: errors tell their ICMP message and what it quotes, or fail a call", async () => {
  await using lab = await gatewayLab({ wanMtu: 1400 });
  await using client = new DatagramClient(lab.host("client"));
  for (const { server, from, router, headers } of FAMILIES) {
    const socket = await client.open({ from: at(from, 0), discover: "probe" });
    const closed = at(server, 9);
    await socket.send({ to: closed, text: "anybody there?" });
    const { code, offender, to, quoted } = await socket.failed();
    assertEquals([code, offender, to, quoted], ["ECONNREFUSED", server, closed, "anybody there?"]);
    await socket.send({ to: closed, bytes: 1500 - headers });
    const tooBig = await socket.failed();
    assertEquals([tooBig.code, tooBig.info, tooBig.offender, tooBig.to], ["EMSGSIZE", 1400, router, closed]);
    assertEquals((await socket.send({ to: closed, bytes: 1501 - headers })).errors, { 0: "EMSGSIZE" });

    const connected = await client.open({ to: closed, queueErrors: false });
    await connected.send({ text: "anybody there?" });
    assertEquals((await connected.failed()).code, "ECONNREFUSED");
  }
});

labTest("datagrams: UDP_SEGMENT leaves as one and arrives as many, or as one for UDP_GRO", async () => {
  await using lab = await gatewayLab();
  await using client = new DatagramClient(lab.host("client"));
  await using receiver = new DatagramClient(lab.host("internet"));
  for (const { server, from } of FAMILIES) {
    const sender = await client.open({ from: at(from, 0) });
    const [plain, merged] = [
      await receiver.open({ from: at(server, 0) }),
      await receiver.open({ from: at(server, 0), segments: true }),
    ];
    await sender.send({ to: plain.local, bytes: 2500, segment: 1000 });
    assertEquals((await plain.receivedAll(3)).map(({ bytes }) => bytes), [1000, 1000, 500]);
    await sender.send({ to: merged.local, bytes: 2500, segment: 1000 });
    const { bytes, segment, sha256 } = await merged.received();
    assertEquals([bytes, segment, sha256], [2500, 1000, seededSha256(1, 2500)]);
  }
});

labTest("datagrams: a load is whole, and what the network drops, doubles or changes is noticed", async () => {
  await using lab = await gatewayLab();
  const addresses = Object.values(servers);
  await using load = await lab.host("internet").serveDatagrams({ kind: "load", addresses });
  const spec = { to: addresses.map((address) => at(address, load.port)), flows: 40, datagrams: 50 };
  const result = await runLoad(lab.host("client"), spec);
  const none = { duplicates: 0, corrupt: 0, misdelivered: 0, wrongSource: 0, sendErrors: {} };
  const { durationMs: _, ...counts } = result;
  assertEquals(counts, { sent: 2000, answered: 2000, ...none });
  assertEquals(await load.sums(), {
    received: 2000,
    answered: 2000,
    duplicates: 0,
    corrupt: 0,
    otherSource: 0,
  });

  // Of the answers that fit into one packet, every hundredth is lost.
  const rules = `table inet spoil {
  chain forward {
    type filter hook forward priority 0;
    iifname "wan0" udp length < 1400 numgen inc mod 100 == 0 counter drop
  }
}`;
  await lab.host("gateway").output(["nft", "-f", "-"], { stdin: rules });
  await using another = await lab.host("internet").serveDatagrams({ kind: "load", addresses: [servers.v4] });
  const lossy = { to: [at(servers.v4, another.port)], flows: 8, datagrams: 100 };
  const lost = await runLoad(lab.host("client"), lossy);
  const dropped = /counter packets (\d+)/.exec(await lab.host("gateway").output(["nft", "list", "ruleset"]));
  assertGreater(Number(dropped![1]), 0);
  assertEquals([lost.sent, lost.sent - lost.answered], [800, Number(dropped![1])]);
  assertEquals((await another.sums()).answered, 800);

  // The server knows these numbers already: it takes all of them for doubles.
  await runLoad(lab.host("client"), { ...lossy, flows: 2, datagrams: 20 });
  assertEquals((await another.sums()).duplicates, 40);
});
