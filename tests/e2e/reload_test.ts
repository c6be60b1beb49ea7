/**
 * Another configuration while the proxy runs: what becomes of live flows and of new ones, of rules, and of a
 * configuration with errors in it.
 */
import { assert, assertEquals, assertLess, assertStringIncludes } from "../assert.ts";
import { DatagramClient, GATEWAY_LAB, labTest, SocksServer } from "../lab/mod.ts";
import { endpoint } from "./datagram_site.ts";
import { eventually, kernelState } from "./proxy_run.ts";
import { ReloadSite } from "./reload_site.ts";
import { assertSeenFrom } from "./seen_from.ts";
import { Talker } from "./talker.ts";

const { client, gateway, servers } = GATEWAY_LAB;
const RELOADS = 100;
const TALKS = 8;
/** Of UDP, in each family. */
const SOCKETS = 3;
/** Ends of pipes that workers keep for the next one who needs them. */
const MOST_POOLED = 20;
const MIB = 2 ** 20;

const BASE = `
mode = "gateway"
workers = 2
[intercept]
from = ["lan0"]
[log]
format = "json"
flows = true
`;

/** TCP by a SOCKS5 server, and other rules in the kernel. */
const byOffice = (port: number): string => `
mode = "gateway"
workers = 2
[intercept]
from = ["lan0"]
exclude-cidr = ["${servers.v6b}"]
[upstream.office]
kind = "socks5"
server = "${servers.v4b}:${port}"
[[rule]]
network = "tcp"
use = "office"
[log]
format = "json"
flows = true
`;

labTest("reload: live flows carry on by the way they began, new ones leave by the other", async () => {
  await using site = await ReloadSite.start(BASE);
  const internet = site.lab.host("internet");
  await using socks = await SocksServer.start(internet);
  await using echo = await internet.serve({ kind: "echo" });
  await using talker = new Talker(site.lab.host("client"));
  const direct = await talker.reach(servers.v4, echo.port);
  assertEquals(socks.requests.length, 0);

  const { code, stdout, stderr } = await site.reload(byOffice(socks.port));
  assertEquals([code, stderr], [0, ""]);
  assertEquals(stdout.trim().split("\n"), [
    "what is intercepted: selectors",
    "upstreams: office added",
    "policy: 1 rule, others by direct",
  ]);
  // From the first connection after the command on.
  const throughOffice = await talker.reach(servers.v4, echo.port);
  assertEquals(socks.requests.map(({ target }) => target), [endpoint(servers.v4, echo.port)]);
  await direct.say("still here");
  // What the new rules leave alone.
  await (await talker.reach(servers.v6b, echo.port)).close();
  await eventually("seen as the client", async () => {
    return (await echo.nextClosed()).peer.includes(client.v6);
  }, 5_000);

  const back = await site.reload(BASE, "--json");
  assertEquals([back.code, JSON.parse(back.stdout).kind], [0, "reloaded"]);
  const directAgain = await talker.reach(servers.v4, echo.port);
  assertEquals(socks.requests.length, 1);
  await throughOffice.say("the office is in no configuration any more");
  await direct.say("all the time");
  const open = [direct, throughOffice, directAgain];
  const names = ["direct", "office", "direct"];
  for (const [i, talk] of open.entries()) {
    const { local } = talk;
    await talk.close();
    const flow = await site.proxy.event("flow", (one) => one.client === local);
    assertEquals([flow.upstream, flow.end.reason], [names[i], "closed"]);
  }
  await site.proxy.stop();
}, { timeoutMs: 60_000 });

labTest("reload: a rule that the kernel decides comes and goes with the policy", async () => {
  await using site = await ReloadSite.start(BASE);
  await using echo = await site.lab.host("internet").serve({ kind: "echo" });
  await using talker = new Talker(site.lab.host("client"));
  const pushed =
    `${BASE}[[rule]]\ndestination = "${servers.v4}"\nuse = "direct"\n[policy]\ndefault = "block"\n`;
  const open = await talker.reach(servers.v4, echo.port);
  await assertSeenFrom(echo, gateway.wanV4);
  assertEquals((await site.reload(pushed)).code, 0);
  // What the kernel forwards comes from the client itself; the rest is refused.
  await (await talker.reach(servers.v4, echo.port)).close();
  await assertSeenFrom(echo, client.v4);
  assertEquals(await talker.dial(servers.v4b, echo.port).ended(), "reset");
  await open.say("carried all the same");
  assertEquals((await site.reload(BASE)).code, 0);
  await (await talker.reach(servers.v4, echo.port)).close();
  await assertSeenFrom(echo, gateway.wanV4);
  await open.close();
  await site.proxy.stop();
}, { timeoutMs: 60_000 });

labTest("reload: a configuration with errors changes nothing, and everything about it is said", async () => {
  await using site = await ReloadSite.start(BASE);
  const { gateway: here } = site;
  await using echo = await site.lab.host("internet").serve({ kind: "echo" });
  await using talker = new Talker(site.lab.host("client"));
  const open = await talker.reach(servers.v4, echo.port);
  await assertSeenFrom(echo, gateway.wanV4);
  const before = await kernelState(here);
  const refused = async (config: string, ...told: string[]) => {
    const { code, stdout, stderr } = await site.reload(config);
    assertEquals([code, stdout], [1, ""]);
    for (const one of told) assertStringIncludes(stderr, one);
    assertEquals(stderr.trimEnd().split("\n").length, told.length, stderr);
    const last = site.proxy.logged("reload-failed").at(-1)!;
    assertEquals(last.issues.length, told.length);
    assertEquals(await kernelState(here), before);
    await open.say("unmoved");
    await (await talker.reach(servers.v4, echo.port)).close();
    await assertSeenFrom(echo, gateway.wanV4);
  };
  // The file by itself; what only this host can tell; what cannot change; both at once.
  await refused("nonsense", `${site.file}:1:`);
  await refused(
    `${BASE}[upstream.a]\nkind = "socks4"\n[upstream.b]\nkin = "block"\n`,
    "upstream.a.kind",
    "upstream.b.kin",
    "upstream.b.kind",
  );
  await refused(BASE.replace('"lan0"', '"lan0", "nix0"'), "nix0");
  await refused(
    `${BASE}[[rule]]\ninterface = ["nix0"]\ndestination-file = ["/nowhere/list"]\nuse = "block"\n`,
    "rule[1].interface",
    "/nowhere/list",
  );
  await refused(
    `port = 7999\nsource = "keep"\n${BASE}`,
    `${site.file}:1:8: port: 7999 found, 7870 wanted; it runs with that; a change needs a restart`,
    "source: keep found, own wanted",
  );
  // A list of the rules, and an upstream, that cannot be resolved, at once.
  await refused(
    `${
      BASE.replace("[log]", 'exclude-cidr-file = ["/nowhere/direct"]\n[log]')
    }[upstream.a]\nkind = "http"\nserver = "192.0.2.1:1"\nusername = "u"\npassword-file = "/nowhere/secret"\n`,
    "/nowhere/direct",
    "/nowhere/secret",
  );
  assertEquals(site.proxy.logged("reloaded"), []);
  const { code, stderr } = await site.reload(BASE, "--port", "7999");
  assertEquals(code, 1);
  assertStringIncludes(stderr, "no proxy with port 7999 found in this network namespace");
  await open.close();
  await site.proxy.stop();
  const after = await site.reload(BASE);
  assertEquals(after.code, 1);
  assertStringIncludes(after.stderr, "no proxy found in this network namespace");
}, { timeoutMs: 90_000 });

labTest(`reload: ${RELOADS} times under load: no flow is lost, nothing is left behind`, async () => {
  await using site = await ReloadSite.start(BASE);
  const internet = site.lab.host("internet");
  await using socks = await SocksServer.start(internet);
  await using echo = await internet.serve({ kind: "echo" });
  const datagrams = await internet.serveDatagrams({ kind: "echo" });
  await using talker = new Talker(site.lab.host("client"));
  await using sender = new DatagramClient(site.lab.host("client"));
  const texts = [BASE, byOffice(socks.port)];
  // What is made at the first use is there.
  for (let i = 1; i <= 10; i++) await site.reloadBySignal(texts[i % 2]!);
  await (await talker.reach(servers.v4, echo.port)).close();

  const addresses = [servers.v4, servers.v6];
  const open = await Promise.all(
    Array.from({ length: TALKS }, (_, i) => talker.reach(addresses[i % 2]!, echo.port)),
  );
  const sockets = await Promise.all(
    addresses.flatMap((address) =>
      Array.from({ length: SOCKETS }, () => {
        const from = address === servers.v4 ? client.v4 : client.v6;
        return sender.open({ from: endpoint(from, 0) });
      })
    ),
  );
  const ask = async (i: number, text: string) => {
    const to = endpoint(addresses[Math.floor(i / SOCKETS)]!, datagrams.port);
    assertEquals((await sockets[i]!.ask({ to, text })).from, to);
  };
  for (const i of sockets.keys()) await ask(i, "hello");
  const rules = await kernelState(site.gateway);
  const before = await site.usage();

  let isOver = false;
  const seen = { words: 0, connections: 0, datagrams: 0 };
  const words = async (talk: typeof open[number]) => {
    for (let i = 0; !isOver; i++) {
      await talk.say(`word ${i} `);
      seen.words++;
      // The machine is to have time for reloads too.
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const connections = async (address: string) => {
    while (!isOver) {
      await (await talker.reach(address, echo.port)).close();
      seen.connections++;
    }
  };
  const questions = async (i: number) => {
    for (let nth = 0; !isOver; nth++) {
      await ask(i, `question ${nth}`);
      seen.datagrams++;
    }
  };
  const load = Promise.all([
    ...open.map(words),
    ...addresses.map(connections),
    ...[...sockets.keys()].map(questions),
  ]);
  // A failure ends the load early, and is told by it.
  for (let i = 1; i <= RELOADS; i++) {
    const outcome = await Promise.race([site.reloadBySignal(texts[i % 2]!), load.then(() => undefined)]);
    assert(outcome?.event === "reloaded", JSON.stringify(outcome));
  }
  isOver = true;
  await load;
  for (const talk of open) {
    await talk.say("to the end");
    await talk.close();
  }
  assert(seen.connections > RELOADS && seen.datagrams > RELOADS, JSON.stringify(seen));
  assert(socks.requests.length > 10, `${socks.requests.length} by the office`);
  assertEquals(await kernelState(site.gateway), rules);
  await eventually("every connection's descriptors are closed", async () => {
    const { descriptors } = await site.usage();
    return descriptors < before.descriptors - 2 * open.length + MOST_POOLED;
  }, 10_000);
  const grown = (await site.usage()).residentBytes - before.residentBytes;
  assertLess(grown, 100 * MIB);
  const totals = await site.proxy.stop();
  assertEquals([totals.tcpDialFailed, totals.tcpUpstreamFailed, totals.tcpClientResets], [0, 0, 0]);
  assertEquals([totals.udpSessionsOpened, totals.udpSessionErrors], [sockets.length, 0]);
}, { timeoutMs: 120_000 });

labTest("reload: large policies that have been replaced leave no memory behind", async () => {
  const list = await Deno.makeTempFile({ prefix: "pellucid-list-" });
  try {
    // 1.4 MB compiled: kept, they would be more than 200 MB.
    const write = (last: number) =>
      Deno.writeTextFile(
        list,
        Array.from({ length: 50_000 }, (_, i) =>
          `198.${18 + (i >> 15)}.${i >> 7 & 255}.${(i & 127) * 2 + last}\n`).join(""),
      );
    await write(0);
    const config = `${BASE}[[rule]]\ndestination-file = ["${list}"]\nuse = "block"\n`;
    await using site = await ReloadSite.start(config);
    const reload = async (i: number) => {
      await write(i % 2);
      const outcome = await site.reloadBySignal(config);
      assert(outcome.event === "reloaded" && outcome.changes.length === 1, JSON.stringify(outcome));
    };
    for (let i = 1; i <= 30; i++) await reload(i);
    const before = await site.usage();
    for (let i = 1; i <= 150; i++) await reload(i + 30);
    const after = await site.usage();
    assertLess(after.residentBytes - before.residentBytes, 120 * MIB);
    assertLess(after.descriptors, before.descriptors + 5);
    await site.proxy.stop();
  } finally {
    await Deno.remove(list);
  }
}, { timeoutMs: 120_000 });
