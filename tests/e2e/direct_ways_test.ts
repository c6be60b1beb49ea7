/**
 * `direct` upstreams beside one another, alone and as members of groups: whose address and which codepoint a server
 * sees, whatever the source of the others is.
 */
import { assert, assertEquals } from "../assert.ts";
import {
  type ClientResult,
  DatagramClient,
  type DatagramServer,
  gatewayLab,
  type LabServer,
  labTest,
} from "../lab/mod.ts";
import { endpoint, FAMILIES, type Family } from "./datagram_site.ts";
import { ProxyRun } from "./proxy_run.ts";

const SERVED = 7000;

/** A way, by the port whose traffic it carries; its codepoint is that of what is sent. */
interface Way {
  readonly port: number;
  readonly source: "own" | "keep" | "as the run";
  readonly dscp: number;
}

const WAYS: Readonly<Record<string, Way>> = {
  direct: { port: 7001, source: "as the run", dscp: 0 },
  kept: { port: 7002, source: "keep", dscp: 46 },
  owned: { port: 7003, source: "own", dscp: 10 },
  "some-kept": { port: 7004, source: "keep", dscp: 46 },
  "some-owned": { port: 7005, source: "own", dscp: 10 },
};

const TABLES = `
[log]
flows = true

[upstream.kept]
kind = "direct"
source = "keep"
dscp = 46

[upstream.owned]
kind = "direct"
source = "own"
mark = 64
dscp = 10

[upstream.without-interface]
kind = "direct"
interface = "gone0"

[group.some-kept]
kind = "failover"
members = ["without-interface", "kept"]

[group.some-owned]
kind = "failover"
members = ["owned", "kept"]
` +
  // What a rule sends `direct` the kernel forwards by itself; what no rule is about passes us.
  Object.entries(WAYS).filter(([name]) => name !== "direct")
    .map(([name, { port }]) => `\n[[rule]]\ndestination-port = ${port}\nuse = "${name}"\n`).join("");

/** One server stands for those of all ways. */
const MANY_PORTS = [
  "nft",
  "table inet ports { chain in { type nat hook prerouting priority dstnat; " +
  `meta l4proto { tcp, udp } th dport 7001-7005 redirect to :${SERVED}; }; }`,
];

for (const mode of ["tproxy", "redirect"] as const) {
  for (const source of ["own", "keep"] as const) {
    labTest(`direct upstreams: ${mode}, the run's source ${source}: each has its own`, async (context) => {
      const file = await Deno.makeTempFile({ suffix: ".toml" });
      try {
        await Deno.writeTextFile(file, TABLES);
        await using lab = await gatewayLab();
        const internet = lab.host("internet"), gateway = lab.host("gateway"), client = lab.host("client");
        await internet.output(MANY_PORTS);
        const echo = await internet.serve({ kind: "echo", port: SERVED });
        const udpEcho = await internet.serveDatagrams({ kind: "echo", port: SERVED });
        const args = [
          "--from",
          "lan0",
          "--workers",
          "2",
          "--tcp",
          mode,
          "--source",
          source,
          "--config",
          file,
        ];
        await using proxy = await ProxyRun.start(gateway, args);
        await using datagrams = new DatagramClient(client);
        for (const family of FAMILIES) {
          for (const [name, way] of Object.entries(WAYS)) {
            const keeps = (way.source === "as the run" ? source : way.source) === "keep";
            await context.step(`${family.name}: ${name}`, async () => {
              await assertStream(
                family,
                way,
                keeps,
                echo,
                await client.connect({
                  address: family.server,
                  port: way.port,
                  steps: [{ do: "send", bytes: 10 }, { do: "half-close" }, { do: "await-end" }],
                }),
              );
              await assertDatagram(family, way, keeps, udpEcho, datagrams);
            });
          }
        }
        const { tcpOpenNow, tcpDialFailed } = await proxy.stopByForce();
        assertEquals([tcpOpenNow, tcpDialFailed], [0, 0]);
        for (const { destination, upstream } of proxy.logged("flow")) {
          const port = Number(destination.split(":").at(-1));
          assertEquals(WAYS[upstream!]?.port, port, destination);
        }
        assertEquals(proxy.logged("flow").length, 2 * FAMILIES.length * Object.keys(WAYS).length);
      } finally {
        await Deno.remove(file);
      }
    });
  }
}

async function assertStream(
  family: Family,
  { port }: Way,
  keeps: boolean,
  echo: LabServer,
  { outcome, received, end, local }: ClientResult,
): Promise<void> {
  assertEquals([outcome, received, end], ["connected", 10, "fin"], `${port}`);
  const { peer } = await echo.nextOpened();
  if (keeps) assertEquals(peer, local);
  else assert(peer.startsWith(family.name === "v4" ? `${family.wan}:` : `[${family.wan}]:`), peer);
}

async function assertDatagram(
  family: Family,
  { port, dscp }: Way,
  keeps: boolean,
  server: DatagramServer,
  client: DatagramClient,
): Promise<void> {
  const socket = await client.open({ from: endpoint(family.client, 0) });
  const to = endpoint(family.server, port);
  // The second one finds its session there.
  for (const text of ["first", "second"]) {
    await socket.send({ to, text });
    const { from, tos } = await server.received();
    const answer = await socket.received();
    assertEquals([answer.text, answer.from, tos], [text, to, dscp << 2], to);
    if (keeps) assertEquals(from, socket.local);
    else assertEquals(from, socket.local.replace(family.client, family.wan));
  }
}
