/**
 * Who talks to whom: every flow is named by the client's real endpoint, the destination it dialled and the socket
 * that the server saw, also with hundreds at once and with ports that are used again.
 */
import { parseEndpoint } from "../../net/mod.ts";
import { assert, assertEquals, assertLess, assertNotEquals } from "../assert.ts";
import {
  type ClientSpec,
  GATEWAY_LAB,
  gatewayLab,
  type LabServer,
  labTest,
  type ServedConnection,
} from "../lab/mod.ts";
import { ProxyRun } from "./proxy_run.ts";
import type { RawClientResult, RawStep } from "./raw_client_main.ts";
import { endpoint, type EventOf, RelaySite, type Source, WAYS } from "./relay_site.ts";

const { servers, gateway, client: clientAddress } = GATEWAY_LAB;
const RAW_CLIENT = new URL("raw_client_main.ts", import.meta.url).href;
const CONNECTIONS = 200;
/** The port of our own listener. */
const OUR_PORT = 7870;

for (const [mode, source] of WAYS) {
  labTest(
    `tuples: ${mode}, source ${source}: ${CONNECTIONS} connections at once, each named exactly`,
    async () => {
      await using site = await RelaySite.start({ mode, source });
      const echoes = await Promise.all([1, 2].map(() => site.internet.serve({ kind: "echo" })));
      const addresses = Object.values(servers);
      const specs = Array.from({ length: CONNECTIONS }, (_, at): ClientSpec => ({
        address: addresses[at % addresses.length]!,
        port: echoes[(at >> 2) % echoes.length]!.port,
        // As many bytes as its number: a record that names the wrong connection has the wrong count.
        steps: [
          { do: "send", bytes: at + 1, seed: at },
          { do: "await-bytes", bytes: at + 1 },
          // Until all of them have been open at once.
          { do: "sleep", ms: 300 },
          { do: "half-close" },
          { do: "await-end" },
        ],
      }));
      const results = await site.client.startClients(specs).results();
      const served = new Map<string, ServedConnection>();
      for (const echo of echoes) {
        for (let i = 0; i < CONNECTIONS / echoes.length; i++) {
          const connection = await echo.nextClosed();
          served.set(`${connection.peer} ${connection.local}`, connection);
        }
      }
      for (const [at, client] of results.entries()) {
        assertEquals([client.outcome, client.received, client.end], ["connected", at + 1, "fin"]);
        // With NAT a port that the client uses for several destinations arrives as several ports (kernel-facts.md).
        const isShared = results.filter(({ local }) => local === client.local).length > 1;
        const mayDiffer = mode === "redirect" && isShared;
        const flow = mayDiffer
          ? await site.proxy.flowWhere((flow) => flow.bytesUp === at + 1)
          : await site.proxy.flowOf(client);
        const { proto, client: named, destination, bytesUp, bytesDown, end } = flow;
        assertEquals(
          { proto, named: mayDiffer ? host(named) : named, destination, bytesUp, bytesDown, end },
          {
            proto: "tcp",
            named: mayDiffer ? host(client.local!) : client.local!,
            destination: endpoint(specs[at]!.address, specs[at]!.port),
            bytesUp: at + 1,
            bytesDown: at + 1,
            end: { reason: "closed", side: "client" },
          },
        );
        assertEquals(client.peer, flow.destination);
        assertLocal(flow, source);
        assertEquals(served.get(`${flow.local} ${flow.destination}`)?.received, at + 1);
      }
      const { draining, stopped } = await site.proxy.stop();
      assertEquals(draining.openConnections, 0);
      assertEquals([stopped.totals.tcpAccepted, stopped.totals.tcpFinished], [CONNECTIONS, CONNECTIONS]);
      assertEquals([stopped.totals.tcpSourcePortChanged, stopped.totals.flowRecordsDropped], [0, 0]);
    },
  );

  labTest(
    `tuples: ${mode}, source ${source}: a remote host's port ${OUR_PORT} is a port like any other`,
    async () => {
      await using site = await RelaySite.start({ mode, source });
      const echo = await site.internet.serve({ kind: "echo", port: OUR_PORT });
      const steps = [{ do: "send", bytes: 9 }, { do: "half-close" }, { do: "await-end" }] as const;
      const addresses = [servers.v4, servers.v6];
      const specs = addresses.map((address): ClientSpec => ({ address, port: echo.port, steps }));
      for (const [at, client] of (await site.client.startClients(specs).results()).entries()) {
        assertEquals([client.received, client.end], [9, "fin"]);
        const flow = await site.proxy.flowOf(client);
        assertEquals(flow.destination, endpoint(addresses[at]!, OUR_PORT));
        assertLocal(flow, source);
      }
    },
  );

  labTest(`tuples: ${mode}, source ${source}: a source port that is used again at once`, async () => {
    await using site = await RelaySite.start({ mode, source });
    for (const address of [servers.v4, servers.v6]) {
      // The side that closes first keeps the address pair for a minute (TIME_WAIT): the server does, and so do we
      // towards the client; or the client does, and so do we towards the server.
      const [closing, echo] = await Promise.all([
        site.internet.serve({ kind: "close" }),
        site.internet.serve({ kind: "echo" }),
      ]);
      await reuse(site, source, address, closing, 41_000, []);
      await reuse(site, source, address, echo, 41_001, [{ do: "send", text: "hello" }]);
    }
    const { stopped } = await site.proxy.stop();
    // A pair in TIME_WAIT is not taken: with timestamps, the kernel lets a bound socket have it (tcp_twsk_unique).
    assertEquals(stopped.totals.tcpSourcePortChanged, 0);
  });
}

for (const mode of ["tproxy", "redirect"] as const) {
  labTest(`tuples: ${mode}: one client port to two destinations at once`, async () => {
    await using site = await RelaySite.start({ mode });
    const echo = await site.internet.serve({ kind: "echo" });
    const from = endpoint(clientAddress.v4, 41_100);
    const [first, second] = [endpoint(servers.v4, echo.port), endpoint(servers.v4b, echo.port)];
    const waits: RawStep[] = [{ do: "send", text: "one" }, { do: "await-bytes", bytes: 3 }, {
      do: "say",
      line: "open",
    }, { do: "listen" }];
    const command = [Deno.execPath(), "run", "-A", "--cached-only", RAW_CLIENT];
    await using held = await site.client.spawn([
      ...command,
      JSON.stringify({ from, to: first, steps: waits }),
    ]);
    await held.stdout.waitFor((line) => line.includes("open") || undefined, 10_000);
    const steps: RawStep[] = [{ do: "send", text: "two" }];
    const { stdout, stderr } = await site.client.run([
      ...command,
      JSON.stringify({ from, to: second, steps }),
    ]);
    assertEquals((JSON.parse(stdout || stderr) as RawClientResult).received, "two");
    const flow = await site.proxy.flowTo(second);
    // To conntrack both are from this port to our listener: the second is given another port on its way there.
    if (mode === "tproxy") assertEquals(flow.client, from);
    else {
      assertEquals(host(flow.client), host(from));
      assertNotEquals(flow.client, from);
    }
    await held.write("\n");
    assertEquals((await site.proxy.flowTo(first)).client, from);
  });
}

/** An endpoint without its port. */
function host(text: string): string {
  return parseEndpoint(text)!.address.text;
}

async function reuse(
  site: RelaySite,
  source: Source,
  address: string,
  server: LabServer,
  port: number,
  steps: readonly RawStep[],
): Promise<void> {
  const from = endpoint(address.includes(":") ? clientAddress.v6 : clientAddress.v4, port);
  const to = endpoint(address, server.port);
  for (let round = 0; round < 3; round++) {
    const spec = JSON.stringify({ from, to, steps });
    const { code, stdout, stderr } = await site.client.run([
      ...[Deno.execPath(), "run", "-A", "--cached-only", RAW_CLIENT, spec],
    ]);
    assertEquals(code, 0, stderr);
    const client = JSON.parse(stdout) as RawClientResult;
    assertEquals(client.local, from);
    assertEquals(client.received, steps.length === 0 ? "" : "hello");
    // A SYN that was not answered is sent again after a second.
    assertLess(client.connectMs, 900);
    const flow = await site.proxy.flowTo(to, round);
    assertEquals([flow.client, flow.end.reason], [from, "closed"]);
    assertLocal(flow, source);
    assertEquals((await server.nextClosed()).peer, flow.local);
  }
}

for (const mode of ["tproxy", "redirect"] as const) {
  labTest(
    `tuples: ${mode}, source keep: a tuple that is taken keeps its address, and is counted`,
    async () => {
      // A client on this host holds its tuple itself.
      await using site = await RelaySite.start({ mode, source: "keep", flags: ["--local"] });
      const echo = await site.internet.serve({ kind: "echo" });
      const addresses = [servers.v4, servers.v6];
      const specs = addresses.map((address): ClientSpec => ({
        address,
        port: echo.port,
        steps: [{ do: "send", bytes: 9 }, { do: "half-close" }, { do: "await-end" }],
      }));
      for (const [at, client] of (await site.gateway.startClients(specs).results()).entries()) {
        assertEquals([client.received, client.end], [9, "fin"]);
        const flow = await site.proxy.flowOf(client);
        assertEquals(flow.destination, endpoint(addresses[at]!, echo.port));
        assertLocal(flow, "own");
        assertNotEquals(flow.local, flow.client);
        assertEquals((await echo.nextClosed()).received, 9);
      }
      const { stopped } = await site.proxy.stop();
      assertEquals(stopped.totals.tcpSourcePortChanged, addresses.length);
    },
  );
}

for (const mode of ["tproxy", "redirect"] as const) {
  labTest(
    `tuples: ${mode}, source keep: a port below 1024 needs no more than CAP_NET_ADMIN, and is counted`,
    async () => {
      const set = "-all,+net_admin";
      const prefix = [
        "setpriv",
        "--no-new-privs",
        "--bounding-set",
        set,
        "--inh-caps",
        set,
        "--ambient-caps",
        set,
      ];
      await using lab = await gatewayLab();
      const echo = await lab.host("internet").serve({ kind: "echo" });
      const flags = ["--from", "lan0", "--flows", "--tcp", mode, "--udp", "off", "--source", "keep"];
      await using proxy = await ProxyRun.start(lab.host("gateway"), flags, { prefix });
      for (
        const [address, from] of [[servers.v4, clientAddress.v4], [servers.v6, clientAddress.v6]] as const
      ) {
        for (const port of [800, 40_000]) {
          const spec = {
            from: endpoint(from, port),
            to: endpoint(address, echo.port),
            steps: [{ do: "send", text: "hello" }] satisfies RawStep[],
          };
          const { code, stdout, stderr } = await lab.host("client").run([
            ...[Deno.execPath(), "run", "-A", "--cached-only", RAW_CLIENT, JSON.stringify(spec)],
          ]);
          assertEquals(code, 0, stderr);
          assertEquals((JSON.parse(stdout) as RawClientResult).received, "hello");
          const flow = await proxy.event("flow", (flow) => flow.client === spec.from);
          assertEquals([flow.end.reason, (await echo.nextClosed()).peer], ["closed", flow.local]);
          // The address is kept in any case.
          if (port === 40_000) assertEquals(flow.local, spec.from);
          else {assert(
              flow.local!.startsWith(endpoint(from, 0).slice(0, -1)) && flow.local !== spec.from,
              flow.local,
            );}
        }
      }
      const totals = await proxy.stop();
      assertEquals([totals.tcpSourcePortChanged, totals.tcpFinished, totals.tcpDialFailed], [2, 4, 0]);
    },
  );
}

function assertLocal(flow: EventOf<"flow">, source: Source): void {
  if (source === "keep") assertEquals(flow.local, flow.client);
  else {
    const { wanV4, wanV6 } = gateway;
    assert(
      flow.local!.startsWith(flow.destination.startsWith("[") ? `[${wanV6}]:` : `${wanV4}:`),
      flow.local,
    );
  }
}
