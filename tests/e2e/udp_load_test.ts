/**
 * A million datagrams of random lengths over 500 flows, half of them in each direction: each one arrives once, whole,
 * and where it belongs, or a counter says that it was lost.
 */
import { assertEquals, assertGreater, assertLess } from "../assert.ts";
import { DatagramClient, type DatagramSpec, GATEWAY_LAB, labTest } from "../lab/mod.ts";
import { runLoad } from "../lab/datagram_load_run.ts";
import { DatagramSite, endpoint, FAMILIES } from "./datagram_site.ts";
import type { ProxyRun } from "./proxy_run.ts";

const FLOWS = 500;
const DATAGRAMS_OF_A_FLOW = 1000;
/** So that no buffer overflows the peers keep few on their way, and yet a busy machine may lose some. */
const MOST_LOST = FLOWS * DATAGRAMS_OF_A_FLOW / 100;

/** Where a datagram can be lost within the proxy. */
type Losses = Pick<
  Awaited<ReturnType<ProxyRun["stop"]>>,
  | "udpReceiveDrops"
  | "udpSendDropsUp"
  | "udpSendDropsDown"
  | "udpTruncated"
  | "udpNoDestination"
  | "udpFiltered"
  | "udpRefusedFds"
  | "udpRefusedClientLimit"
  | "udpSessionErrors"
>;

for (const [source, flows] of [["own", FLOWS], ["keep", FLOWS / 25]] as const) {
  const total = flows * DATAGRAMS_OF_A_FLOW;
  labTest(
    `udp load: source ${source}: ${
      2 * total
    } datagrams over ${flows} flows, none doubled, changed or misdelivered`,
    async () => {
      await using site = await DatagramSite.start({ source });
      const addresses = Object.values(GATEWAY_LAB.servers);
      const server = await site.internet.serveDatagrams({ kind: "load", addresses });
      const to = addresses.map((address) => endpoint(address, server.port));
      const result = await runLoad(site.lab.host("client"), { to, flows, datagrams: DATAGRAMS_OF_A_FLOW });
      const sums = await server.sums();

      const { duplicates, corrupt, misdelivered, wrongSource, sendErrors, sent } = result;
      assertEquals({ duplicates, corrupt, misdelivered, wrongSource, sendErrors, sent }, {
        duplicates: 0,
        corrupt: 0,
        misdelivered: 0,
        wrongSource: 0,
        sendErrors: {},
        sent: total,
      });
      assertEquals([sums.duplicates, sums.corrupt, sums.otherSource], [0, 0, 0]);
      assertEquals(sums.answered, sums.received);
      assertGreater(sums.received, total - MOST_LOST);
      const lostAtEnds = await dropsAtEnds(site);
      const totals = await site.proxy.stop();
      const lost = result.sent - result.answered;
      // Each that is missing is one that a counter of ours, or of a socket at either end, has counted.
      assertEquals(
        lossesOf(totals) + lostAtEnds,
        lost,
        JSON.stringify({ result, sums, totals, lostAtEnds }),
      );
      assertLess(lost, MOST_LOST);
      assertEquals([totals.udpSessionsOpened, totals.udpSourcePortChanged], [flows, 0]);
      // The longest ones among them have come in fragments, both ways.
      assertGreater(totals.udpBytesUp / totals.udpDatagramsUp, 600);
    },
    { timeoutMs: 120_000 },
  );
}

function lossesOf(totals: Losses): number {
  return totals.udpReceiveDrops + totals.udpSendDropsUp + totals.udpSendDropsDown + totals.udpTruncated +
    totals.udpNoDestination + totals.udpFiltered + totals.udpRefusedFds + totals.udpRefusedClientLimit +
    totals.udpSessionErrors;
}

/** What the sockets of both ends had no room for. */
async function dropsAtEnds(site: DatagramSite): Promise<number> {
  let drops = 0;
  for (const name of ["client", "internet"]) {
    const text = await site.lab.host(name).output(["nstat", "-asz", "UdpRcvbufErrors", "Udp6RcvbufErrors"]);
    for (const [, count] of text.matchAll(/RcvbufErrors\s+(\d+)/g)) drops += Number(count);
  }
  return drops;
}

labTest("udp load: what a proxy that stands still has no room for is counted, each way", async () => {
  await using site = await DatagramSite.start({ flags: ["--workers", "1"] });
  const family = FAMILIES[0]!;
  await using far = new DatagramClient(site.internet);
  const server = await far.open({ from: endpoint(family.server, 0) });
  const client = await site.open(family.client, 40_000);
  await client.send({ to: server.local, text: "here I am" });
  const { from: mapped } = await server.received();
  const flood = 8000;
  const datagrams = (to: string) => Array.from({ length: flood }, (): DatagramSpec => ({ to, bytes: 1200 }));

  await site.proxy.process.kill("SIGSTOP");
  await Promise.all([client.send(...datagrams(server.local)), server.send(...datagrams(mapped))]);
  await site.proxy.process.kill("SIGCONT");
  // What comes last is carried after all the rest.
  await client.ask({ to: server.local, text: "last" }, 100).catch(() => {});
  const totals = await site.proxy.stop();
  const carried = totals.udpDatagramsUp + totals.udpDatagramsDown;
  assertGreater(totals.udpReceiveDrops, 0);
  assertEquals(carried + lossesOf(totals), 1 + 2 * flood + 1);
});
