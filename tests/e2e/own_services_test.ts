/**
 * Packets that say they go to nobody, and that would reach this host itself if the proxy sent there: what listens on
 * the gateway's loopback addresses is not for other hosts.
 */
import { assertEquals, assertGreater } from "../assert.ts";
import { DatagramClient, GATEWAY_LAB, gatewayLab, type LabHost, labTest } from "../lab/mod.ts";
import { ProxyRun } from "./proxy_run.ts";
import { Talker } from "./talker.ts";

const { client, gateway, servers } = GATEWAY_LAB;
/** What the client's programs write to: nobody has it. */
const DIALLED = "2001:db8:dead::1";
/** The service on the gateway. */
const PORT = 4040;

/** Lets the client's programs talk to `target`, which no program can dial itself. */
async function forge(host: LabHost, target: string): Promise<void> {
  const ruleset = `table ip6 forge {
    chain out {
      type filter hook output priority 0
      ip6 daddr ${DIALLED} ip6 daddr set ${target}
    }
    chain in {
      type filter hook prerouting priority -400
      ip6 saddr ${target} ip6 saddr set ${DIALLED}
      # Where the unspecified address would be the source, the kernel takes another one.
      tcp sport ${PORT} ip6 saddr ${gateway.v6} ip6 saddr set ${DIALLED}
    }
  }`;
  await host.output(["nft", "-f", "-"], { stdin: ruleset });
}

async function writeTo(target: string, host: LabHost, internet: LabHost): Promise<void> {
  await forge(host, target);
  await using echo = await internet.serve({ kind: "echo" });
  const datagrams = await internet.serveDatagrams({ kind: "echo" });
  await using talker = new Talker(host);
  await using sockets = new DatagramClient(host);
  const socket = await sockets.open({ from: `[${client.v6}]:0` });
  talker.dial(DIALLED, PORT).mutter("hello");
  await socket.send({ to: `[${DIALLED}]:${PORT}`, text: "hello" });
  // What was sent before has come as well.
  await talker.reach(servers.v6, echo.port);
  const to = `[${servers.v6}]:${datagrams.port}`;
  assertEquals((await socket.ask({ to, text: "hello" })).from, to);
}

for (const tcp of ["tproxy", "redirect"] as const) {
  for (const target of ["::", "::ffff:127.0.0.1", `::ffff:${gateway.v4}`]) {
    labTest(`${tcp}: what goes to ${target} is not taken`, async () => {
      await using lab = await gatewayLab();
      const here = lab.host("gateway");
      await using proxy = await ProxyRun.start(here, ["--tcp", tcp, "--from", "lan0"]);
      await writeTo(target, lab.host("client"), lab.host("internet"));
      const totals = await proxy.stopByForce();
      assertEquals([totals.tcpAccepted, totals.udpSessionsOpened, totals.udpDatagramsUp], [1, 1, 1]);
    });
  }

  labTest(`${tcp}: taken by other rules than ours, what goes to :: is refused`, async () => {
    await using lab = await gatewayLab();
    const here = lab.host("gateway");
    await using stream = await here.serve({ kind: "mute", address: "::1", port: PORT });
    const datagrams = await here.serveDatagrams({ kind: "mute", addresses: ["::1"], port: PORT });
    await using proxy = await ProxyRun.start(here, ["--rules", "none", "--tcp", tcp, "--from", "lan0"]);
    const script = proxy.process.stdout.text().split("\n").filter((line) => !line.includes("ip6 daddr ::"));
    await here.output(["sh", "-e"], { stdin: script.join("\n") });
    await writeTo("::", lab.host("client"), lab.host("internet"));
    for (const code of ["loop", "udp-loop"]) await proxy.event("warning", (event) => event.code === code);
    const totals = await proxy.stopByForce();
    assertGreater(totals.tcpRefusedLoop, 0);
    assertEquals([totals.udpRefusedLoop, totals.udpSessionsOpened, totals.udpDatagramsUp], [1, 1, 1]);
    // Ready, and nobody came.
    for (const { stdout } of [stream.process, datagrams.process]) assertEquals(stdout.lines.length, 1);
  });
}
