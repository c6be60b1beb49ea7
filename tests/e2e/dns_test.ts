/**
 * `--dns`, asked by dig and answered by dnsmasq: whoever a client asks, our resolvers answer, and the client cannot tell.
 * (dig takes no answer that comes from elsewhere than where it has asked.)
 */
import { assert, assertEquals, assertGreaterOrEqual, assertLess, assertMatch } from "../assert.ts";
import { GATEWAY_LAB, gatewayLab, type LabHost, type LabProcess, labTest } from "../lab/mod.ts";
import type { CrowdOutcome } from "../fixtures/dns_crowd_main.ts";
import { eventually, ProxyRun } from "./proxy_run.ts";
import { dig, serveNames, whoAnswers, withResolvers } from "./resolver_program.ts";

const { servers, nowhere } = GATEWAY_LAB;

const { remark, ignore } = withResolvers();
const options = { ignore, timeoutMs: 90_000 };

/** What the client asks: at these addresses nobody serves DNS. */
const ASKED = [servers.v4b, servers.v6b];
const BIG_STRINGS = 16;

/** A resolver that says who it is, and has a long answer. */
async function serve(host: LabHost, address: string, me: string, port = 53): Promise<LabProcess> {
  const big = Array.from({ length: BIG_STRINGS }, (_, i) => String.fromCharCode(97 + i).repeat(250));
  return await serveNames(host, {
    me,
    port,
    addresses: address === "" ? [] : [address],
    flags: ["--edns-packet-max=4096", `--txt-record=big.example.test,${big.join(",")}`],
  });
}

/** A resolver that asks another one. */
async function forward(host: LabHost, to: string, port: number): Promise<void> {
  const process = host.spawn([
    ...["dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--pid-file=", "--log-facility=-", "--no-hosts"],
    ...["--no-resolv", "--cache-size=0", `--port=${port}`, "--listen-address=127.0.0.1", "--bind-interfaces"],
    `--server=${to}`,
  ]);
  await process.stderr.waitFor((line) => line.includes("using nameserver") || undefined, 15_000);
}

const FIRST = "192.0.2.101", SECOND = "192.0.2.102", LOCAL = "192.0.2.103";

labTest(`dns: whoever is asked, in whichever way, our resolver answers${remark}`, async (context) => {
  await using lab = await gatewayLab();
  const client = lab.host("client");
  await serve(lab.host("internet"), `${servers.v4},${servers.v6}`, FIRST, 5353);
  for (const resolver of [`${servers.v4}:5353`, `[${servers.v6}]:5353`]) {
    for (const source of ["own", "keep"]) {
      await context.step(`${resolver}, --source ${source}`, async (step) => {
        const flags = ["--from", "lan0", "--source", source, "--dns", resolver, "--flows"];
        await using proxy = await ProxyRun.start(lab.host("gateway"), flags);
        for (const asked of ASKED) {
          await step.step(`${asked}, UDP`, async () => {
            assertEquals(await whoAnswers(client, asked), FIRST);
          });
          await step.step(`${asked}, TCP`, async () => {
            assertEquals(await whoAnswers(client, asked, "+tcp"), FIRST);
          });
          await step.step(`${asked}, 4,000 bytes in one datagram`, async () => {
            const printed = await dig(client, asked, "big.example.test", "TXT", "+bufsize=4096", "+ignore");
            assertMatch(printed, /^;; SERVER: .*\(UDP\)$/m);
            assertGreaterOrEqual(Number(/MSG SIZE {2}rcvd: (\d+)/.exec(printed)?.[1]), 250 * BIG_STRINGS);
          });
          await step.step(`${asked}, truncated, and asked again over TCP`, async () => {
            const printed = await dig(client, asked, "big.example.test", "TXT", "+noedns");
            assertMatch(printed, /^;; Truncated, retrying in TCP mode/m);
            assertGreaterOrEqual(Number(/MSG SIZE {2}rcvd: (\d+)/.exec(printed)?.[1]), 250 * BIG_STRINGS);
          });
        }
        const totals = await proxy.stopByForce();
        assertEquals([totals.dnsQueries, totals.dnsAnswers, totals.dnsPendingNow], [6, 6, 0]);
        assertEquals([totals.dnsMismatched, totals.dnsRetries, totals.udpSessionsOpened], [0, 0, 0]);
        // The records of TCP tell whom the client had asked.
        const destinations = proxy.logged("flow").map(({ destination }) => destination);
        assertEquals(
          new Set(destinations),
          new Set([`${servers.v4b}:53`, `[${servers.v6b}]:53`]),
        );
        assertEquals(proxy.logged("warning"), []);
      });
    }
  }
}, options);

labTest(
  `dns: a resolver that is gone is skipped at once, a silent one after 2 s${remark}`,
  async (context) => {
    await using lab = await gatewayLab();
    const client = lab.host("client"), internet = lab.host("internet");
    const first = await serve(internet, servers.v4, FIRST);
    await serve(internet, servers.v6, SECOND);
    const flags = ["--from", "lan0", "--dns", servers.v4, "--dns", servers.v6, "--workers", "1"];
    await using proxy = await ProxyRun.start(lab.host("gateway"), flags);
    // By dig's own clock: how long its process takes to start is nobody's concern here.
    const timed = async (...args: string[]) => {
      const flags = ["+noall", "+answer", "+stats", ...args];
      const printed = await dig(client, ASKED[0]!, "who.example.test", "A", ...flags);
      return {
        who: /\sA\s+(\S+)/.exec(printed)?.[1],
        ms: Number(/Query time: (\d+) msec/.exec(printed)?.[1]),
      };
    };
    await context.step("both answer: the first does", async () => {
      assertEquals((await timed()).who, FIRST);
      assertEquals((await timed("+tcp")).who, FIRST);
    });
    await context.step("the first is silent", async () => {
      await first.kill("SIGSTOP");
      const { who, ms } = await timed();
      assertEquals(who, SECOND);
      assertGreaterOrEqual(ms, 1_900);
      assertLess(ms, 4_000);
      // The next query does not wait.
      const next = await timed();
      assertEquals(next.who, SECOND);
      assertLess(next.ms, 1_500);
      await proxy.event("warning", ({ code }) => code === "dns-resolver-down");
    });
    await context.step("the first is back: its late answers tell", async () => {
      await first.kill("SIGCONT");
      // Before it would be tried again by itself, 10 s after it was given up.
      await eventually("the first answers again", async () => (await timed()).who === FIRST, 5_000);
    });
    await context.step("the first is gone", async () => {
      await first.stop();
      for (const args of [[], ["+tcp"]]) {
        const { who, ms } = await timed(...args);
        assertEquals(who, SECOND);
        assertLess(ms, 1_500);
      }
    });
    await context.step("another takes its place, which is noticed after 10 s", async () => {
      await serve(internet, servers.v4, FIRST);
      await eventually("the first answers again", async () => (await timed()).who === FIRST, 15_000);
    });
    const totals = await proxy.stopByForce();
    assertGreaterOrEqual(totals.dnsRetries, 2);
    assertGreaterOrEqual(totals.dnsProbes, 1);
    assertEquals(totals.dnsMismatched, 0);
  },
  options,
);

labTest(`dns: a query in flight is answered before a drain is over${remark}`, async () => {
  await using lab = await gatewayLab();
  const internet = lab.host("internet");
  const silent = await internet.serveDatagrams({ kind: "mute", addresses: [servers.v4], port: 53 });
  await serve(internet, servers.v6, SECOND);
  const flags = ["--from", "lan0", "--dns", servers.v4, "--dns", servers.v6];
  await using proxy = await ProxyRun.start(lab.host("gateway"), flags);
  const answer = whoAnswers(lab.host("client"), ASKED[0]!);
  await silent.received();
  await proxy.process.kill("SIGTERM");
  assertEquals(await answer, SECOND);
  assertEquals(await proxy.exitCode(), 0);
  const { totals, forced } = await proxy.event("stopped");
  assertEquals([forced, totals.dnsAnswers, totals.dnsPendingNow], [false, 1, 0]);
}, options);

labTest(`dns: a resolver that nobody hears of costs a TCP client 2 s${remark}`, async () => {
  await using lab = await gatewayLab();
  const internet = lab.host("internet");
  await internet.blackhole(`${nowhere.v4}/32`);
  await serve(internet, servers.v6, SECOND);
  const flags = ["--from", "lan0", "--dns", nowhere.v4, "--dns", servers.v6];
  await using _proxy = await ProxyRun.start(lab.host("gateway"), flags);
  const startedAt = performance.now();
  assertEquals(await whoAnswers(lab.host("client"), ASKED[0]!, "+tcp"), SECOND);
  const ms = performance.now() - startedAt;
  assertGreaterOrEqual(ms, 1_900);
  assertLess(ms, 4_000);
}, options);

for (
  const [name, script] of [
    ["dnsmasq", undefined],
    // Without SO_REUSEADDR nobody else can have the port.
    ["a program that shares its port with nobody", "unshared"],
  ] as const
) {
  labTest(`dns: --local works next to ${name} on 0.0.0.0:53${remark}`, async (context) => {
    await using lab = await gatewayLab();
    const gateway = lab.host("gateway"), internet = lab.host("internet");
    await serve(internet, servers.v4, FIRST);
    await serve(internet, servers.v4b, SECOND);
    if (script === undefined) await serve(gateway, "", LOCAL);
    else await holdPort53(gateway);
    const flags = ["--local", "--dns", servers.v4];
    await using proxy = await ProxyRun.start(gateway, flags);
    const ways = [[], ["+tcp"]];
    for (const args of ways) {
      await context.step(`what this host asks others, our resolver answers ${args}`, async () => {
        assertEquals(await whoAnswers(gateway, servers.v4b, ...args), FIRST);
        assertEquals(await whoAnswers(gateway, servers.v6b, ...args), FIRST);
      });
    }
    if (script === undefined) {
      await context.step("the host's own resolver answers whoever asks it", async () => {
        for (const asked of ["127.0.0.1", "::1", GATEWAY_LAB.gateway.wanV4]) {
          assertEquals(await whoAnswers(gateway, asked), LOCAL);
        }
        assertEquals(await whoAnswers(lab.host("client"), GATEWAY_LAB.gateway.v4), LOCAL);
      });
    }
    const totals = await proxy.stopByForce();
    assertEquals([totals.dnsQueries, totals.dnsAnswers], [2, 2]);
    assertEquals(totals.udpReplyRaw, script === undefined ? 0 : 2);
    await context.step("stopped, everybody answers for himself", async () => {
      assertEquals(await whoAnswers(gateway, servers.v4b), SECOND);
    });
  }, options);
}

labTest(
  `dns: --local works next to a stub resolver on 127.0.0.53, and with a resolver on this host${remark}`,
  async () => {
    await using lab = await gatewayLab();
    const gateway = lab.host("gateway");
    await serve(gateway, "127.0.0.53", LOCAL);
    await serve(gateway, "127.0.0.1", FIRST, 5353);
    await using proxy = await ProxyRun.start(gateway, [
      "--local",
      "--from",
      "lan0",
      "--dns",
      "127.0.0.1:5353",
    ]);
    assertEquals(await whoAnswers(gateway, "127.0.0.53"), LOCAL);
    for (const asked of ASKED) {
      for (const args of [[], ["+tcp"]]) {
        assertEquals(await whoAnswers(gateway, asked, ...args), FIRST);
        assertEquals(await whoAnswers(lab.host("client"), asked, ...args), FIRST);
      }
    }
    await proxy.stopByForce();
  },
  options,
);

labTest(`dns: without the flag it goes where it was going${remark}`, async () => {
  await using lab = await gatewayLab();
  await serve(lab.host("internet"), `${servers.v4b},${servers.v6b}`, SECOND);
  await using proxy = await ProxyRun.start(lab.host("gateway"), ["--from", "lan0"]);
  for (const asked of ASKED) {
    for (const args of [[], ["+tcp"]]) {
      assertEquals(await whoAnswers(lab.host("client"), asked, ...args), SECOND);
    }
  }
  const totals = await proxy.stopByForce();
  assertEquals([totals.dnsQueries, totals.udpSessionsOpened], [0, 2]);
}, options);

/** Binds both families' port 53 as a program does that thinks of no other. */
async function holdPort53(host: LabHost): Promise<LabProcess> {
  const process = host.deno(new URL("../fixtures/hold_port_main.ts", import.meta.url).href, ["53"]);
  await process.stdout.waitFor((line) => line === "held" || undefined, 10_000);
  assert(process.running);
  return process;
}

labTest(
  `dns: --local with a resolver on this host that asks others, which must be let pass${remark}`,
  async () => {
    await using lab = await gatewayLab();
    const gateway = lab.host("gateway");
    await serve(lab.host("internet"), servers.v4, FIRST);
    await forward(gateway, servers.v4, 5353);
    await using proxy = await ProxyRun.start(gateway, ["--local", "--dns", "127.0.0.1:5353"]);
    // Its own question comes back to it, and it waits for itself.
    const { stdout } = await gateway.run([
      "dig",
      `@${ASKED[0]}`,
      "who.example.test",
      "+short",
      "+tries=1",
      "+time=2",
    ]);
    assertMatch(stdout, /no servers could be reached/);
    await gateway.output(["nft", "-f", "-"], {
      stdin: "table inet resolver { chain output { type route hook output priority raw; " +
        `ip daddr ${servers.v4} meta l4proto { tcp, udp } th dport 53 meta mark set meta mark | 0x02000000\n}\n}`,
    });
    assertEquals(await whoAnswers(gateway, ASKED[0]!), FIRST);
    assertEquals(await whoAnswers(gateway, ASKED[1]!, "+tcp"), FIRST);
    await proxy.stopByForce();
  },
  options,
);

labTest(`dns: another address for this host is no more than a moment without names${remark}`, async () => {
  await using lab = await gatewayLab();
  const gateway = lab.host("gateway"), client = lab.host("client");
  await serve(lab.host("internet"), servers.v4, FIRST);
  await using proxy = await ProxyRun.start(gateway, [
    "--from",
    "lan0",
    "--workers",
    "1",
    "--dns",
    servers.v4,
  ]);
  // Most of its sockets are open, and connected from the address that goes.
  for (let i = 0; i < 20; i++) assertEquals(await whoAnswers(client, ASKED[0]!), FIRST);
  await gateway.output(["ip", "address", "del", `${GATEWAY_LAB.gateway.wanV4}/24`, "dev", "wan0"]);
  await gateway.output(["ip", "address", "add", "198.18.0.77/24", "dev", "wan0"]);
  await gateway.output(["ip", "route", "replace", "default", "via", "198.18.0.2"]);
  const ask = ["dig", `@${ASKED[0]}`, "who.example.test", "+short", "+tries=1", "+time=1"];
  await eventually("names are resolved", async () => (await client.run(ask)).stdout.trim() === FIRST, 8_000);
  // And not by luck.
  for (let i = 0; i < 20; i++) assertEquals(await whoAnswers(client, ASKED[0]!), FIRST);
  await proxy.stopByForce();
}, options);

labTest("dns: a crowd with the same ports and ids gets the answers to its own questions", async () => {
  await using lab = await gatewayLab({ secondClient: true });
  const script = new URL("../fixtures/dns_crowd_main.ts", import.meta.url).href;
  const server = lab.host("internet").deno(script, ["serve", servers.v4]);
  await server.stdout.waitFor((line) => line === "ready" || undefined, 10_000);
  const flags = ["--from", "lan0", "--from", "lan1", "--workers", "2", "--dns", servers.v4];
  await using proxy = await ProxyRun.start(lab.host("gateway"), flags);
  const crowds = (["client", "client2"] as const).flatMap((name) =>
    ASKED.map((asked) => ({ name, asked, me: `${name}${asked.includes(":") ? "v6" : "v4"}` }))
  );
  const outcomes = await Promise.all(crowds.map(async ({ name, asked, me }): Promise<CrowdOutcome> => {
    const process = lab.host(name).deno(script, ["ask", asked, me, "40000"], {
      // Deno's look for a new version begins with DNS.
      env: { DENO_NO_UPDATE_CHECK: "1" },
    });
    const { code } = await process.wait(30_000);
    assertEquals(code, 0, process.stderr.tail());
    return JSON.parse(process.stdout.text());
  }));
  assertEquals(outcomes, crowds.map(() => ({ asked: 1000, answered: 1000, wrong: 0 })));
  const totals = await proxy.stopByForce();
  assertEquals([totals.dnsQueries, totals.dnsAnswers, totals.dnsMismatched], [4000, 4000, 0]);
});
