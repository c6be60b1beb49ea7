/**
 * Connections to a pod: which ones the sidecar takes, and as whom its programs see the client.
 */
import { assert, assertEquals, assertNotEquals } from "../assert.ts";
import { type ClientSpec, labTest } from "../lab/mod.ts";
import {
  BOTH_FAMILIES,
  endpoint,
  exchange,
  EXCHANGED,
  hostOf,
  OUTSIDE,
  OUTSIDE_LINK,
  POD,
  SidecarSite,
} from "./sidecar_site.ts";

const CONNECTIONS = 200;
const HEALTH_PORT = 15_021;

for (const inbound of ["redirect", "tproxy"] as const) {
  labTest(`sidecar, inbound ${inbound}: the program sees the pod itself, the record the client`, async () => {
    await using site = await SidecarSite.start();
    const echo = await site.pod.serve({ kind: "echo" });
    const proxy = await site.run(["--inbound", inbound]);
    const clients = [];
    for (const family of BOTH_FAMILIES) {
      const client = await exchange(site.outside, POD[family], echo.port);
      assertEquals(client.peer, endpoint(POD[family], echo.port));
      const { peer, local } = await echo.nextOpened();
      assertEquals([hostOf(peer), local], [POD[family], endpoint(POD[family], echo.port)]);
      assertNotEquals(peer, client.local);
      clients.push({ client: client.local!, destination: client.peer!, local: peer });
    }
    const totals = await proxy.stopByForce();
    assertEquals([totals.tcpAccepted, totals.tcpFinished, totals.tcpRefusedLoop], [2, 2, 0]);
    const flows = site.flows().map(({ direction, client, destination, local, bytesUp }) => ({
      direction,
      client,
      destination,
      local,
      bytesUp,
    }));
    // Two workers tell in no order.
    const byClient = (one: { client: string }, other: { client: string }) =>
      one.client < other.client ? -1 : 1;
    assertEquals(
      flows.sort(byClient),
      clients.map((known) => ({ direction: "inbound" as const, ...known, bytesUp: EXCHANGED })).sort(
        byClient,
      ),
    );
  });

  labTest(
    `sidecar, inbound ${inbound}: ports that are excluded, or not included, are left alone`,
    async () => {
      await using site = await SidecarSite.start();
      const [health, web, admin] = await Promise.all([
        site.pod.serve({ kind: "echo", port: HEALTH_PORT }),
        site.pod.serve({ kind: "echo", port: 8080 }),
        site.pod.serve({ kind: "echo", port: 9090 }),
      ]);
      const excluded = await site.run([
        "--inbound",
        inbound,
        "--exclude-inbound-ports",
        `${HEALTH_PORT},9000-9099`,
      ]);
      for (const family of BOTH_FAMILIES) {
        for (const { port } of [health, web, admin]) await exchange(site.outside, POD[family], port);
      }
      assertEquals((await excluded.stopByForce()).tcpAccepted, 2);
      assertEquals(
        new Set(site.flows().map(({ destination }) => destination.split(":").at(-1))),
        new Set(["8080"]),
      );
      const included = await site.run(["--inbound", inbound, "--inbound-ports", "9090"]);
      for (const family of BOTH_FAMILIES) {
        for (const { port } of [health, web, admin]) await exchange(site.outside, POD[family], port);
      }
      assertEquals((await included.stopByForce()).tcpAccepted, 2);
      assertEquals(
        new Set(site.flows().map(({ destination }) => destination.split(":").at(-1))),
        new Set(["9090"]),
      );
      const addresses: string[] = [...Object.values(OUTSIDE), ...Object.values(OUTSIDE_LINK)];
      for (let i = 0; i < 4; i++) {
        const { peer } = await health.nextOpened();
        assert(addresses.includes(hostOf(peer)), peer);
      }
    },
  );

  labTest(`sidecar, inbound ${inbound}: nobody is let in by dialling our own ports`, async () => {
    await using site = await SidecarSite.start();
    const proxy = await site.run(["--inbound", inbound]);
    for (const family of BOTH_FAMILIES) {
      for (const port of [15_001, 15_006]) {
        const steps = [{ do: "await-end" }] as const;
        const address = POD[family];
        const { outcome, end } = await site.outside.connect({ address, port, steps });
        assert(outcome === "reset" || end === "reset", `${address}:${port}: ${outcome}, ${end}`);
      }
    }
    const { tcpRefusedLoop, tcpFinished } = await proxy.stopByForce();
    assertEquals([tcpRefusedLoop, tcpFinished], [4, 0]);
  });
}

labTest(
  `sidecar, inbound tproxy, source keep: ${CONNECTIONS} connections at once, each from its client`,
  async () => {
    await using site = await SidecarSite.start();
    const echo = await site.pod.serve({ kind: "echo" });
    const proxy = await site.run(["--inbound", "tproxy", "--source", "keep"]);
    const specs = Array.from({ length: CONNECTIONS }, (_, at): ClientSpec => ({
      address: POD[BOTH_FAMILIES[at % 2]!],
      port: echo.port,
      // As many bytes as its number: a connection that got another's bytes has the wrong count.
      steps: [
        { do: "send", bytes: at + 1, seed: at },
        { do: "await-bytes", bytes: at + 1 },
        { do: "sleep", ms: 300 },
        { do: "half-close" },
        { do: "await-end" },
      ],
      timeoutMs: 15_000,
    }));
    const results = await site.outside.startClients(specs).results();
    const served = new Map<string, number>();
    for (let i = 0; i < CONNECTIONS; i++) {
      const { peer, received } = await echo.nextClosed();
      served.set(peer, received);
    }
    const totals = await proxy.stopByForce();
    assertEquals([totals.tcpFinished, totals.tcpSourcePortChanged, totals.tcpDialFailed], [
      CONNECTIONS,
      0,
      0,
    ]);
    const flows = new Map(site.flows().map((flow) => [flow.client, flow]));
    for (const [at, { outcome, received, end, local }] of results.entries()) {
      assertEquals([outcome, received, end], ["connected", at + 1, "fin"]);
      const flow = flows.get(local!)!;
      assertEquals([flow.direction, flow.bytesUp, hostOf(flow.local!)], ["inbound", at + 1, hostOf(local!)]);
      // The pair of client and program is that of the connection which we have accepted.
      assertNotEquals(flow.local, local);
      assertEquals(served.get(flow.local!), at + 1);
    }
  },
);

labTest("sidecar: --drop-invalid loses what conntrack cannot place, and nothing else", async () => {
  await using site = await SidecarSite.start();
  const echo = await site.pod.serve({ kind: "echo" });
  for (const flags of [[], ["--drop-invalid"]]) {
    const proxy = await site.run([...flags, "--exclude-inbound-ports", `${echo.port}`]);
    await using run = site.outside.startClients([{
      address: POD.v4,
      port: echo.port,
      steps: [{ do: "send", bytes: 10 }, { do: "await-bytes", bytes: 10 }, { do: "sleep", ms: 3_000 }, {
        do: "send",
        bytes: 10,
      }, {
        do: "await-bytes",
        bytes: 20,
      }],
      timeoutMs: 6_000,
    }]);
    await run.progress(({ received }) => received === 10);
    // From now on the open connection is one that conntrack has never heard of, and takes for none.
    await site.pod.output([
      "sh",
      "-c",
      "echo 0 > /proc/sys/net/netfilter/nf_conntrack_tcp_loose; conntrack -F",
    ]);
    const [result] = await run.results();
    const isDropped = flags.length > 0;
    assertEquals([result!.received, result!.timedOut], isDropped ? [10, true] : [20, false]);
    await exchange(site.outside, POD.v4, echo.port);
    await proxy.stopByForce();
  }
});
