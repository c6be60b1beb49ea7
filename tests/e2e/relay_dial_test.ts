/**
 * Destinations that cannot be reached: the client, whose handshake was completed by the proxy, gets a RST as soon
 * as the proxy knows, and the flow's record says what the proxy was told. In every mode and family.
 */
import { assert, assertEquals, assertGreaterOrEqual, assertLess } from "../assert.ts";
import { type ClientResult, type ClientSpec, GATEWAY_LAB, labTest } from "../lab/mod.ts";
import { endpoint, type EventOf, RelaySite, WAYS } from "./relay_site.ts";

const { servers, nowhere } = GATEWAY_LAB;
const CONNECT_TIMEOUT_MS = 2_500;
/** Below a timer's rounding, see ffi/timer_wheel.ts. */
const COARSE_MS = 10;
/** Nothing listens there. */
const CLOSED_PORT = 9;
/** Routed to the internet host, which drops what is for them. */
const SILENT = { v4: "203.0.113.67", v6: "2001:db8:113::67" };
/** Addresses for which the gateway itself has no route. */
const UNROUTED = { v4: "203.0.113.68", v6: "2001:db8:113::68" };

interface Case {
  readonly name: string;
  readonly address: string;
  readonly reason: EventOf<"flow">["end"]["reason"];
  readonly leastMs: number;
  readonly mostMs: number;
  /** Whether a socket was bound: it is not when connect(2) fails at once. */
  readonly hasLocal: boolean;
}

const CASES: readonly Case[] = (["v4", "v6"] as const).flatMap((family): Case[] => [
  {
    name: "nothing listens",
    address: servers[family],
    reason: "refused",
    leastMs: 0,
    // Before another SYN, which is sent after a second.
    mostMs: 999,
    hasLocal: true,
  },
  {
    name: "ICMP says no",
    address: nowhere[family],
    reason: "unreachable",
    leastMs: 0,
    // Between veth ends the ICMP error comes back while connect(2) still holds the socket, and the kernel then
    // keeps it for later (tcp_v4_err, sock_owned_by_user); the next SYN, after a second, brings another one.
    mostMs: CONNECT_TIMEOUT_MS - 1,
    hasLocal: true,
  },
  {
    name: "nobody answers",
    address: SILENT[family],
    reason: "connect-timeout",
    leastMs: CONNECT_TIMEOUT_MS - COARSE_MS,
    mostMs: 2 * CONNECT_TIMEOUT_MS,
    hasLocal: true,
  },
  {
    name: "the gateway has no route",
    address: UNROUTED[family],
    reason: "unreachable",
    leastMs: 0,
    mostMs: 0,
    hasLocal: false,
  },
]);

for (const [mode, source] of WAYS) {
  labTest(
    `dial: ${mode}, source ${source}: a destination that cannot be reached is a RST`,
    async (context) => {
      const flags = ["--connect-timeout", `${CONNECT_TIMEOUT_MS / 1000}`];
      await using site = await RelaySite.start({ mode, source, flags });
      await Promise.all([
        site.internet.blackhole(`${SILENT.v4}/32`),
        site.internet.blackhole(`${SILENT.v6}/128`),
        site.gateway.unreachable(`${UNROUTED.v4}/32`),
        site.gateway.unreachable(`${UNROUTED.v6}/128`),
      ]);
      const steps = [{ do: "send", bytes: 100 }, { do: "await-end" }] as const;
      const specs = CASES.map(({ address }): ClientSpec => ({ address, port: CLOSED_PORT, steps }));
      const results = await site.client.startClients(specs).results();
      for (const [at, wanted] of CASES.entries()) {
        await context.step(`${wanted.name}: ${wanted.address}`, async () => {
          const client = results[at]!;
          assertReset(client);
          const flow = await site.proxy.flowTo(endpoint(wanted.address, CLOSED_PORT));
          assertEquals([flow.end.reason, flow.end.side], [wanted.reason, "upstream"]);
          assertEquals([flow.bytesUp, flow.bytesDown, flow.local !== undefined], [0, 0, wanted.hasLocal]);
          // One port for several destinations arrives by REDIRECT as several ports.
          const isShared = results.filter(({ local }) => local === client.local).length > 1;
          if (client.local !== undefined && !isShared) assertEquals(flow.client, client.local);
          if (source === "keep" && wanted.hasLocal) assertEquals(flow.local, flow.client);
          assert(flow.durationMs <= wanted.mostMs, `${flow.durationMs} ms`);
          assertGreaterOrEqual(flow.durationMs, wanted.leastMs);
          assertGreaterOrEqual(client.durationMs, wanted.leastMs);
        });
      }
      const { draining, stopped } = await site.proxy.stop();
      assertEquals(draining.openConnections, 0);
      assertEquals([stopped.totals.tcpDialFailed, stopped.totals.tcpFinished], [CASES.length, 0]);
      assertEquals(stopped.totals.tcpTimeouts, 2);
    },
  );
}

labTest("dial: a server that accepts and resets at once is a RST as well", async () => {
  await using site = await RelaySite.start();
  const server = await site.internet.serve({ kind: "reset" });
  const steps = [{ do: "await-end" }] as const;
  const specs = Array.from({ length: 20 }, (_, at): ClientSpec => {
    return { address: at % 2 === 0 ? servers.v4 : servers.v6, port: server.port, steps };
  });
  const startedAt = performance.now();
  const results = await site.client.startClients(specs).results();
  assertLess(performance.now() - startedAt, 15_000);
  for (const [at, client] of results.entries()) {
    assertReset(client);
    const flow = await site.proxy.flowTo(endpoint(specs[at]!.address, server.port), Math.floor(at / 2));
    // Whether we heard of the connection before we heard of the reset is a race that the server's host decides.
    assert(["reset", "refused"].includes(flow.end.reason), flow.end.reason);
    assertEquals([flow.end.side, flow.bytesUp, flow.bytesDown], ["upstream", 0, 0]);
  }
});

function assertReset(client: ClientResult): void {
  // The reset may come before the client has looked at its new connection.
  assertEquals(client.outcome === "connected" ? client.end : client.outcome, "reset");
}
