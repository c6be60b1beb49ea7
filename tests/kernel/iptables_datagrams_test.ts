/**
 * Datagrams of other hosts and of this one, taken by iptables rules. The proxy's sockets are the test's own
 * (nft_udp_lab.ts).
 *
 * @module
 */
import { DEFAULT_KERNEL_NUMBERS } from "../../nft/intent.ts";
import type { IptablesName } from "../../nft/iptables_programs.ts";
import { renderRoutes } from "../../nft/render_route.ts";
import { assertEquals } from "../assert.ts";
import type { IntentChanges } from "../fixtures/intents.ts";
import { type ClientSocket, DatagramClient, gatewayLab, type Lab, labTest } from "../lab/mod.ts";
import { FLAVOURS, iptablesBackend, labPlan } from "./iptables_lab.ts";
import { at, FAMILIES, UdpStandIn } from "./nft_udp_lab.ts";

const { marks } = DEFAULT_KERNEL_NUMBERS;
const WORKERS = 3;

async function load(lab: Lab, flavour: IptablesName, changes: IntentChanges) {
  const plan = labPlan({ tcp: "off", udpWorkers: WORKERS, ...changes });
  const backend = iptablesBackend(lab.host("gateway"), flavour);
  for (const { argv } of renderRoutes(plan)) await lab.host("gateway").output(argv);
  await backend.load(plan, "intercept");
  return { plan, backend };
}

for (const flavour of FLAVOURS) {
  labTest(
    `${flavour}: datagrams go to the worker that owns their endpoint, with what they may not lose`,
    async () => {
      await using lab = await gatewayLab();
      await using proxy = await UdpStandIn.start(lab.host("gateway"), WORKERS);
      const { backend, plan } = await load(lab, flavour, {});
      await using sockets = new DatagramClient(lab.host("client"));
      for (const { family, server, other, from } of FAMILIES) {
        const workers = new Set<number>();
        for (let port = 40_000; port < 40_016; port++) {
          const socket = await sockets.open({ from: at(from, port), discover: "do" });
          const destinations = [at(server, 7), at(server, 8), at(other, 7), at(other, 9999)];
          for (const round of ["first", "later", "after a load"]) {
            if (round === "after a load" && port === 40_000) await backend.load(plan, "intercept");
            await socket.send(...destinations.map((to) => ({ to, text: to })));
            const taken = await proxy.taken(family, destinations.length);
            assertEquals(taken.map(({ destination }) => destination), destinations, round);
            assertEquals(taken.map((datagram) => datagram.from), Array(4).fill(socket.local));
            assertEquals(new Set(taken.map(({ worker }) => worker)).size, 1);
            const bits = taken.map(({ mark }) => mark! & (marks.mask | marks.dontFragment));
            assertEquals(bits, Array(4).fill(marks.intercept | marks.dontFragment), round);
            workers.add(taken[0]!.worker);
          }
        }
        assertEquals(workers.size, WORKERS);
        const fragmentable = await sockets.open({ from: at(from, 41_000), discover: "dont" });
        await fragmentable.send({ to: at(server, 7), bytes: 20_000 });
        const [large] = await proxy.taken(family);
        assertEquals(large!.bytes, 20_000);
        const bits = family === 4 ? marks.intercept : marks.intercept | marks.dontFragment;
        assertEquals(large!.mark! & (marks.mask | marks.dontFragment), bits);
      }
      assertEquals(await proxy.unexpected(), 0);
    },
    { timeoutMs: 90_000 },
  );

  labTest(
    `${flavour}: this host's datagrams are taken, our own are not, and a closed plan loses them without us`,
    async () => {
      await using lab = await gatewayLab();
      const here = lab.host("gateway");
      await using echo = await lab.host("internet").serveDatagrams({ kind: "echo" });
      await using proxy = await UdpStandIn.start(here, WORKERS);
      await load(lab, flavour, { local: true, onProxyDown: "closed" });
      await using sockets = new DatagramClient(here);
      const open: ClientSocket[] = [];
      for (const { family, server, wan, loopback } of FAMILIES) {
        const socket = await sockets.open({ from: at(wan, 42_000) });
        open.push(socket);
        await socket.send({ to: at(server, echo.port), text: "taken" });
        const [taken] = await proxy.taken(family);
        assertEquals([taken!.text, taken!.from, taken!.destination], [
          "taken",
          at(wan, 42_000),
          at(server, echo.port),
        ]);
        const ours = await sockets.open({ from: at(wan, 42_001), mark: marks.bypass });
        assertEquals((await ours.ask({ to: at(server, echo.port), text: "direct" })).text, "direct");
        const self = await sockets.open({ from: at(loopback, 42_002) });
        await self.send({ to: at(loopback, 42_002), text: "at home" });
        assertEquals((await self.received()).text, "at home");
      }
      const served = echo.receivedCount;
      await proxy.close();
      for (const { server, wan } of FAMILIES) {
        const fresh = await sockets.open({ from: at(wan, 42_003) });
        for (const socket of [fresh, ...open.filter(({ local }) => local === at(wan, 42_000))]) {
          await socket.send({ to: at(server, echo.port), text: "lost" });
        }
        const ours = await sockets.open({ from: at(wan, 42_004), mark: marks.bypass });
        assertEquals((await ours.ask({ to: at(server, echo.port), text: "direct" })).text, "direct");
      }
      // Ours alone, of each family.
      assertEquals([served, echo.receivedCount], [2, 4]);
    },
    { timeoutMs: 90_000 },
  );
}
