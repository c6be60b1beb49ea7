/**
 * Connections through the lab's gateway, taken by iptables rules, under the settings of a VPN's host: src_valid_mark
 * and rp_filter are 1.
 *
 * @module
 */
import { DEFAULT_KERNEL_NUMBERS } from "../../nft/intent.ts";
import type { IptablesName } from "../../nft/iptables_programs.ts";
import { renderRoutes } from "../../nft/render_route.ts";
import { assertEquals } from "../assert.ts";
import type { IntentChanges } from "../fixtures/intents.ts";
import { GATEWAY_LAB, gatewayLab, type Lab, type LabHost, labTest } from "../lab/mod.ts";
import { hostOf, longConnection } from "./connections.ts";
import { differenceTexts, FLAVOURS, iptablesBackend, labPlan } from "./iptables_lab.ts";
import { Relay } from "./nft_lab.ts";

const { bypass } = DEFAULT_KERNEL_NUMBERS.marks;
const { client, gateway, servers } = GATEWAY_LAB;

const VPN_HOST = {
  "net/ipv4/conf/all/src_valid_mark": "1",
  "net/ipv4/conf/default/src_valid_mark": "1",
  "net/ipv4/conf/all/rp_filter": "1",
  "net/ipv4/conf/default/rp_filter": "1",
};

async function load(lab: Lab, flavour: IptablesName, changes: IntentChanges) {
  const here = lab.host("gateway");
  const plan = labPlan({ udp: "off", ...changes });
  const backend = iptablesBackend(here, flavour);
  for (const { argv } of renderRoutes(plan)) await here.output(argv);
  await backend.load(plan, "intercept");
  assertEquals(await differenceTexts(backend, plan), []);
  return { backend, plan };
}

async function started(from: LabHost, ports: readonly [string, number][]) {
  const run = from.startClients(ports.map(([address, port]) => longConnection(address, port)));
  for (const i of ports.keys()) await run.progress(({ received }) => received >= 1000, i);
  return run;
}

const CASES: { tcp: "tproxy" | "redirect"; source: "own" | "keep"; onProxyDown: "open" | "closed" }[] = [
  { tcp: "tproxy", source: "own", onProxyDown: "open" },
  { tcp: "tproxy", source: "keep", onProxyDown: "closed" },
  { tcp: "redirect", source: "own", onProxyDown: "closed" },
  { tcp: "redirect", source: "keep", onProxyDown: "open" },
];

for (const flavour of FLAVOURS) {
  for (const { tcp, source, onProxyDown } of CASES) {
    labTest(
      `${flavour}: ${tcp}, source ${source}, ${onProxyDown}: forwarded connections are taken at their first packet`,
      async () => {
        await using lab = await gatewayLab({ gatewaySysctls: VPN_HOST });
        await using echo = await lab.host("internet").serve({ kind: "echo" });
        await using onGateway = await lab.host("gateway").serve({ kind: "echo" });
        const destination = { 4: `${servers.v4}:${echo.port}`, 6: `[${servers.v6}]:${echo.port}` };
        await using relay = await Relay.start(lab.host("gateway"), {
          keep: source === "keep" ? "endpoint" : "none",
          mark: bypass,
          ...(tcp === "redirect" ? { destination } : {}),
        });
        const both: [string, number][] = [[servers.v4, echo.port], [servers.v6, echo.port]];
        await using before = await started(lab.host("client"), both);
        for (let i = 0; i < 2; i++) await echo.nextOpened();
        const { backend, plan } = await load(lab, flavour, { tcp, source, onProxyDown });
        await using own = await started(lab.host("client"), [[gateway.v4, onGateway.port], [
          gateway.v6,
          onGateway.port,
        ]]);
        await using taken = await started(lab.host("client"), both);
        const accepted = [await relay.nextAccepted(), await relay.nextAccepted()];
        assertEquals(accepted.map(({ peer }) => hostOf(peer)).sort(), [client.v4, `[${client.v6}]`]);
        if (tcp === "tproxy") {
          assertEquals(accepted.map(({ local }) => local).sort(), Object.values(destination).sort());
        }
        const seen = [await echo.nextOpened(), await echo.nextOpened()].map(({ peer }) => hostOf(peer))
          .sort();
        const dialler = source === "keep"
          ? [client.v4, `[${client.v6}]`]
          : [gateway.wanV4, `[${gateway.wanV6}]`];
        assertEquals(seen, dialler.sort());
        await backend.load(plan, "drain");
        for (const run of [before, own, taken]) {
          assertEquals((await run.results()).map(({ received }) => received), [2000, 2000]);
        }
        assertEquals(relay.acceptedCount, 2);
      },
    );
  }

  for (const tcp of ["tproxy", "redirect"] as const) {
    labTest(
      `${flavour}: ${tcp}: this host's own connections are taken, in a closed plan lost without a proxy`,
      async () => {
        await using lab = await gatewayLab({ gatewaySysctls: VPN_HOST });
        const here = lab.host("gateway");
        await using echo = await lab.host("internet").serve({ kind: "echo" });
        await using onGateway = await here.serve({ kind: "echo" });
        const destination = { 4: `${servers.v4}:${echo.port}`, 6: `[${servers.v6}]:${echo.port}` };
        const both: [string, number][] = [[servers.v4, echo.port], [servers.v6, echo.port]];
        {
          await using relay = await Relay.start(here, {
            keep: "none",
            mark: bypass,
            ...(tcp === "redirect" ? { destination } : {}),
          });
          await load(lab, flavour, { tcp, from: ["lan0"], local: true, onProxyDown: "closed" });
          await using inbound = await started(lab.host("internet"), [[gateway.wanV4, onGateway.port], [
            gateway.wanV6,
            onGateway.port,
          ]]);
          await using taken = await started(here, both);
          for (const run of [inbound, taken]) {
            assertEquals((await run.results()).map(({ received }) => received), [2000, 2000]);
          }
          assertEquals(relay.acceptedCount, 2);
        }
        const lost = [here, lab.host("client")].flatMap((from) =>
          both.map(async ([address, port]) => {
            await using run = from.startClients([{ address, port, steps: [] }]);
            const outcome = await Promise.race([
              run.results().then(([result]) => result!.outcome as string, () => "ended"),
              new Promise<string>((resolve) => setTimeout(() => resolve("no answer"), 1_500)),
            ]);
            assertEquals(outcome, "no answer", `${from.name} to ${address}`);
          })
        );
        await Promise.all(lost);
        // Nothing else is lost.
        const direct = await lab.host("internet").connect({
          address: gateway.wanV4,
          port: onGateway.port,
          steps: [],
        });
        assertEquals(direct.outcome, "connected");
      },
    );
  }
}
