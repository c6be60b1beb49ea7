/**
 * What a reload leaves as it is for the clients of UDP: an upstream that is still the same keeps their associations.
 */
import { assertEquals } from "../assert.ts";
import { DatagramClient, GATEWAY_LAB, gatewayLab, labTest, SocksServer } from "../lab/mod.ts";
import { endpoint } from "./datagram_site.ts";
import { ProxyRun } from "./proxy_run.ts";

const { servers } = GATEWAY_LAB;

/** The server alone, and as the first of a group. */
const WAYS = ["office", "offices"];

labTest(
  "reload: clients keep their associations with an upstream that is still the same",
  async (context) => {
    await using lab = await gatewayLab();
    const internet = lab.host("internet");
    const socks = await SocksServer.start(internet);
    const server = await internet.serveDatagrams({ kind: "echo" });
    const file = await Deno.makeTempFile({ suffix: ".toml" });
    const before = { pipeline: true, more: "" };
    // Others come to stand in front of it, so that it has another number.
    const after = {
      pipeline: true,
      more: '[upstream.another]\nkind = "socks5"\nserver = "192.0.2.99:1080"\n',
    };
    const write = (way: string, { pipeline, more }: typeof before) =>
      Deno.writeTextFile(
        file,
        `${more}
[upstream.office]
kind = "socks5"
server = "${endpoint(servers.v4b, socks.port)}"
pipeline = ${pipeline}

[group.offices]
kind = "failover"
members = ["office"]

${more === "" ? "" : '[[rule]]\nnetwork = "tcp"\ndestination-port = 1\nuse = "another"\n'}
[policy]
default = "${way}"
`,
      );
    try {
      for (const way of WAYS) {
        await context.step(way, async () => {
          await write(way, before);
          await using proxy = await ProxyRun.start(lab.host("gateway"), ["--from", "lan0", "--config", file]);
          await using client = new DatagramClient(lab.host("client"));
          const socket = await client.open({ from: endpoint(GATEWAY_LAB.client.v4, 0) });
          /** By which port a server sees the client that has not heard of it yet, and how many associations there were. */
          const ask = async (address: string) => {
            const answer = await socket.ask({ to: endpoint(address, server.port), text: "anybody?" });
            assertEquals(answer.from, endpoint(address, server.port));
            const { from } = await server.received();
            // The relay is on the servers' host, and has each of its addresses.
            return [from.slice(from.lastIndexOf(":")), socks.associations.length];
          };
          let reloads = 0;
          const reload = async (change: typeof before) => {
            await write(way, change);
            await proxy.process.kill("SIGHUP");
            reloads++;
            await proxy.process.stderr.waitFor(
              () => proxy.logged("reloaded").length === reloads || undefined,
              10_000,
            );
          };
          const [mapped, count] = await ask(servers.v4);
          await reload(after);
          assertEquals(await ask(servers.v4b), [mapped, count]);
          await reload(before);
          assertEquals(await ask("198.18.0.2"), [mapped, count]);
          // Another way now, though it has the same name. The flow that there is goes on by the old one.
          await reload({ ...before, pipeline: false });
          assertEquals((await ask("198.18.0.2"))[1], count);
          assertEquals((await ask(servers.v4))[1], Number(count) + 1);
          assertEquals((await proxy.stopByForce()).udpUpstreamFailed, 0);
        });
      }
    } finally {
      await Deno.remove(file);
    }
  },
);
