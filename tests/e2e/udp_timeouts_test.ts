/**
 * When a session ends by itself: ten seconds after a question to DNS or NTP, minutes after anything else, and later
 * when it is used meanwhile.
 */
import { assertEquals, assertGreaterOrEqual, assertLess } from "../assert.ts";
import { DatagramClient, labTest } from "../lab/mod.ts";
import { DatagramSite, endpoint, FAMILIES } from "./datagram_site.ts";

const SHORT_MS = 10_000;
/** The proxy looks at timeouts of seconds once a second. */
const LOOK_MS = 1_100;
const LATE_MS = 3_000;
const LONG_PORT = 9000;
const REFRESH_EVERY_MS = 1_000;

async function watch(refreshInbound: boolean): Promise<void> {
  const flags = refreshInbound ? ["--udp-refresh-inbound"] : [];
  await using site = await DatagramSite.start({ flags });
  for (const port of [53, 123, LONG_PORT]) {
    await site.internet.serveDatagrams({ kind: "echo", port, reports: false });
  }
  await using strangers = new DatagramClient(site.internet);
  const asked: Record<string, string> = {};
  const ask = async (name: string, from: string, ...to: string[]) => {
    const socket = await site.open(from);
    for (const each of to) assertEquals((await socket.ask({ to: each, text: name })).from, each);
    asked[name] = socket.local;
    return socket;
  };
  const [v4, v6] = [FAMILIES[0]!, FAMILIES[1]!];
  for (const { name, client, server } of FAMILIES) {
    await ask(`${name} dns`, client, endpoint(server, 53));
    await ask(`${name} long`, client, endpoint(server, LONG_PORT));
  }
  await ask("ntp", v6.client, endpoint(v6.server, 123));
  await ask("both", v6.client, endpoint(v6.server, 53), endpoint(v6.server, LONG_PORT));
  const used = await ask("used", v4.client, endpoint(v4.server, 53));
  const heard = await ask("heard", v4.client, endpoint(v4.server, 53));
  const stranger = await strangers.open({ from: endpoint(v4.serverB, 0) });
  const isOver = (name: string) => site.proxy.logged("flow").some(({ client }) => client === asked[name]);
  const wanted = ["ntp", "v4 dns", "v6 dns", ...(refreshInbound ? [] : ["heard"])].sort();
  const startedAt = performance.now();
  while (!wanted.every(isOver) && performance.now() - startedAt < SHORT_MS + LATE_MS) {
    await used.ask({ to: endpoint(v4.server, 53), text: "used" });
    // Source own keeps the port.
    if (!isOver("heard")) await stranger.send({ to: endpoint(v4.wan, heard.port), text: "heard" });
    await new Promise((resolve) => setTimeout(resolve, REFRESH_EVERY_MS));
  }

  // Whatever else would end by mistake has been idle for as long.
  await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  const over = Object.keys(asked).filter(isOver).sort();
  assertEquals(over, wanted);
  for (const flow of site.proxy.logged("flow")) {
    assertEquals(flow.end, { reason: "idle-timeout", side: "proxy" });
    assertGreaterOrEqual(flow.durationMs, SHORT_MS - 100);
    assertLess(flow.durationMs, SHORT_MS + LATE_MS);
  }
  assertEquals((await site.stop()).udpTimeouts, wanted.length);
}

labTest(
  "udp timeouts: a question to DNS or NTP ends after ten seconds, another session does not",
  async () => {
    // Both at once: most of it is waiting.
    await Promise.all([watch(false), watch(true)]);
  },
);
