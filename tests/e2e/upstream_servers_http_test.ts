/**
 * TCP through Tinyproxy, an HTTP proxy that people run: curl, dig and iperf3, with and without a password; and through
 * Dante to Tinyproxy, one behind the other.
 */
import { assert, assertEquals, assertMatch } from "../assert.ts";
import { GATEWAY_LAB, labTest } from "../lab/mod.ts";
import { DANTE_LOGIN, DANTE_NEEDS, DANTE_PORT, startDante } from "./real_dante.ts";
import { KNOT } from "./real_dns.ts";
import { IPERF3_TCP } from "./real_iperf3.ts";
import { BOTH_FAMILIES, missingPrograms, missingRemark, overTcp } from "./real_program.ts";
import { startTinyproxy, TINYPROXY_LOGIN, TINYPROXY_NEEDS, TINYPROXY_PORT } from "./real_tinyproxy.ts";
import { ProgramInUse } from "./real_use.ts";
import { loginLines, TCP_PROGRAM_NEEDS, useTcpPrograms } from "./upstream_programs.ts";
import { assertFetchReset, assertLeftBy, endpoint, fetchAll, UpstreamSite } from "./upstream_site.ts";

const { servers, gateway } = GATEWAY_LAB;
const missing = missingPrograms({ ...TINYPROXY_NEEDS, ...TCP_PROGRAM_NEEDS });
const options = { ignore: missing.length > 0, timeoutMs: 180_000 };

/** An HTTP proxy does not carry UDP, and a configuration has to say what becomes of that. */
function upstream(address: string, login = ""): string {
  return `[udp]
mode = "off"
[upstream.web]
kind = "http"
server = "${endpoint(address, TINYPROXY_PORT)}"
${login}
[policy]
default = "web"
`;
}

for (const wantsLogin of [false, true]) {
  const name = wantsLogin ? "a password" : "no password";
  labTest(`Tinyproxy, ${name}: curl, dig and iperf3 over TCP${missingRemark(missing)}`, async (context) => {
    await using site = await UpstreamSite.start();
    const tinyproxy = await startTinyproxy(site.internet, site.folder, wantsLogin);
    const web = await site.internet.serve({ kind: "http" });
    const login = wantsLogin ? await loginLines(site, TINYPROXY_LOGIN) : "";
    await useTcpPrograms(context, site, web, {
      name: "web",
      tables: (server) => upstream(server, login),
      // The internet host to itself, and not the gateway.
      seenAs: { v4: servers.v4, v6: `[${servers.v6}]` },
      secret: TINYPROXY_LOGIN.password,
    });
    for (const to of BOTH_FAMILIES) {
      assert(
        tinyproxy.log().includes(`CONNECT ${endpoint(servers[to], web.port)} HTTP/1.1`),
        tinyproxy.log(),
      );
    }
  }, options);
}

labTest(
  `Tinyproxy, another password: a RST, and a warning that names it${missingRemark(missing)}`,
  async () => {
    await using site = await UpstreamSite.start();
    await startTinyproxy(site.internet, site.folder, true);
    const web = await site.internet.serve({ kind: "http" });
    for (const login of ["", `username = "pellucid"\npassword = "battery"`]) {
      const proxy = await site.run(upstream(servers.v4b, login));
      await assertFetchReset(site.client, servers.v4, web.port);
      const { upstream: name, end, bytesUp } = await proxy.event("flow");
      assertEquals([name, end, bytesUp], ["web", { reason: "upstream-auth", side: "upstream" }, 0]);
      assertMatch((await proxy.event("warning")).message, /http 203\.0\.113\.5:3128.*username or password/);
      await proxy.stop();
    }
  },
  options,
);

labTest(`Tinyproxy cannot connect: a RST, and nobody's fault${missingRemark(missing)}`, async () => {
  await using site = await UpstreamSite.start();
  await startTinyproxy(site.internet, site.folder, false);
  const proxy = await site.run(upstream(servers.v4b));
  await assertFetchReset(site.client, servers.v4, 9);
  const { upstream: name, end } = await proxy.event("flow");
  // 500 is all that it says.
  assertEquals([name, end], ["web", { reason: "upstream-failed", side: "upstream" }]);
  await proxy.stop();
}, options);

const missingInChain = missingPrograms({ ...DANTE_NEEDS, ...TINYPROXY_NEEDS, ...TCP_PROGRAM_NEEDS });
labTest(
  `a chain through Dante to Tinyproxy: curl, dig and iperf3${missingRemark(missingInChain)}`,
  async (context) => {
    await using site = await UpstreamSite.start();
    const dante = await startDante(site.internet, site.folder, "username");
    const tinyproxy = await startTinyproxy(site.internet, site.folder, true);
    const web = await site.internet.serve({ kind: "http" });
    await using dns = await ProgramInUse.start(overTcp(KNOT), site.lab);
    await using iperf3 = await ProgramInUse.start(IPERF3_TCP, site.lab);
    const proxy = await site.run(`[udp]
mode = "off"
[upstream.first]
kind = "socks5"
server = "${endpoint(servers.v4b, DANTE_PORT)}"
username = "${DANTE_LOGIN.username}"
password = "${DANTE_LOGIN.password}"
[upstream.second]
kind = "http"
server = "${endpoint(servers.v6b, TINYPROXY_PORT)}"
username = "${TINYPROXY_LOGIN.username}"
password = "${TINYPROXY_LOGIN.password}"
[upstream.both]
kind = "chain"
hops = ["first", "second"]
[policy]
default = "both"
`);
    for (const to of BOTH_FAMILIES) {
      await context.step(`curl, ${to}`, () => fetchAll(site, servers[to], web.port).then(() => {}));
    }
    await dns.everyClient(context);
    await iperf3.everyClient(context);
    await proxy.stop();
    const flows = proxy.logged("flow");
    dns.assertIntercepted(flows);
    iperf3.assertIntercepted(flows);
    assertLeftBy(flows, "both");
    assertEquals(proxy.logged("warning"), []);
    // Dante was asked for Tinyproxy by the gateway, and Tinyproxy for the destination by Dante.
    const asked = dante.log().split("\n").filter((line) => line.includes("tcp/connect ["));
    assertEquals(asked.length, flows.length);
    for (const line of asked) {
      assert(line.includes(`${gateway.wanV4}.`) && line.includes(`${servers.v6b}.${TINYPROXY_PORT}`), line);
    }
    assertMatch(tinyproxy.log(), new RegExp(`CONNECT 198\\.51\\.100\\.10:${web.port} HTTP/1\\.1`));
  },
  { ignore: missingInChain.length > 0, timeoutMs: 180_000 },
);
