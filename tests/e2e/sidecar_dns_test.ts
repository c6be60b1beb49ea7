/**
 * A pod's DNS: queries that its programs send are answered from our resolvers, as if by whom they had asked.
 */
import { assert, assertEquals, assertMatch } from "../assert.ts";
import { type LabHost, labTest } from "../lab/mod.ts";
import { serveNames, whoAnswers, withResolvers } from "./resolver_program.ts";
import { BOTH_FAMILIES, endpoint, OUTSIDE, POD, SidecarSite } from "./sidecar_site.ts";

const { remark, ignore } = withResolvers();
const options = { ignore, timeoutMs: 90_000 };

/** What our resolver says, and what the one says that the pod's programs ask. */
const OURS = "192.0.2.101", THEIRS = "192.0.2.102";
const DNS_PORT = 15_053;
const TRIES = 20;

const serve = (host: LabHost, port: number, me: string) => serveNames(host, { me, port });

labTest(
  `sidecar, DNS: whoever is asked, our resolver answers, over UDP and TCP${remark}`,
  async (context) => {
    await using site = await SidecarSite.start();
    await Promise.all([serve(site.outside, 5353, OURS), serve(site.outside, 53, THEIRS)]);
    for (const family of BOTH_FAMILIES) {
      await context.step(`a resolver with an address of IP${family}`, async () => {
        const flags = ["--capture-dns", "all", "--dns", endpoint(OUTSIDE[family], 5353), "--workers", "2"];
        const proxy = await site.run(flags);
        const asked = [OUTSIDE.v4b, OUTSIDE.v6b];
        for (const address of asked) {
          for (let i = 0; i < TRIES; i++) assertEquals(await whoAnswers(site.pod, address), OURS);
          assertEquals(await whoAnswers(site.pod, address, "+tcp"), OURS);
        }
        const totals = await proxy.stopByForce();
        assertEquals(
          [totals.dnsQueries, totals.dnsAnswers, totals.dnsPendingNow, totals.dnsMalformed],
          [2 * TRIES, 2 * TRIES, 0, 0],
        );
        assertEquals([totals.udpSessionsOpened, totals.tcpFinished], [0, 2]);
        assertEquals(
          // Two workers tell in no order.
          site.flows().map(({ direction, destination }) => `${direction} ${destination}`).sort(),
          asked.map((address) => `outbound ${endpoint(address, 53)}`).sort(),
        );
        assertEquals(proxy.logged("warning"), []);
      });
    }
  },
  options,
);

labTest(`sidecar, DNS: the resolver that programs ask may be our own as well${remark}`, async () => {
  await using site = await SidecarSite.start();
  await serve(site.outside, 53, THEIRS);
  const proxy = await site.run(["--capture-dns", "all", "--dns", endpoint(OUTSIDE.v4, 53)]);
  for (let i = 0; i < TRIES; i++) assertEquals(await whoAnswers(site.pod, OUTSIDE.v4), THEIRS);
  assertEquals(await whoAnswers(site.pod, OUTSIDE.v4, "+tcp"), THEIRS);
  const { dnsAnswers, dnsRetries } = await proxy.stopByForce();
  assertEquals([dnsAnswers, dnsRetries], [TRIES, 0]);
}, options);

labTest(`sidecar, DNS: only the name servers that are listed${remark}`, async () => {
  await using site = await SidecarSite.start();
  await Promise.all([serve(site.outside, 5353, OURS), serve(site.outside, 53, THEIRS)]);
  const listed = `${OUTSIDE.v4},${OUTSIDE.v6b}`;
  const dns = ["--capture-dns", "servers", "--dns-server", listed, "--dns", endpoint(OUTSIDE.v4, 5353)];
  const proxy = await site.run(dns);
  for (const way of [[], ["+tcp"]]) {
    for (const address of [OUTSIDE.v4, OUTSIDE.v6b]) {
      assertEquals(await whoAnswers(site.pod, address, ...way), OURS);
    }
    for (const address of [OUTSIDE.v4b, OUTSIDE.v6]) {
      assertEquals(await whoAnswers(site.pod, address, ...way), THEIRS);
    }
  }
  assertEquals((await proxy.stopByForce()).dnsAnswers, 2);
}, options);

labTest(`sidecar, DNS: a name server on loopback is one like any other${remark}`, async () => {
  await using site = await SidecarSite.start();
  await serve(site.outside, 5353, OURS);
  const proxy = await site.run(["--capture-dns", "all", "--dns", endpoint(OUTSIDE.v4, 5353)]);
  for (const address of ["127.0.0.53", "::1"]) {
    for (const way of [[], ["+tcp"]]) assertEquals(await whoAnswers(site.pod, address, ...way), OURS);
  }
  const { dnsAnswers, tcpRefusedLoop } = await proxy.stopByForce();
  assertEquals([dnsAnswers, tcpRefusedLoop], [2, 0]);
}, options);

labTest(`sidecar, DNS: nobody outside the pod can ask our port${remark}`, async () => {
  await using site = await SidecarSite.start();
  await serve(site.outside, 5353, OURS);
  const dns = ["--capture-dns", "all", "--dns", endpoint(OUTSIDE.v4, 5353)];
  const proxy = await site.run(dns);
  for (const family of BOTH_FAMILIES) {
    const question = [
      "dig",
      `@${POD[family]}`,
      "-p",
      `${DNS_PORT}`,
      "who.example.test",
      "+tries=1",
      "+time=2",
    ];
    for (const way of [[], ["+tcp"]]) {
      const { code, stdout } = await site.outside.run([...question, ...way]);
      assert(code !== 0, stdout);
      assertMatch(
        stdout,
        /connection refused|timed out|connection reset|end of file|no servers could be reached/,
      );
    }
  }
  const { dnsQueries, tcpFinished } = await proxy.stopByForce();
  assertEquals([dnsQueries, tcpFinished], [0, 0]);
}, options);
