/**
 * UDP through Dante: an association for each of the client's sockets, asked for over either family. dig, a resolver, and
 * iperf3 -u; and TFTP, whose server answers from another port than the one it was asked at: a full cone.
 */
import { assertEquals, assertMatch } from "../assert.ts";
import { GATEWAY_LAB, labTest } from "../lab/mod.ts";
import { DANTE_LOGIN, DANTE_NEEDS, DANTE_PORT, startDante } from "./real_dante.ts";
import { KNOT } from "./real_dns.ts";
import { IPERF3 } from "./real_iperf3.ts";
import { BOTH_FAMILIES, missingPrograms, missingRemark } from "./real_program.ts";
import { DNSMASQ_TFTP } from "./real_tftp.ts";
import { ProgramInUse } from "./real_use.ts";
import { assertLeftBy, endpoint, UpstreamSite } from "./upstream_site.ts";

const { servers } = GATEWAY_LAB;
const missing = missingPrograms({ ...DANTE_NEEDS, ...KNOT.needs, ...IPERF3.needs, ...DNSMASQ_TFTP.needs });

for (const family of BOTH_FAMILIES) {
  labTest(
    `Dante, UDP by a server that is reached over IP${family}: dig, dnsmasq, iperf3 -u and TFTP${
      missingRemark(missing)
    }`,
    async (context) => {
      await using site = await UpstreamSite.start();
      const dante = await startDante(site.internet, site.folder, "username");
      await using dns = await ProgramInUse.start(KNOT, site.lab);
      await using tftp = await ProgramInUse.start(DNSMASQ_TFTP, site.lab);
      await using iperf3 = await ProgramInUse.start(IPERF3, site.lab);
      const proxy = await site.run(`[upstream.office]
kind = "socks5"
server = "${endpoint(family === "v4" ? servers.v4b : servers.v6b, DANTE_PORT)}"
username = "${DANTE_LOGIN.username}"
password = "${DANTE_LOGIN.password}"
[policy]
default = "office"
`);
      await dns.everyClient(context);
      await iperf3.everyClient(context);
      await tftp.everyClient(context);
      await proxy.stopByForce();
      const flows = proxy.logged("flow");
      dns.assertIntercepted(flows);
      tftp.assertIntercepted(flows);
      iperf3.assertIntercepted(flows);
      assertLeftBy(flows, "office");
      assertEquals(proxy.logged("warning"), []);
      assertMatch(dante.log(), /pass\(1\): udp\/udpassociate \[/);
    },
    { ignore: missing.length > 0, timeoutMs: 180_000 },
  );
}
