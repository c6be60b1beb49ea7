/**
 * What the rules do to packets: real connections through the lab's gateway.
 *
 * @module
 */
import { applyPlan, DEFAULT_KERNEL_NUMBERS, detectHost } from "../../nft/mod.ts";
import { assertEquals } from "../assert.ts";
import { type ClientSpec, GATEWAY_LAB, gatewayLab, type Lab, labTest } from "../lab/mod.ts";
import { gatewayPlan, labExec, Relay, RELAY_PORT } from "./nft_lab.ts";

const { bypass } = DEFAULT_KERNEL_NUMBERS.marks;
const { client, gateway, servers } = GATEWAY_LAB;
const OWN = { keep: "none", mark: bypass } as const;

/** A connection that sends once, stays open while the test changes the rules, and sends again. */
function longConnection(address: string, port: number): ClientSpec {
  return {
    address,
    port,
    steps: [
      { do: "send", bytes: 1000 },
      { do: "await-bytes", bytes: 1000 },
      { do: "sleep", ms: 4000 },
      { do: "send", bytes: 1000 },
      { do: "await-bytes", bytes: 2000 },
      { do: "half-close" },
      { do: "await-end" },
    ],
  };
}

function shortConnection(address: string, port: number): ClientSpec {
  return {
    address,
    port,
    steps: [{ do: "send", bytes: 1000 }, { do: "await-bytes", bytes: 1000 }, { do: "half-close" }, {
      do: "await-end",
    }],
  };
}

async function connectAll(lab: Lab, from: string, specs: readonly ClientSpec[]): Promise<string[]> {
  await using run = lab.host(from).startClients(specs);
  return (await run.results()).map((result) => `${result.outcome} ${result.received ?? 0}`);
}

function host(endpoint: string): string {
  return endpoint.slice(0, endpoint.lastIndexOf(":"));
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
      hold: "owner",
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
    assertEquals(accepted.map(({ peer }) => host(peer)).sort(), [client.v4, `[${client.v6}]`].sort());
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
