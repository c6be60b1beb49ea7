/**
 * Coming and going: what was there before the proxy stays as it is, what it has taken is carried to its end, and
 * afterwards the host is as it was.
 */
import { assertEquals } from "../assert.ts";
import { type ClientSocket, DatagramClient, gatewayLab, labTest } from "../lab/mod.ts";
import { endpoint, FAMILIES, type Family, type Source, SOURCES } from "./datagram_site.ts";
import { kernelState, ProxyRun, rulesLetPass } from "./proxy_run.ts";

const FLAGS = ["--from", "lan0", "--tcp", "off", "--flows", "--workers", "2"];
/** Flows are known from before only where somebody asks conntrack, as any firewall does. */
const FIREWALL = `table inet firewall {
  chain forward {
    type filter hook forward priority 0;
    ct state established,related accept
  }
}`;

interface OldAndTaken {
  readonly family: Family;
  readonly to: string;
  /** Older than the proxy. */
  readonly old: ClientSocket;
  readonly taken: ClientSocket;
  /** From outside to a server behind us, older than the proxy as well. */
  readonly inward: ClientSocket;
}

async function drain(source: Source): Promise<void> {
  await using lab = await gatewayLab();
  const here = lab.host("gateway");
  const echo = await lab.host("internet").serveDatagrams({ kind: "echo" });
  const service = await lab.host("client").serveDatagrams({ kind: "echo" });
  await using client = new DatagramClient(lab.host("client"));
  await using far = new DatagramClient(lab.host("internet"));
  await here.output(["nft", "-f", "-"], { stdin: FIREWALL });
  const before = await kernelState(here);
  const flows: OldAndTaken[] = [];
  for (const family of FAMILIES) {
    const to = endpoint(family.server, echo.port);
    const old = await client.open({ from: endpoint(family.client, 0) });
    const taken = await client.open({ from: endpoint(family.client, 0) });
    const inward = await far.open({ from: endpoint(family.server, 0) });
    await old.ask({ to, text: "before" });
    assertEquals((await echo.received()).from, old.local);
    await inward.ask({ to: endpoint(family.client, service.port), text: "before" });
    flows.push({ family, to, old, taken, inward });
  }
  await using proxy = await ProxyRun.start(here, [...FLAGS, "--source", source]);
  const say = async (word: string, taken: "carried" | "direct") => {
    for (const { family, to, old, taken: socket, inward } of flows) {
      await old.ask({ to, text: word });
      assertEquals((await echo.received()).from, old.local, word);
      assertEquals((await socket.ask({ to, text: word })).from, to);
      const isOwn = taken === "carried" && source === "own";
      assertEquals(
        (await echo.received()).from,
        isOwn ? endpoint(family.wan, socket.port) : socket.local,
        word,
      );
      const inside = endpoint(family.client, service.port);
      assertEquals((await inward.ask({ to: inside, text: word })).from, inside);
    }
  };
  await say("proxy runs", "carried");
  await proxy.process.kill("SIGTERM");
  await rulesLetPass(here);
  await say("proxy drains", "carried");
  for (const { family, to } of flows) {
    const late = await client.open({ from: endpoint(family.client, 0) });
    await late.ask({ to, text: "late" });
    assertEquals((await echo.received()).from, late.local);
  }
  assertEquals(await proxy.exitCode(), 0);
  const { totals, forced } = await proxy.event("stopped");
  assertEquals([forced, totals.udpSessionsOpened, totals.udpSessionsNow], [false, FAMILIES.length, 0]);
  assertEquals([totals.udpDatagramsUp, totals.udpDatagramsDown], [2 * FAMILIES.length, 2 * FAMILIES.length]);
  assertEquals(await kernelState(here), before);
  // The sockets whose sessions are over go on, without us.
  await say("proxy gone", "direct");
}

for (const source of SOURCES) {
  labTest(
    `udp drain: source ${source}: flows older than the proxy are untouched, its own are carried on`,
    () => drain(source),
  );
}

labTest("udp drain: SIGKILL: flows that were taken go on by themselves", async () => {
  await using lab = await gatewayLab();
  const here = lab.host("gateway");
  const echo = await lab.host("internet").serveDatagrams({ kind: "echo" });
  await using client = new DatagramClient(lab.host("client"));
  for (const source of SOURCES) {
    await using proxy = await ProxyRun.start(here, [...FLAGS, "--source", source]);
    const sockets = [];
    for (const family of FAMILIES) {
      const socket = await client.open({ from: endpoint(family.client, 0) });
      const to = endpoint(family.server, echo.port);
      await socket.ask({ to, text: "before" });
      await echo.received();
      sockets.push({ socket, to });
    }
    await proxy.process.kill("SIGKILL");
    await proxy.process.wait(15_000);
    for (const { socket, to } of sockets) {
      // The table goes a moment after its owner.
      let answered = false;
      for (let attempt = 0; attempt < 20 && !answered; attempt++) {
        await socket.send({ to, text: "after" });
        answered = await socket.received(250).then(() => true, () => false);
      }
      assertEquals(answered, true, `${source}: ${to}`);
      assertEquals((await echo.received()).from, socket.local);
    }
    await here.output(["sh", "-c", "ip rule flush protocol 173; ip -6 rule flush protocol 173; true"]);
  }
});
