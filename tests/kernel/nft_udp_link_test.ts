/**
 * What the UDP rules leave alone because it means something on its own link alone, whoever the proxy is.
 *
 * @module
 */
import { assertEquals } from "../assert.ts";
import { DatagramClient, GATEWAY_LAB, gatewayLab, type Lab, labTest } from "../lab/mod.ts";
import { applyUdp, at, trackFlows, UdpStandIn } from "./nft_udp_lab.ts";

const { client, gateway, servers } = GATEWAY_LAB;
const FROM_PORT = 5_000;
const BROADCAST_MAIN = "tests/fixtures/broadcast_main.ts";

/** Beyond the on-link prefix that every interface has, and in it. */
const LINK_LOCAL_V6 = ["fe90::1", "febf:ffff::1", "fe80::1234"];
const BROADCAST_V4 = ["255.255.255.255", "192.0.2.255"];

/** Counts what comes in from the client: before any rule of ours sees it, and unmarked when all have. */
async function countArrivals(lab: Lab): Promise<() => Promise<number[]>> {
  const gatewayHost = lab.host("gateway");
  const chain = (name: string, priority: number, matches: string) => `
  counter ${name} { }
  chain at_${name} {
    type filter hook prerouting priority ${priority};
    iifname lan0 udp sport ${FROM_PORT} ${matches} counter name ${name}
  }`;
  await gatewayHost.output(["nft", "-f", "-"], {
    stdin: `table inet arrivals {${chain("before", -500, "")}${chain("after", -101, "meta mark 0")}\n}\n`,
  });
  return async () => {
    const listings = await Promise.all(["before", "after"].map((name) => {
      return gatewayHost.output(["nft", "list", "counter", "inet", "arrivals", name]);
    }));
    return listings.map((listing) => Number(/packets (\d+)/.exec(listing)![1]));
  };
}

labTest("nft: udp leaves broadcasts and link-local destinations alone", async () => {
  await using lab = await gatewayLab();
  await trackFlows(lab);
  const arrivals = await countArrivals(lab);
  const clientHost = lab.host("client");
  for (const address of LINK_LOCAL_V6) {
    await clientHost.output(["ip", "route", "add", `${address}/128`, "via", gateway.v6]);
  }
  await using proxy = await UdpStandIn.start(lab.host("gateway"), 2);
  await using rules = await applyUdp(lab, { udpWorkers: 2 });
  await using sockets = new DatagramClient(clientHost);

  const endpoints = BROADCAST_V4.flatMap((address) => [at(address, 7), at(address, 138)]);
  const program = [Deno.execPath(), "run", "-A", "--cached-only", BROADCAST_MAIN];
  await clientHost.output([...program, at(client.v4, FROM_PORT), ...endpoints]);
  const v4 = await sockets.open({ from: at(client.v4, FROM_PORT) });
  await v4.send({ to: "169.254.1.1:7", text: "link" }, { to: "169.254.255.254:9999", text: "link" });
  const v6 = await sockets.open({ from: at(client.v6, FROM_PORT) });
  await v6.send(...LINK_LOCAL_V6.map((address) => ({ to: at(address, 7), text: "link" })));
  // All of it was there, and none of it taken; nor marked, since the kernel would drop a marked one to fe80::/10.
  assertEquals(await proxy.unexpected(), 0);
  const count = endpoints.length + 2 + LINK_LOCAL_V6.length;
  assertEquals(await arrivals(), [count, count]);

  // The same sockets are taken as soon as they write to somebody else.
  for (const [family, socket, server] of [[4, v4, servers.v4], [6, v6, servers.v6]] as const) {
    await socket.send({ to: at(server, 7), text: "elsewhere" });
    assertEquals((await proxy.taken(family))[0]!.destination, at(server, 7));
  }
  await rules.revert();
});

labTest("nft: udp leaves the ports of DHCP and DHCPv6 alone, and takes their neighbours", async () => {
  await using lab = await gatewayLab();
  const ports = [67, 68, 546, 547];
  const echoes = await Promise.all(
    ports.map((port) => lab.host("internet").serveDatagrams({ kind: "echo", port })),
  );
  await using proxy = await UdpStandIn.start(lab.host("gateway"), 2);
  await using rules = await applyUdp(lab, { udpWorkers: 2 });
  await using sockets = new DatagramClient(lab.host("client"));
  for (const [family, server, from] of [[4, servers.v4, client.v4], [6, servers.v6, client.v6]] as const) {
    const socket = await sockets.open({ from: at(from, 0) });
    for (const port of ports) {
      assertEquals((await socket.ask({ to: at(server, port), text: `${port}` })).from, at(server, port));
    }
    for (const port of [66, 69, 545, 548]) {
      await socket.send({ to: at(server, port), text: `${port}` });
      assertEquals((await proxy.taken(family))[0]!.destination, at(server, port));
    }
  }
  assertEquals(echoes.map(({ receivedCount }) => receivedCount), [2, 2, 2, 2]);
  assertEquals(await proxy.unexpected(), 0);
  await rules.revert();
});
