/**
 * What the rules do to packets: real connections through the lab's gateway.
 *
 * @module
 */
import { applyPlan, DEFAULT_KERNEL_NUMBERS, detectHost, renderRoutes } from "../../nft/mod.ts";
import { assertEquals } from "../assert.ts";
import { type ClientSpec, GATEWAY_LAB, gatewayLab, type Lab, labTest } from "../lab/mod.ts";
import { hostOf, longConnection, shortConnection } from "./connections.ts";
import { gatewayPlan, labExec, Relay, RELAY_PORT } from "./nft_lab.ts";

const { bypass } = DEFAULT_KERNEL_NUMBERS.marks;
const { client, gateway, servers } = GATEWAY_LAB;
const OWN = { keep: "none", mark: bypass } as const;

async function connectAll(lab: Lab, from: string, specs: readonly ClientSpec[]): Promise<string[]> {
  await using run = lab.host(from).startClients(specs);
  return (await run.results()).map((result) => `${result.outcome} ${result.received ?? 0}`);
}

for (const tcp of ["tproxy", "redirect"] as const) {
  labTest(`nft: ${tcp} takes new forwarded connections and nothing else`, async () => {
    await using lab = await gatewayLab();
    const internet = lab.host("internet");
    await using echo = await internet.serve({ kind: "echo" });
    // The case a wildcard listener could be mistaken for the packet's socket.
    await using onOurPort = await internet.serve({ kind: "echo", port: RELAY_PORT });
    await using onGateway = await lab.host("gateway").serve({ kind: "echo" });
    await using onClient = await lab.host("client").serve({ kind: "echo" });
    const destination = { 4: `${servers.v4}:${echo.port}`, 6: `[${servers.v6}]:${echo.port}` };
    await using relay = await Relay.start(lab.host("gateway"), {
      ...OWN,
      ...(tcp === "redirect" ? { destination } : {}),
    });

    await using before = lab.host("client").startClients([
      longConnection(servers.v4, echo.port),
      longConnection(servers.v6, echo.port),
      longConnection(servers.v4, onOurPort.port),
      longConnection(servers.v6, onOurPort.port),
    ]);
    await using inbound = internet.startClients([
      longConnection(client.v4, onClient.port),
      longConnection(client.v6, onClient.port),
    ]);
    for (const i of [0, 1, 2, 3]) await before.progress(({ received }) => received >= 1000, i);
    for (const i of [0, 1]) await inbound.progress(({ received }) => received >= 1000, i);

    const exec = labExec(lab.host("gateway"));
    const rules = await applyPlan(gatewayPlan({ tcp }), {
      exec,
      host: await detectHost(exec),
      backend: "nft",
      keep: "process",
    });
    assertEquals((await before.results()).map((result) => result.received), [2000, 2000, 2000, 2000]);
    assertEquals((await inbound.results()).map((result) => result.received), [2000, 2000]);
    assertEquals(
      await connectAll(lab, "client", [
        shortConnection(gateway.v4, onGateway.port),
        shortConnection(gateway.v6, onGateway.port),
        shortConnection(gateway.wanV4, onGateway.port),
        shortConnection(gateway.wanV6, onGateway.port),
      ]),
      Array(4).fill("connected 1000"),
    );
    assertEquals(
      await connectAll(lab, "internet", [
        shortConnection(client.v4, onClient.port),
        shortConnection(client.v6, onClient.port),
      ]),
      Array(2).fill("connected 1000"),
    );
    assertEquals(relay.acceptedCount, 0);

    // Taken: open while the rules change to drain, and still carried.
    await using taken = lab.host("client").startClients([
      longConnection(servers.v4, echo.port),
      longConnection(servers.v6, echo.port),
    ]);
    for (const i of [0, 1]) await taken.progress(({ received }) => received >= 1000, i);
    const accepted = [await relay.nextAccepted(), await relay.nextAccepted()].sort((a, b) =>
      a.peer.localeCompare(b.peer)
    );
    assertEquals(accepted.map(({ peer }) => hostOf(peer)).sort(), [client.v4, `[${client.v6}]`].sort());
    if (tcp === "tproxy") {
      assertEquals(accepted.map(({ local }) => local).sort(), Object.values(destination).sort());
    }
    await rules.enterDrain();
    assertEquals((await taken.results()).map((result) => result.received), [2000, 2000]);
    const afterDrain = [shortConnection(servers.v4, echo.port), shortConnection(servers.v6, echo.port)];
    assertEquals(await connectAll(lab, "client", afterDrain), Array(2).fill("connected 1000"));
    assertEquals(relay.acceptedCount, 2);
    await rules.revert();
  }, { timeoutMs: 90_000 });
}

for (const tcp of ["tproxy", "redirect"] as const) {
  labTest(`nft: ${tcp} with source keep: the server sees the client's own address and port`, async () => {
    await using lab = await gatewayLab();
    await using echo = await lab.host("internet").serve({ kind: "echo" });
    const destination = { 4: `${servers.v4}:${echo.port}`, 6: `[${servers.v6}]:${echo.port}` };
    await using relay = await Relay.start(lab.host("gateway"), {
      keep: "endpoint",
      mark: bypass,
      ...(tcp === "redirect" ? { destination } : {}),
    });
    const exec = labExec(lab.host("gateway"));
    const facts = await detectHost(exec);
    await using rules = await applyPlan(gatewayPlan({ tcp, source: "keep" }), {
      exec,
      host: facts,
      backend: "nft",
      keep: "process",
    });
    await using run = lab.host("client").startClients([
      longConnection(servers.v4, echo.port),
      longConnection(servers.v6, echo.port),
    ]);
    for (const i of [0, 1]) {
      await run.progress(({ received }) => received >= 1000, i);
      const { local } = await run.connected(i);
      assertEquals(hostOf(local), [client.v4, `[${client.v6}]`][i]);
    }
    const dialled = [(await run.connected(0)).local, (await run.connected(1)).local].sort();
    const seen = [(await echo.nextOpened()).peer, (await echo.nextOpened()).peer].sort();
    assertEquals(seen, dialled);
    assertEquals([(await relay.nextAccepted()).peer, (await relay.nextAccepted()).peer].sort(), dialled);
    await rules.enterDrain();
    assertEquals((await run.results()).map((result) => result.received), [2000, 2000]);
  });

  labTest(`nft: ${tcp} takes this host's own new connections and no others`, async () => {
    await using lab = await gatewayLab();
    const here = lab.host("gateway");
    await using echo = await lab.host("internet").serve({ kind: "echo" });
    await using outer = await lab.host("internet").serve({ kind: "echo" });
    await using onGateway = await here.serve({ kind: "echo" });
    const destination = { 4: `${servers.v4}:${echo.port}`, 6: `[${servers.v6}]:${echo.port}` };
    await using relay = await Relay.start(here, { ...OWN, ...(tcp === "redirect" ? { destination } : {}) });
    await using before = here.startClients([
      longConnection(servers.v4, echo.port),
      longConnection(servers.v6, echo.port),
    ]);
    await using inbound = lab.host("internet").startClients([
      longConnection(gateway.wanV4, onGateway.port),
      longConnection(gateway.wanV6, onGateway.port),
    ]);
    for (const run of [before, inbound]) {
      for (const i of [0, 1]) await run.progress(({ received }) => received >= 1000, i);
    }
    const exec = labExec(here);
    await using rules = await applyPlan(gatewayPlan({ tcp, from: [], local: true }), {
      exec,
      host: await detectHost(exec),
      backend: "nft",
      keep: "process",
    });
    const untouched = [
      shortConnection(gateway.v4, onGateway.port),
      shortConnection("127.0.0.1", onGateway.port),
      shortConnection("::1", onGateway.port),
    ];
    assertEquals(await connectAll(lab, "gateway", untouched), Array(3).fill("connected 1000"));
    const arriving = [
      shortConnection(gateway.wanV4, onGateway.port),
      shortConnection(gateway.wanV6, onGateway.port),
    ];
    assertEquals(await connectAll(lab, "internet", arriving), Array(2).fill("connected 1000"));
    const forwarded = [shortConnection(servers.v4, echo.port), shortConnection(servers.v6, echo.port)];
    assertEquals(await connectAll(lab, "client", forwarded), Array(2).fill("connected 1000"));
    for (const run of [before, inbound]) {
      assertEquals((await run.results()).map((result) => result.received), [2000, 2000]);
    }
    assertEquals(relay.acceptedCount, 0);
    // As the mark of a VPN's socket comes: before our chain.
    const vpn = `type filter hook output priority mangle - 1; tcp dport ${outer.port} meta mark set 0xca6c`;
    await here.output(["nft", "-f", "-"], { stdin: `table inet vpn { chain outer { ${vpn}; }; }\n` });
    const marked = [shortConnection(servers.v4, outer.port), shortConnection(servers.v6, outer.port)];
    assertEquals(await connectAll(lab, "gateway", marked), Array(2).fill("connected 1000"));
    assertEquals(relay.acceptedCount, 0);

    await using taken = here.startClients([
      longConnection(servers.v4, echo.port),
      longConnection(servers.v6, echo.port),
    ]);
    for (const i of [0, 1]) await taken.progress(({ received }) => received >= 1000, i);
    const accepted = [await relay.nextAccepted(), await relay.nextAccepted()];
    assertEquals(
      accepted.map(({ peer }) => peer).sort(),
      [(await taken.connected(0)).local, (await taken.connected(1)).local].sort(),
    );
    if (tcp === "tproxy") {
      assertEquals(accepted.map(({ local }) => local).sort(), Object.values(destination).sort());
    }
    await rules.enterDrain();
    assertEquals((await taken.results()).map((result) => result.received), [2000, 2000]);
    assertEquals(await connectAll(lab, "gateway", forwarded), Array(2).fill("connected 1000"));
    assertEquals(relay.acceptedCount, 2);
  });
}

labTest(
  "nft: tproxy with no listener lets forwarded connections pass; left-over routes move nothing",
  async () => {
    await using lab = await gatewayLab();
    await using echo = await lab.host("internet").serve({ kind: "echo" });
    const exec = labExec(lab.host("gateway"));
    const plan = gatewayPlan();
    const specs = [shortConnection(servers.v4, echo.port), shortConnection(servers.v6, echo.port)];
    const rules = await applyPlan(plan, {
      exec,
      host: await detectHost(exec),
      backend: "nft",
      keep: "process",
    });
    assertEquals(await connectAll(lab, "client", specs), Array(2).fill("connected 1000"));
    const seen = [hostOf((await echo.nextOpened()).peer), hostOf((await echo.nextOpened()).peer)];
    assertEquals(seen.sort(), [client.v4, `[${client.v6}]`].sort());
    await rules.revert();

    for (const { argv } of renderRoutes(plan)) assertEquals((await exec.run(argv)).code, 0);
    assertEquals(await connectAll(lab, "client", specs), Array(2).fill("connected 1000"));
  },
);
