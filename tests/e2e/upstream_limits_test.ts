/**
 * Upstreams where this host runs out of something: it is held against no upstream, and who is there stays.
 */
import { assert, assertEquals, assertGreaterOrEqual, assertStringIncludes } from "../assert.ts";
import { GATEWAY_LAB, labTest, SocksServer } from "../lab/mod.ts";
import { eventually } from "./proxy_run.ts";
import { fatesOf, Talker } from "./talker.ts";
import { UpstreamSite } from "./upstream_site.ts";

const { servers } = GATEWAY_LAB;

/** A group whose members go down with their first failure, and take their flows with them. */
function group(ports: readonly number[]): string {
  const members = ports.map((port, i) =>
    `[upstream.m${i}]\nkind = "socks5"\nserver = "${servers.v4b}:${port}"\nudp = false\n`
  );
  return `${members.join("")}
[group.out]
kind = "failover"
members = [${ports.map((_, i) => `"m${i}"`).join()}]
live-flows = "reset"
check = { enabled = false }
[udp]
mode = "off"
[policy]
default = "out"
`;
}

labTest(
  "upstream: more connections than there are ports towards a server go on to the next one",
  async () => {
    await using site = await UpstreamSite.start();
    const { internet, lab } = site;
    await using first = await SocksServer.start(internet);
    await using second = await SocksServer.start(internet);
    await using echo = await internet.serve({ kind: "echo" });
    await using talker = new Talker(site.client);
    const ports = 8, connections = 12;
    await lab.host("gateway").output([
      "sh",
      "-c",
      `echo 40000 ${40_000 + ports - 1} >/proc/sys/net/ipv4/ip_local_port_range`,
    ]);
    await using proxy = await site.run(group([first.port, second.port]));
    const open = [];
    for (let i = 0; i < connections; i++) {
      open.push(await talker.reach(i % 2 ? servers.v4 : servers.v6, echo.port));
    }
    for (const talk of open) await talk.say("still here");
    assertEquals([first.requests.length, second.requests.length], [ports, connections - ports]);
    for (const talk of open) await talk.close();
    const totals = await proxy.stop();
    assertEquals(proxy.logged("upstream-down"), []);
    assertEquals([totals.tcpAccepted, totals.tcpDialFailed, totals.tcpAcceptPauses], [connections, 0, 0]);
  },
);

labTest("upstream: out of file descriptors within handshakes, nobody who is there is lost", async () => {
  await using site = await UpstreamSite.start();
  const { internet } = site;
  const gateway = site.lab.host("gateway");
  await using server = await SocksServer.start(internet);
  await using echo = await internet.serve({ kind: "echo" });
  await using talker = new Talker(site.client);
  await using proxy = await site.run(group([server.port]));
  const used = [...Deno.readDirSync(`/proc/${await proxy.process.outsidePid()}/fd`)].length;
  const limit = `--nofile=${used + 13}:${used + 13}`;
  await gateway.output(["prlimit", `--pid=${await proxy.process.insidePid()}`, limit]);
  const open = [];
  for (const address of [servers.v4, servers.v6, servers.v4]) {
    open.push(await talker.reach(address, echo.port));
  }
  const waiting = Array.from({ length: 12 }, () => talker.dial(servers.v4b, echo.port));
  const warning = await proxy.event("warning", ({ code }) => code === "fds-exhausted");
  assertStringIncludes(warning.message, "EMFILE");
  for (const talk of open) await talk.say("still here");
  for (const talk of open) await talk.close();
  const fates = await fatesOf(waiting, "at last");
  assertEquals(new Set(fates).difference(new Set(["carried", "reset"])).size, 0, fates.join());
  assert(fates.includes("carried"), fates.join());
  for (const talk of waiting) await talk.close();
  await eventually("new connections are carried", async () => {
    return await talker.dial(servers.v6b, echo.port).say("y").then(() => true, () => false);
  }, 15_000);
  const totals = await proxy.stopByForce();
  assertEquals(proxy.logged("upstream-down"), []);
  assertGreaterOrEqual(totals.tcpRefusedFds, fates.filter((fate) => fate === "reset").length);
  assertEquals([totals.tcpOpenNow, totals.tcpUpstreamFailed], [0, 0]);
});
