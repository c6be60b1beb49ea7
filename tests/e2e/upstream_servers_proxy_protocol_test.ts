/**
 * PROXY protocol, both versions, to servers that people run: HAProxy and nginx are told of the client's own socket and
 * of where it wanted to go.
 */
import { assertEquals } from "../assert.ts";
import { GATEWAY_LAB, labTest } from "../lab/mod.ts";
import { eventually } from "./proxy_run.ts";
import { IPERF3_TCP } from "./real_iperf3.ts";
import { BOTH_FAMILIES, type Family, missingPrograms, missingRemark } from "./real_program.ts";
import { HAPROXY, NGINX, PASSING_PORT, TELLING_PORT } from "./real_receivers.ts";
import { ProgramInUse } from "./real_use.ts";
import { assertLeftBy, endpoint, fetchText, UpstreamSite } from "./upstream_site.ts";

const { servers } = GATEWAY_LAB;

/** What the client asks for; nobody listens there. */
const WEB_PORT = 80;

for (const receiver of [HAPROXY, NGINX]) {
  const missing = missingPrograms({ ...receiver.needs, ...IPERF3_TCP.needs, curl: "curl" });
  labTest(
    `${receiver.name} is told whose connections they are: curl and iperf3${missingRemark(missing)}`,
    async (context) => {
      await using site = await UpstreamSite.start();
      const received = await receiver.start(site.internet, site.folder);
      await using iperf3 = await ProgramInUse.start(IPERF3_TCP, site.lab);
      for (const version of [1, 2]) {
        for (const family of BOTH_FAMILIES) {
          await context.step(`version ${version}, the server is reached over IP${family}`, async (step) => {
            const before = received.passed().length;
            const proxy = await site.run(configuration(version, family));
            for (const to of BOTH_FAMILIES) {
              await step.step(`curl, ${to}`, async () => {
                const { body, local, peer } = await fetchText(site.client, servers[to], WEB_PORT);
                assertEquals(told(body), { client: local, destination: peer });
              });
            }
            await iperf3.everyClient(step);
            await proxy.stop();
            const flows = proxy.logged("flow");
            iperf3.assertIntercepted(flows);
            assertLeftBy(flows.filter(({ destination }) => destination.endsWith(":5201")), "passing");
            assertLeftBy(flows.filter(({ destination }) => destination.endsWith(`:${WEB_PORT}`)), "telling");
            assertEquals(proxy.logged("warning"), []);
            // The server's log has the flows that the proxy's has.
            const passed = flows.filter(({ upstream }) => upstream === "passing");
            const logged = () => received.passed().slice(before).map(told);
            await eventually("all is in the server's log", () => {
              return Promise.resolve(logged().length >= passed.length);
            }, 5_000);
            const words = ({ client, destination }: ReturnType<typeof told>) => `${client} to ${destination}`;
            assertEquals(logged().map(words).toSorted(), passed.map(words).toSorted());
          });
        }
      }
    },
    { ignore: missing.length > 0, timeoutMs: 180_000 },
  );
}

function configuration(version: number, family: Family): string {
  const by = family === "v4" ? servers.v4b : servers.v6b;
  return `[udp]
mode = "off"
[upstream.telling]
kind = "proxy-protocol"
version = ${version}
server = "${endpoint(by, TELLING_PORT)}"
[upstream.passing]
kind = "proxy-protocol"
version = ${version}
server = "${endpoint(by, PASSING_PORT)}"
[[rule]]
destination-port = 5201
use = "passing"
[policy]
default = "telling"
`;
}

/** Of `CLIENT-ADDRESS CLIENT-PORT ADDRESS PORT`. */
function told(text: string): { client: string; destination: string } {
  const [client, clientPort, address, port] = text.trim().split(" ");
  return {
    client: endpoint(client!, Number(clientPort)),
    destination: endpoint(address!, Number(port)),
  };
}
