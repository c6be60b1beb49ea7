/**
 * TCP through Dante, a SOCKS5 server that people run: curl, dig and iperf3, in both families, by a server that is
 * reached in either, with and without a password.
 */
import { assertEquals, assertMatch } from "../assert.ts";
import { GATEWAY_LAB, labTest } from "../lab/mod.ts";
import { DANTE_LOGIN, DANTE_NEEDS, DANTE_PORT, startDante } from "./real_dante.ts";
import { missingPrograms, missingRemark } from "./real_program.ts";
import { loginLines, TCP_PROGRAM_NEEDS, useTcpPrograms } from "./upstream_programs.ts";
import { assertFetchReset, endpoint, UpstreamSite } from "./upstream_site.ts";

const { servers } = GATEWAY_LAB;
const missing = missingPrograms({ ...DANTE_NEEDS, ...TCP_PROGRAM_NEEDS });
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
    const login = method === "none" ? "" : await loginLines(site, DANTE_LOGIN);
    await useTcpPrograms(context, site, web, {
      name: "office",
      tables: (server) => upstream(server, login),
      // The server's own address of the destination's family, whichever way it is reached itself.
      seenAs: { v4: servers.v4b, v6: `[${servers.v6b}]` },
      secret: DANTE_LOGIN.password,
    });
    // By Dante's own account.
    assertMatch(dante.log(), /pass\(1\): tcp\/connect \[/);
    assertEquals(dante.log().includes(`username%${DANTE_LOGIN.username}@`), method === "username");
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
