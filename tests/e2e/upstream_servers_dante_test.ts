/**
 * TCP through Dante, a SOCKS5 server that people run: curl, dig and iperf3, in both families, by a server that is
 * reached in either, with and without a password.
 */
import { assert, assertEquals, assertMatch } from "../assert.ts";
import { GATEWAY_LAB, labTest } from "../lab/mod.ts";
import { DANTE_LOGIN, DANTE_NEEDS, DANTE_PORT, startDante } from "./real_dante.ts";
import { KNOT } from "./real_dns.ts";
import { IPERF3_TCP } from "./real_iperf3.ts";
import { BOTH_FAMILIES, missingPrograms, missingRemark, overTcp } from "./real_program.ts";
import { ProgramInUse } from "./real_use.ts";
import { assertFetchReset, assertLeftBy, endpoint, fetchAll, UpstreamSite } from "./upstream_site.ts";

const { servers } = GATEWAY_LAB;
const missing = missingPrograms({ ...DANTE_NEEDS, ...KNOT.needs, ...IPERF3_TCP.needs, curl: "curl" });
const options = { ignore: missing.length > 0, timeoutMs: 180_000 };

function upstream(address: string, login = ""): string {
  return `[upstream.office]
kind = "socks5"
server = "${endpoint(address, DANTE_PORT)}"
${login}
[policy]
default = "office"
`;
}

for (const method of ["none", "username"] as const) {
  const name = method === "none" ? "no password" : "a password";
  labTest(`Dante, ${name}: curl, dig and iperf3 over TCP${missingRemark(missing)}`, async (context) => {
    await using site = await UpstreamSite.start();
    const dante = await startDante(site.internet, site.folder, method);
    const web = await site.internet.serve({ kind: "http" });
    await using dns = await ProgramInUse.start(overTcp(KNOT), site.lab);
    await using iperf3 = await ProgramInUse.start(IPERF3_TCP, site.lab);
    const { username, password } = DANTE_LOGIN;
    await Deno.writeTextFile(`${site.folder}/password`, `${password}\n`, { mode: 0o600 });
    const login = method === "none" ? "" : `username = "${username}"\npassword-file = "password"`;
    for (const family of BOTH_FAMILIES) {
      await context.step(`the server is reached over IP${family}`, async (step) => {
        const by = family === "v4" ? servers.v4b : servers.v6b;
        const proxy = await site.run(upstream(by, login));
        for (const to of BOTH_FAMILIES) {
          await step.step(`curl, ${to}`, async () => {
            // The server's own address of the destination's family, whichever way it is reached itself.
            const seen = to === "v4" ? servers.v4b : `[${servers.v6b}]`;
            assertEquals(await fetchAll(site, servers[to], web.port), seen);
          });
        }
        await dns.everyClient(step);
        await iperf3.everyClient(step);
        await proxy.stop();
        const flows = proxy.logged("flow");
        dns.assertIntercepted(flows);
        iperf3.assertIntercepted(flows);
        assertLeftBy(flows, "office");
        assertEquals(proxy.logged("warning"), []);
        assert(!proxy.process.stderr.text().includes(password), "the password is in the log");
      });
    }
    // By Dante's own account.
    assertMatch(dante.log(), /pass\(1\): tcp\/connect \[/);
    assertEquals(dante.log().includes(`username%${username}@`), method === "username");
  }, options);
}

labTest(`Dante, another password: a RST, and a warning that names it${missingRemark(missing)}`, async () => {
  await using site = await UpstreamSite.start();
  await startDante(site.internet, site.folder, "username");
  const web = await site.internet.serve({ kind: "http" });
  const proxy = await site.run(upstream(servers.v4b, `username = "pellucid"\npassword = "battery"`));
  await assertFetchReset(site.client, servers.v4, web.port);
  const { upstream: name, end, bytesUp } = await proxy.event("flow");
  assertEquals([name, end, bytesUp], ["office", { reason: "upstream-auth", side: "upstream" }, 0]);
  assertMatch(
    (await proxy.event("warning")).message,
    /socks5 203\.0\.113\.5:1080.*username or password refused/,
  );
  await proxy.stop();
}, options);

labTest(`Dante says what became of a destination${missingRemark(missing)}`, async () => {
  await using site = await UpstreamSite.start();
  await startDante(site.internet, site.folder, "none");
  await site.internet.unreachable(`${GATEWAY_LAB.nowhere.v4}/32`);
  const proxy = await site.run(upstream(servers.v4b));
  // Nobody listens.
  await assertFetchReset(site.client, servers.v4, 9);
  await assertFetchReset(site.client, servers.v6, 9);
  await assertFetchReset(site.client, GATEWAY_LAB.nowhere.v4, 80);
  await proxy.stop();
  const seen = proxy.logged("flow").map(({ destination, end }) => [destination, end.reason]);
  assertEquals(seen, [
    [endpoint(servers.v4, 9), "refused"],
    [endpoint(servers.v6, 9), "refused"],
    [endpoint(GATEWAY_LAB.nowhere.v4, 80), "unreachable"],
  ]);
}, options);
