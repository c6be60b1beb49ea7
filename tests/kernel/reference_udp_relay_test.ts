/**
 * The C relay for UDP that Pellucid is measured against does the whole job, and the load generator that says so
 * notices when it is not done.
 *
 * @module
 */
import { forwardNoUdp, INTERNET_NETNS } from "../../bench/bench_lab.ts";
import { intercept, RELAY_PORT } from "../../bench/interception.ts";
import { buildNative, type NativePrograms } from "../../bench/native.ts";
import { assert, assertEquals, assertMatch, assertNotEquals } from "../assert.ts";
import { DatagramClient, GATEWAY_LAB, gatewayLab, type Lab, type LabProcess, labTest } from "../lab/mod.ts";
import { countSockets, hasCompiler } from "./reference_relay.ts";

const { servers, client: own, gateway } = GATEWAY_LAB;
const FAMILIES = [
  { server: servers.v4, other: servers.v4b, from: own.v4, wan: gateway.wanV4, largest: 65_507 },
  { server: servers.v6, other: servers.v6b, from: own.v6, wan: gateway.wanV6, largest: 65_487 },
] as const;
const OPTION = { ignore: !hasCompiler() };

interface Site {
  readonly lab: Lab;
  readonly native: NativePrograms;
  readonly relay: LabProcess;
}

/** A lab whose gateway passes on no datagram by itself, with the relay in it. */
async function withRelay(flags: readonly string[], body: (site: Site) => Promise<void>): Promise<void> {
  const native = await buildNative();
  await using lab = await gatewayLab();
  const host = lab.host("gateway");
  await forwardNoUdp(host);
  await intercept(host, { tcp: "off", udp: "tproxy" });
  const relay = host.spawn([native.udp_relay, "--port", `${RELAY_PORT}`, ...flags]);
  await relay.stdout.waitFor((line) => line === "ready" || undefined, 15_000);
  await body({ lab, native, relay });
  assert(relay.running, relay.stderr.text());
}

function at(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

function verify({ udp_load }: NativePrograms, { server, other, largest }: typeof FAMILIES[number]): string[] {
  return [udp_load, "verify", "--to", server, "--other", other, "--server-netns", INTERNET_NETNS]
    .concat("--flows", "8", "--bytes", `${largest}`);
}

for (const flags of [[], ["--segment"]]) {
  labTest(
    `reference UDP relay: full cone, all sizes, in order, unchanged ${flags.join(" ")}`.trim(),
    () =>
      withRelay(flags, async ({ lab, native }) => {
        for (const family of FAMILIES) {
          const { error, checked } = JSON.parse(await lab.host("client").output(verify(native, family)));
          assertEquals([error, checked > 2000], ["", true], family.server);
        }
      }),
    OPTION,
  );
}

labTest(
  "reference UDP relay: the load generator notices what is lost and what is changed",
  () =>
    withRelay([], async ({ lab, native }) => {
      const rule = async (statement: string) => {
        const stdin = `table inet spoil; delete table inet spoil; table inet spoil {
  chain spoil {
    type filter hook postrouting priority 0
    oifname "wan0" udp length > 100 numgen inc mod 50 == 9 ${statement}
  }
}`;
        await lab.host("gateway").output(["nft", "-f", "-"], { stdin });
      };
      for (const [statement, error] of [["drop", /./], ["@th,128,8 set 7", /a wrong byte/]] as const) {
        await rule(statement);
        const { code, stdout } = await lab.host("client").run(verify(native, FAMILIES[0]));
        assertEquals(code, 1);
        assertMatch(JSON.parse(stdout).error, error);
      }
    }),
  OPTION,
);

labTest(
  "reference UDP relay: the client's port and TOS are kept, a taken port's parity is",
  () =>
    withRelay([], async ({ lab }) => {
      await using echo = await lab.host("internet").serveDatagrams({ kind: "echo" });
      await using client = new DatagramClient(lab.host("client"));
      for (const { server, from, wan } of FAMILIES) {
        const socket = await client.open({ from: at(from, 40_000) });
        const answer = await socket.ask({ to: at(server, echo.port), text: "hello", tos: 0xb9 });
        assertEquals([answer.from, answer.text, answer.tos], [at(server, echo.port), "hello", 0xb9]);
        const seen = await echo.received();
        assertEquals([seen.from, seen.tos], [at(wan, 40_000), 0xb9]);
      }
      await lab.host("client").output(["ip", "address", "add", "192.0.2.3/24", "dev", "eth0"]);
      const namesake = await client.open({ from: "192.0.2.3:40000" });
      await namesake.ask({ to: at(servers.v4, echo.port), text: "hello" });
      const port = Number((await echo.received()).from.split(":")[1]);
      assertNotEquals(port, 40_000);
      assertEquals(port % 2, 0);
    }),
  OPTION,
);

labTest(
  "reference UDP relay: at its limit the oldest session goes",
  () =>
    withRelay(["--sessions", "50"], async ({ lab, native, relay }) => {
      const argv = [native.udp_load, "idle", "--to", servers.v4, "--server-netns", INTERNET_NETNS];
      await using load = lab.host("client").spawn([...argv, "--flows", "120"]);
      await load.stdout.waitFor((line) => line.startsWith("{") || undefined, 10_000);
      // Two listeners, and one socket that answers from the one port.
      assertEquals(await countSockets(relay), 50 + 2 + 1);
    }),
  OPTION,
);
