/**
 * PROXY protocol in front of datagrams, to a server that people run: Knot DNS is told whose query each of them is. (Over
 * TCP the release that Debian 12 has takes no headers.)
 */
import { assertEquals } from "../assert.ts";
import { GATEWAY_LAB, labTest } from "../lab/mod.ts";
import { BOTH_FAMILIES, type Family, missingPrograms, missingRemark } from "./real_program.ts";
import { startWhoami, WHOAMI_NAME, WHOAMI_NEEDS, WHOAMI_PORT } from "./real_whoami.ts";
import { assertLeftBy, UpstreamSite } from "./upstream_site.ts";

const { servers, client, gateway } = GATEWAY_LAB;

const missing = missingPrograms(WHOAMI_NEEDS);
labTest(
  `Knot DNS is told whose queries they are, in each datagram${missingRemark(missing)}`,
  async (context) => {
    await using site = await UpstreamSite.start();
    await startWhoami(site.internet, site.folder);
    const ask = async (family: Family) => {
      const type = family === "v4" ? "A" : "AAAA";
      const question = ["-p", `${WHOAMI_PORT}`, WHOAMI_NAME, type, "+notcp", "+short", "+tries=1", "+time=5"];
      return (await site.client.output(["dig", `@${servers[family]}`, ...question])).trim();
    };
    for (const upstream of ["direct", "told"]) {
      const proxy = await site.run(`[upstream.told]
kind = "proxy-protocol"
[policy]
default = "${upstream}"
`);
      for (const family of BOTH_FAMILIES) {
        await context.step(`${upstream}, ${family}`, async () => {
          const ours = family === "v4" ? gateway.wanV4 : gateway.wanV6;
          assertEquals(await ask(family), upstream === "direct" ? ours : client[family]);
        });
      }
      await proxy.stopByForce();
      const flows = proxy.logged("flow");
      assertEquals(flows.length, 2);
      assertLeftBy(flows, upstream);
    }
  },
  { ignore: missing.length > 0, timeoutMs: 120_000 },
);
