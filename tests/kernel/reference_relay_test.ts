/**
 * The C relay for TCP that Pellucid is measured against does the whole job: a reference that cut corners would be no measure.
 *
 * @module
 */
import { intercept, RELAY_PORT } from "../../bench/interception.ts";
import { buildNative, type NativePrograms } from "../../bench/native.ts";
import { assert, assertEquals } from "../assert.ts";
import { GATEWAY_LAB, gatewayLab, type Lab, type LabProcess, labTest } from "../lab/mod.ts";
import { countSockets, hasCompiler } from "./reference_relay.ts";

const { v4, v6 } = GATEWAY_LAB.servers;
const MIB = 2 ** 20;

interface RelayLab {
  readonly lab: Lab;
  readonly relay: LabProcess;
  readonly native: NativePrograms;
}

/** A lab with the relay in its gateway; `body` leaves no connection open, and the relay must hold none then. */
function relayTest(name: string, mode: "tproxy" | "redirect", body: (site: RelayLab) => Promise<void>): void {
  labTest(`reference relay: ${mode}: ${name}`, async () => {
    const native = await buildNative();
    await using lab = await gatewayLab();
    await intercept(lab.host("gateway"), { tcp: mode, udp: "off" });
    const argv = [native.relay, "--port", `${RELAY_PORT}`, "--mode", mode];
    const relay = lab.host("gateway").spawn(argv);
    await relay.stdout.waitFor((line) => line === "ready" || undefined, 15_000);
    await body({ lab, relay, native });
    await assertHoldsNoSocket(relay);
  }, { ignore: !hasCompiler() });
}

/** Beside its listener. The last close may still be on its way. */
async function assertHoldsNoSocket(relay: LabProcess): Promise<void> {
  let sockets = Infinity;
  for (let attempt = 0; attempt < 40 && sockets > 1; attempt++) {
    if (attempt > 0) await new Promise((resolve) => setTimeout(resolve, 50));
    sockets = await countSockets(relay);
  }
  assertEquals(sockets, 1, "sockets left");
}

for (const mode of ["tproxy", "redirect"] as const) {
  relayTest("64 MiB both ways at once arrive as sent, IPv4 and IPv6", mode, async ({ lab, native }) => {
    const servers = lab.host("internet").spawn([native.load, "serve"]);
    await servers.stdout.waitFor((line) => line === "ready" || undefined, 15_000);
    for (const to of [v4, v6]) {
      const argv = [native.load, "verify", "--to", to, "--bytes", `${64 * MIB}`];
      const result = JSON.parse(await lab.host("client").output(argv));
      assertEquals([result.received, result.error], [64 * MIB, ""], to);
    }
  });
}

relayTest("an end of stream is passed on while the other direction goes on", "tproxy", async ({ lab }) => {
  const sink = await lab.host("internet").serve({ kind: "half-close" });
  const steps = [{ do: "await-end" }, { do: "send", bytes: 3 * MIB }, { do: "half-close" }] as const;
  const client = await lab.host("client").connect({ address: v6, port: sink.port, steps });
  const served = await sink.nextClosed();
  assertEquals([client.end, served.end, served.receivedAfterFin], ["fin", "fin", 3 * MIB]);
  assertEquals(served.receivedSha256, client.sentSha256);
});

relayTest(
  "a reset by the server is a reset for the client, after what came before it",
  "tproxy",
  async ({ lab }) => {
    const server = await lab.host("internet").serve({ kind: "reset", afterReceived: 1000 });
    const steps = [{ do: "send", bytes: 1000 }, { do: "await-end" }] as const;
    const client = await lab.host("client").connect({ address: v4, port: server.port, steps });
    assertEquals(client.end, "reset");
  },
);

relayTest("a reset by the client is a reset for the server", "tproxy", async ({ lab }) => {
  const server = await lab.host("internet").serve({ kind: "echo" });
  const steps = [{ do: "send", bytes: 1000 }, { do: "await-bytes", bytes: 1000 }, { do: "reset" }] as const;
  await lab.host("client").connect({ address: v4, port: server.port, steps });
  assertEquals((await server.nextClosed()).end, "reset");
});

relayTest("a server that does not read stops the client, and later gets all", "tproxy", async ({ lab }) => {
  const server = await lab.host("internet").serve({ kind: "stall" });
  const steps = [{ do: "send", bytes: 64 * MIB }, { do: "half-close" }, { do: "await-end" }] as const;
  await using run = lab.host("client").startClients([{ address: v4, port: server.port, steps }]);
  await run.connected();
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  const { sent } = run.counts();
  assert(sent < 48 * MIB, `${sent} bytes were sent although nobody read them`);
  await server.resume();
  const [client] = await run.results();
  const served = await server.nextClosed();
  assertEquals([served.received, served.receivedSha256], [64 * MIB, client!.sentSha256]);
});

relayTest("a refused connection ends the client's with a reset", "tproxy", async ({ lab }) => {
  const steps = [{ do: "await-end" }] as const;
  const client = await lab.host("client").connect({ address: v4, port: 9, steps });
  // The reset may come before the client has looked at its new connection.
  assertEquals(client.outcome === "connected" ? client.end : client.outcome, "reset");
});
