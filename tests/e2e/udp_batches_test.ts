/**
 * What has come while the proxy was busy is taken and sent in batches: datagrams next to each other in one must not
 * take anything from each other. The proxy is stopped while they come, so that they are in one batch for certain.
 */
import { assertEquals } from "../assert.ts";
import { type ClientSocket, DatagramClient, type DatagramSpec, labTest, seededSha256 } from "../lab/mod.ts";
import { DatagramSite, endpoint, FAMILIES, SOURCES } from "./datagram_site.ts";

/** Lengths that must not be joined, or not all, or not beyond 64 KiB; no more of them than a receive buffer takes. */
const RUNS: Readonly<Record<string, readonly number[]>> = {
  "nothing in them": Array(10).fill(0),
  "nothing between others": [5, 0, 5, 0, 0, 5, 5, 0],
  "longer and shorter": [100, 100, 200, 100, 99, 99, 1, 1, 1, 2, 1, 0, 1],
  "one length, many": Array(100).fill(33),
  "one length, long": Array(50).fill(1352),
  "too long for one packet": [1473, 1473, 1473, 3000, 3000, 1373, 1373, 20],
  "as long as can be": [30_000, 30_000, 1, 1, 40_000],
};

/** While the proxy does nothing. */
async function meanwhile(site: DatagramSite, work: () => Promise<unknown>): Promise<void> {
  await site.proxy.process.kill("SIGSTOP");
  await work();
  await site.proxy.process.kill("SIGCONT");
}

for (const source of SOURCES) {
  labTest(`udp batches: source ${source}: lengths next to each other, both ways`, async () => {
    await using site = await DatagramSite.start({
      source,
      flags: ["--workers", "1"],
      lab: { wanMtu: 1400, clientMtu: 1400 },
    });
    await using far = new DatagramClient(site.internet);
    for (const family of FAMILIES) {
      // Without don't-fragment: too long is for the proxy to cut.
      const client = await site.client.open({ from: endpoint(family.client, 0), discover: "dont" });
      const server = await far.open({ from: endpoint(family.server, 0), discover: "dont" });
      await client.send({ to: server.local, text: "here I am" });
      const { from: mapped } = await server.received();
      for (const [name, lengths] of Object.entries(RUNS)) {
        const datagrams = (to: string) => lengths.map((bytes, n): DatagramSpec => ({ to, bytes, seed: n }));
        await meanwhile(site, () => client.send(...datagrams(server.local)));
        await assertAll(server, lengths, mapped, `${family.name} up: ${name}`);
        await meanwhile(site, () => server.send(...datagrams(mapped)));
        await assertAll(client, lengths, server.local, `${family.name} down: ${name}`);
      }
    }
    const totals = await site.stop();
    assertEquals([totals.udpSendDropsUp, totals.udpSendDropsDown, totals.udpReceiveDrops], [0, 0, 0]);
  });

  labTest(`udp batches: source ${source}: with don't-fragment and without, next to each other`, async () => {
    const mtu = 1400;
    await using site = await DatagramSite.start({ source, flags: ["--workers", "1"], lab: { wanMtu: mtu } });
    await using far = new DatagramClient(site.internet);
    for (const family of FAMILIES) {
      // The kernel sets it on what fits into the first link, and cuts what does not.
      const client = await site.client.open({ from: endpoint(family.client, 0), discover: "want" });
      const server = await far.open({ from: endpoint(family.server, 0) });
      const whole = 1500 - family.headers;
      const lengths = [whole, 3000, whole, whole, 3000, 3000, 600, whole, 600, 100];
      const datagrams = lengths.map((bytes, n): DatagramSpec => ({ to: server.local, bytes, seed: n }));
      await meanwhile(site, () => client.send(...datagrams));
      const got = await server.receivedAll(lengths.filter((bytes) => bytes !== whole).length);
      const wanted = lengths.flatMap((bytes, n) => bytes === whole ? [] : [seededSha256(n, bytes)]);
      assertEquals(got.map(({ sha256 }) => sha256), wanted, family.name);
      for (const _ of lengths.filter((bytes) => bytes === whole)) {
        const { code, info, to } = await client.failed();
        assertEquals([code, info, to], ["EMSGSIZE", mtu, server.local]);
      }
    }
  });

  labTest(`udp batches: source ${source}: flows, destinations and TOS next to each other`, async () => {
    await using site = await DatagramSite.start({ source, flags: ["--workers", "1"] });
    const echo = await site.internet.serveDatagrams({ kind: "echo", reports: false });
    const closed = 9;
    for (const family of FAMILIES) {
      const sockets = await Promise.all([0, 1, 2].map(() => site.open(family.client)));
      const to = [family.server, family.serverB].map((address) => endpoint(address, echo.port));
      const nobody = endpoint(family.serverB, closed);
      await meanwhile(site, async () => {
        for (let n = 0; n < 60; n++) {
          const socket = sockets[n % 7 % 3]!;
          // The same length for all, so that only the rest of it keeps them apart.
          const text = `${`${n}`.padStart(3)} of ${socket.port}`;
          await socket.send({ to: to[n % 5 % 2]!, text, tos: n % 3 });
          if (n % 20 === 10) {
            await socket.send({ to: nobody, text: `${`${n}`.padStart(3)} of ${socket.port}` });
          }
        }
      });
      for (const [at, socket] of sockets.entries()) {
        const numbers = Array.from({ length: 60 }, (_, n) => n).filter((n) => n % 7 % 3 === at);
        for (const n of numbers) {
          const { from, text, tos } = await socket.received();
          const wanted = [to[n % 5 % 2]!, `${`${n}`.padStart(3)} of ${socket.port}`, n % 3];
          assertEquals([from, text, tos], wanted);
        }
        const refused = numbers.filter((n) => n % 20 === 10);
        for (const _ of refused) assertEquals((await socket.failed()).to, nobody);
      }
    }
    assertEquals((await site.stop()).udpSendDropsUp, 0);
  });
}

async function assertAll(
  socket: ClientSocket,
  lengths: readonly number[],
  from: string,
  what: string,
): Promise<void> {
  const got = await socket.receivedAll(lengths.length).catch((error) => {
    throw new Error(what, { cause: error });
  });
  assertEquals(got.map(({ bytes }) => bytes), lengths, what);
  for (const [n, each] of got.entries()) {
    assertEquals([each.from, each.sha256], [from, seededSha256(n, lengths[n]!)], `${what}: ${n}`);
  }
}

for (const limit of ["--max-sessions", "--max-sessions-per-client"]) {
  labTest(
    `udp batches: ${limit}: sessions that make room for each other lose nothing of what is in a batch`,
    async () => {
      const others = limit === "--max-sessions" ? ["--max-sessions-per-client", "0"] : [];
      await using site = await DatagramSite.start({ flags: ["--workers", "1", limit, "1", ...others] });
      const server = await site.internet.serveDatagrams({ kind: "mute" });
      for (const family of FAMILIES) {
        const sockets = [await site.open(family.client, 40_000), await site.open(family.client, 40_001)];
        const to = endpoint(family.server, server.port);
        const turns = [0, 1, 0, 0, 1, 1, 1, 0, 1, 0, 1, 0, 0, 0, 1, 1];
        await meanwhile(site, async () => {
          for (const [n, turn] of turns.entries()) await sockets[turn]!.send({ to, text: `${n}` });
        });
        for (const [n, turn] of turns.entries()) {
          const { from, text } = await server.received();
          assertEquals([text, from], [`${n}`, endpoint(family.wan, sockets[turn]!.port)]);
        }
      }
      const totals = await site.stop();
      assertEquals([totals.udpDatagramsUp, totals.udpSendDropsUp, totals.udpSourcePortChanged], [32, 0, 0]);
    },
  );
}
