/**
 * At a limit: which session makes room, what goes on, and what is said about it.
 */
import {
  assert,
  assertEquals,
  assertGreater,
  assertGreaterOrEqual,
  assertStringIncludes,
} from "../assert.ts";
import {
  type ClientSocket,
  DatagramClient,
  type DatagramSpec,
  labTest,
  type MappingAnswer,
} from "../lab/mod.ts";
import { DatagramSite, endpoint, FAMILIES, type Family } from "./datagram_site.ts";

const FIRST_PORT = 40_000;
/** The proxy tells times apart that differ by a tenth of a second. */
const TICKS_MS = 300;
/** One client may have all there is. */
const NO_SHARES = ["--max-sessions-per-client", "0"] as const;

/** Asks a mapping server, and tells which port it is seen at. */
async function mappedAt(socket: ClientSocket, to: string): Promise<string> {
  const { from, text } = await socket.ask({ to, text: "who am I?" });
  assertEquals(from, to);
  return (JSON.parse(text!) as MappingAnswer).mapped;
}

labTest(
  "udp limits: a flood of source ports fills one client's share, and another client goes on",
  async () => {
    const limit = 20, flood = 200;
    await using site = await DatagramSite.start({
      lab: { secondClient: true },
      flags: ["--max-sessions-per-client", `${limit}`],
    });
    const mapping = await site.internet.serveDatagrams({ kind: "mapping", reports: false });
    await using modest = new DatagramClient(site.lab.host("client2"));
    for (const family of FAMILIES) {
      const to = endpoint(family.server, mapping.port);
      const calm = await modest.open({ from: endpoint(family.secondClient, 0) });
      const before = await mappedAt(calm, to);
      for (let n = 0; n < flood; n++) {
        const socket = await site.open(family.client, FIRST_PORT + n);
        // The newest is served: it is the oldest idle one that goes.
        assertEquals(await mappedAt(socket, to), endpoint(family.wan, FIRST_PORT + n));
        if (n % 50 === 0) assertEquals(await mappedAt(calm, to), before);
        await socket.close();
      }
      assertEquals(await mappedAt(calm, to), before);
    }
    const warning = await site.proxy.event("warning", ({ code }) => code === "session-client-limit");
    assertStringIncludes(warning.hint!, "--max-sessions-per-client");
    const totals = await site.stop();
    const families = FAMILIES.length;
    assertEquals(totals.udpSessionsOpened, families * (flood + 1));
    // Of each worker's sessions the oldest goes: that of another worker may be older, and one with none has none to give.
    assertEquals(totals.udpEvictedClientLimit + totals.udpRefusedClientLimit, families * (flood - limit));
    assertEquals(totals.udpEvictedLimit, 0);
  },
);

labTest("udp limits: --max-sessions ends the session that has been idle for longest", async () => {
  const limit = 4;
  await using site = await DatagramSite.start({
    flags: ["--workers", "1", "--max-sessions", `${limit}`, ...NO_SHARES],
  });
  const mapping = await site.internet.serveDatagrams({ kind: "mapping", reports: false });
  for (const family of FAMILIES) {
    const to = endpoint(family.server, mapping.port);
    const sockets: ClientSocket[] = [];
    for (let n = 0; n <= limit; n++) sockets.push(await site.open(family.client, FIRST_PORT + n));
    // Who was last heard of in one tick is equally old.
    for (const socket of sockets.slice(0, limit)) {
      await sleep(TICKS_MS);
      await mappedAt(socket, to);
    }
    await sleep(TICKS_MS);
    // The first is not idle any more: the second is the oldest now.
    await mappedAt(sockets[0]!, to);
    await mappedAt(sockets[limit]!, to);
    const flow = await site.proxy.event("flow", ({ client }) => client === sockets[1]!.local);
    assertEquals(flow.end, { reason: "limit", side: "proxy" });
    for (const n of [0, 2, 3, limit]) {
      assertEquals(await mappedAt(sockets[n]!, to), endpoint(family.wan, FIRST_PORT + n));
    }
    const ended = site.proxy.logged("flow").map(({ client }) => client);
    assertEquals(ended.filter((client) => sockets.some(({ local }) => local === client)), [
      sockets[1]!.local,
    ]);
  }
  const warning = await site.proxy.event("warning", ({ code }) => code === "session-limit");
  assertStringIncludes(warning.hint!, "--max-sessions");
  const totals = await site.stop();
  // One for each socket beyond the limit, and the second family's first ones for those of the first family.
  assertEquals([totals.udpSessionsOpened, totals.udpEvictedLimit], [10, 6]);
});

labTest("udp limits: with both reached, a client's own session makes room and nobody else's", async () => {
  await using site = await DatagramSite.start({
    lab: { secondClient: true },
    flags: ["--workers", "1", "--max-sessions", "2", "--max-sessions-per-client", "1"],
  });
  const mapping = await site.internet.serveDatagrams({ kind: "mapping", reports: false });
  await using other = new DatagramClient(site.lab.host("client2"));
  const family = FAMILIES[0]!;
  const to = endpoint(family.server, mapping.port);
  const oldest = await other.open({ from: endpoint(family.secondClient, 0) });
  await mappedAt(oldest, to);
  await sleep(TICKS_MS);
  for (let n = 0; n < 5; n++) {
    assertEquals(
      await mappedAt(await site.open(family.client, FIRST_PORT + n), to),
      endpoint(family.wan, FIRST_PORT + n),
    );
  }
  const totals = await site.stop();
  assertEquals([totals.udpSessionsOpened, totals.udpEvictedClientLimit, totals.udpEvictedLimit], [6, 4, 0]);
});

labTest("udp limits: out of file descriptors, an idle session makes room", async () => {
  await using site = await DatagramSite.start({ flags: ["--workers", "1", ...NO_SHARES] });
  const mapping = await site.internet.serveDatagrams({ kind: "mapping", reports: false });
  const family = FAMILIES[0]!;
  const to = endpoint(family.server, mapping.port);
  // The socket that answers from the server's port, and all else that is opened once.
  await mappedAt(await site.open(family.client, FIRST_PORT), to);
  const pid = await site.proxy.process.outsidePid();
  const used = [...Deno.readDirSync(`/proc/${pid}/fd`)].length;
  const room = 5, sessions = 20;
  const limit = `--nofile=${used + room}:${used + room}`;
  await site.gateway.output(["prlimit", `--pid=${await site.proxy.process.insidePid()}`, limit]);
  for (let n = 1; n <= sessions; n++) {
    const socket = await site.open(family.client, FIRST_PORT + n);
    assertEquals(await mappedAt(socket, to), endpoint(family.wan, FIRST_PORT + n));
  }
  const warning = await site.proxy.event("warning", ({ code }) => code === "udp-fds-exhausted");
  assertStringIncludes(warning.message, "EMFILE");
  assertStringIncludes(warning.hint!, "LimitNOFILE=");
  const totals = await site.stop();
  assertGreaterOrEqual(totals.udpEvictedFds, sessions - room - 1);
  assertEquals([totals.udpRefusedFds, totals.udpSessionsOpened], [0, sessions + 1]);
});

labTest("udp limits: thousands of sessions leave no descriptor behind", async () => {
  const limit = 50, ports = 3000, burst = 100;
  const flags = ["--workers", "2", "--max-sessions", `${limit}`, ...NO_SHARES];
  await using site = await DatagramSite.start({ flags });
  const server = await site.internet.serveDatagrams({ kind: "mute" });
  const pid = await site.proxy.process.outsidePid();
  const before = [...Deno.readDirSync(`/proc/${pid}/fd`)].length;
  for (const family of FAMILIES) {
    const raw = await site.client.open({ from: endpoint(family.any, 0), raw: true });
    const to = endpoint(family.server, server.port);
    for (let from = 0; from < ports; from += burst) {
      const datagrams = Array.from({ length: burst }, (_, n): DatagramSpec => {
        return { to, text: "x", source: family.client, rawFromPort: 10_000 + from + n };
      });
      await raw.send(...datagrams);
      for (let n = 0; n < burst; n++) await server.received();
    }
  }
  const after = [...Deno.readDirSync(`/proc/${pid}/fd`)].length;
  // And the raw sockets that errors are told by.
  assert(after <= before + limit + 4, `${before} before, ${after} after`);
  const totals = await site.stop();
  assertEquals([totals.udpSessionsOpened, totals.udpSessionsNow], [2 * ports, 0]);
  assertGreaterOrEqual(totals.udpEvictedLimit, 2 * ports - limit);
});

labTest("udp limits: a low limit of open files: as many sessions as are promised", async () => {
  const flags = ["--workers", "1", "--max-sessions", "10000", ...NO_SHARES];
  await using site = await DatagramSite.start({ flags, prefix: ["prlimit", "--nofile=100:400"] });
  const { maxSessions } = await site.proxy.event("ready");
  assertGreater(maxSessions, 50);
  assert(maxSessions < 400, `${maxSessions}`);
  const lowered = await site.proxy.event("warning", ({ code }) => code === "max-sessions-lowered");
  assertStringIncludes(lowered.message, `10000 found, lowered to ${maxSessions}`);
  const mapping = await site.internet.serveDatagrams({ kind: "mapping", reports: false });
  await openMany(site, FAMILIES[0]!, endpoint(FAMILIES[0]!.server, mapping.port), maxSessions + 10);
  const totals = await site.stop();
  assertEquals([totals.udpEvictedLimit, totals.udpEvictedFds, totals.udpRefusedFds], [10, 0, 0]);
});

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function openMany(site: DatagramSite, family: Family, to: string, count: number): Promise<void> {
  for (let n = 0; n < count; n++) {
    const socket = await site.open(family.client, FIRST_PORT + n);
    await mappedAt(socket, to);
    await socket.close();
  }
}
