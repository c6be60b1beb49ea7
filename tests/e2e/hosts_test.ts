/**
 * Hosts of different kinds: which connections are taken there, and which are left alone.
 */
import { assert, assertEquals } from "../assert.ts";
import { GATEWAY_LAB, gatewayLab, labTest } from "../lab/mod.ts";
import { kernelState, ProxyRun } from "./proxy_run.ts";
import { assertSeenFrom } from "./seen_from.ts";
import { Talker } from "./talker.ts";

const { client, secondClient, gateway, servers } = GATEWAY_LAB;
const MODES = ["tproxy", "redirect"] as const;
/** The port of our own listener. */
const OUR_PORT = 7870;

labTest("redirect: an interface without an address of a family is warned of", async () => {
  await using lab = await gatewayLab();
  const here = lab.host("gateway");
  await here.output(["ip", "addr", "del", `${gateway.v4}/24`, "dev", "lan0"]);
  await using proxy = await ProxyRun.start(here, ["--tcp", "redirect", "--from", "lan0", "--from", "wan0"]);
  assertEquals(proxy.logged("warning").map(({ code, message }) => [code, message.split(":")[1]]), [
    ["no-address", " lan0 has no IPv4 address"],
  ]);
  await proxy.stop();
});

for (const mode of MODES) {
  labTest(
    `${mode} --local: this host's own curl is taken, its services and those who use them are not`,
    async () => {
      await using lab = await gatewayLab();
      const here = lab.host("gateway");
      const before = await kernelState(here);
      await using web = await lab.host("internet").serve({ kind: "http" });
      await using service = await here.serve({ kind: "echo" });
      await using fromLan = new Talker(lab.host("client"));
      await using fromWan = new Talker(lab.host("internet"));
      await using fromHere = new Talker(here);
      const inbound = await fromWan.reach(gateway.wanV4, service.port);
      await using proxy = await ProxyRun.start(here, ["--tcp", mode, "--local", "--flows"]);

      for (const host of [servers.v4, `[${servers.v6}]`]) {
        const curl = await here.run([
          "curl",
          "-sS",
          "--max-time",
          "10",
          `http://${host}:${web.port}/bytes/100000`,
        ]);
        assertEquals([curl.code, curl.stderr, curl.stdout.length > 0], [0, "", true]);
        const flow = await proxy.event("flow", ({ destination }) => destination === `${host}:${web.port}`);
        assertEquals(flow.bytesDown > 100_000, true);
        const taken = host === servers.v4 ? `${gateway.wanV4}:` : `[${gateway.wanV6}]:`;
        assert(flow.client.startsWith(taken) && flow.local!.startsWith(taken), JSON.stringify(flow));
        assert(flow.client !== flow.local);
      }
      // Answers of this host's own services are no connections of its own.
      await inbound.say("still there");
      for (const talker of [fromLan, fromWan]) {
        for (const address of [gateway.v4, gateway.v6, gateway.wanV4, gateway.wanV6]) {
          await (await talker.reach(address, service.port)).close();
        }
      }
      for (const address of ["127.0.0.1", "::1", gateway.v4, gateway.wanV6]) {
        await (await fromHere.reach(address, service.port)).close();
      }
      // Forwarded traffic is not asked for with --local alone.
      await using echo = await lab.host("internet").serve({ kind: "echo" });
      await (await fromLan.reach(servers.v4, echo.port)).close();
      await assertSeenFrom(echo, client.v4);
      assertEquals((await proxy.stop()).tcpAccepted, 2);
      await inbound.say("all the same");
      assertEquals(await kernelState(here), before);
    },
  );

  labTest(`${mode}: the gateway's own services stay reachable from an intercepted client`, async () => {
    await using lab = await gatewayLab();
    const here = lab.host("gateway");
    await using service = await here.serve({ kind: "echo" });
    await using talker = new Talker(lab.host("client"));
    await using proxy = await ProxyRun.start(here, ["--tcp", mode, "--from", "lan0"]);
    for (const address of [gateway.v4, gateway.v6, gateway.wanV4, gateway.wanV6]) {
      await (await talker.reach(address, service.port)).close();
      await assertSeenFrom(service, address.includes(":") ? client.v6 : client.v4);
    }
    assertEquals((await proxy.stop()).tcpAccepted, 0);
  });

  labTest(`${mode}: --from two interfaces takes both, and neither for the other`, async () => {
    await using lab = await gatewayLab({ secondClient: true });
    await using echo = await lab.host("internet").serve({ kind: "echo" });
    await using first = new Talker(lab.host("client"));
    await using second = new Talker(lab.host("client2"));
    const flags = ["--tcp", mode, "--flows", "--from", "lan0"];
    {
      await using proxy = await ProxyRun.start(lab.host("gateway"), [...flags, "--from", "lan1"]);
      for (const talker of [first, second]) {
        for (const [address, seen] of [[servers.v4, gateway.wanV4], [servers.v6, gateway.wanV6]] as const) {
          await (await talker.reach(address, echo.port)).close();
          await assertSeenFrom(echo, seen);
        }
      }
      await proxy.stop();
      assertEquals(
        proxy.logged("flow").map((flow) => flow.client.slice(0, flow.client.lastIndexOf(":"))).sort(),
        [client.v4, `[${client.v6}]`, secondClient.v4, `[${secondClient.v6}]`].sort(),
      );
    }
    await using proxy = await ProxyRun.start(lab.host("gateway"), flags);
    await (await second.reach(servers.v4, echo.port)).close();
    await assertSeenFrom(echo, secondClient.v4);
    await (await first.reach(servers.v4, echo.port)).close();
    await assertSeenFrom(echo, gateway.wanV4);
    assertEquals((await proxy.stop()).tcpAccepted, 1);
  });

  labTest(`${mode}: without IPv6 on the host, IPv4 works and the start says so`, async () => {
    await using lab = await gatewayLab();
    const here = lab.host("gateway");
    for (const scope of ["all", "default", "lo"]) {
      await here.output(["sh", "-c", `echo 1 > /proc/sys/net/ipv6/conf/${scope}/disable_ipv6`]);
    }
    const before = await kernelState(here);
    assertEquals(await here.output(["ip", "-6", "addr"]), "");
    await using echo = await lab.host("internet").serve({ kind: "echo" });
    await using talker = new Talker(lab.host("client"));
    await using proxy = await ProxyRun.start(here, ["--tcp", mode, "--from", "lan0", "--local"]);
    const warning = await proxy.event("warning");
    assertEquals(warning.code, "no-ipv6");
    await (await talker.reach(servers.v4, echo.port)).close();
    await assertSeenFrom(echo, gateway.wanV4);
    assertEquals((await proxy.stop()).tcpFinished, 1);
    assertEquals(await kernelState(here), before);
  });

  labTest(`${mode}: without IPv6 on lo alone, IPv6 passes by and IPv4 is taken`, async () => {
    await using lab = await gatewayLab();
    const here = lab.host("gateway");
    await here.output(["sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/lo/disable_ipv6"]);
    const before = await kernelState(here);
    await using echo = await lab.host("internet").serve({ kind: "echo" });
    await using talker = new Talker(lab.host("client"));
    await using proxy = await ProxyRun.start(here, ["--tcp", mode, "--from", "lan0"]);
    assertEquals((await proxy.event("warning")).code, "no-ipv6");
    for (const [address, seen] of [[servers.v4, gateway.wanV4], [servers.v6, client.v6]] as const) {
      await (await talker.reach(address, echo.port)).close();
      await assertSeenFrom(echo, seen);
    }
    assertEquals((await proxy.stop()).tcpFinished, 1);
    assertEquals(await kernelState(here), before);
  });

  labTest(`${mode}: a routing rule of the host for the clients' addresses is not in the way`, async () => {
    await using lab = await gatewayLab();
    const here = lab.host("gateway");
    for (
      const [family, from, via] of [
        ["-4", client.v4, "198.18.0.2"],
        ["-6", client.v6, "2001:db8:ffff::2"],
      ] as const
    ) {
      await here.output(["ip", family, "route", "add", "default", "via", via, "table", "100"]);
      await here.output(["ip", family, "rule", "add", "from", from, "lookup", "100", "pref", "1000"]);
    }
    await using echo = await lab.host("internet").serve({ kind: "echo" });
    await using talker = new Talker(lab.host("client"));
    await using proxy = await ProxyRun.start(here, ["--tcp", mode, "--from", "lan0"]);
    for (const [address, seen] of [[servers.v4, gateway.wanV4], [servers.v6, gateway.wanV6]] as const) {
      await (await talker.reach(address, echo.port)).close();
      await assertSeenFrom(echo, seen);
    }
    assertEquals((await proxy.stop()).tcpFinished, 2);
  });

  for (const source of ["own", "keep"] as const) {
    labTest(`${mode} --source ${source}: works under net.ipv6.bindv6only=1`, async () => {
      await using lab = await gatewayLab({ gatewaySysctls: { "net/ipv6/bindv6only": "1" } });
      const here = lab.host("gateway");
      assertEquals((await here.output(["cat", "/proc/sys/net/ipv6/bindv6only"])).trim(), "1");
      await using echo = await lab.host("internet").serve({ kind: "echo" });
      await using talker = new Talker(lab.host("client"));
      await using fromHere = new Talker(here);
      const flags = ["--tcp", mode, "--from", "lan0", "--source", source, "--flows"];
      await using proxy = await ProxyRun.start(here, flags);
      const seen = source === "keep" ? client : { v4: gateway.wanV4, v6: gateway.wanV6 };
      for (const family of ["v4", "v6"] as const) {
        await (await talker.reach(servers[family], echo.port)).close();
        await assertSeenFrom(echo, seen[family]);
      }
      // Nobody is carried to ourselves.
      for (const address of ["127.0.0.1", gateway.v4, "::1"]) {
        assertEquals(await fromHere.dial(address, OUR_PORT).ended(), "reset", address);
      }
      const totals = await proxy.stop();
      assertEquals([totals.tcpFinished, totals.tcpRefusedLoop, totals.tcpDialFailed], [2, 3, 0]);
      assertEquals(
        proxy.logged("flow").map(({ destination }) => destination).sort(),
        [`${servers.v4}:${echo.port}`, `[${servers.v6}]:${echo.port}`].sort(),
      );
    });

    labTest(`${mode} --source ${source}: works under src_valid_mark=1 and strict rp_filter`, async () => {
      const sysctls = Object.fromEntries(
        ["all", "default"].flatMap((scope) => [
          [`net/ipv4/conf/${scope}/src_valid_mark`, "1"],
          [`net/ipv4/conf/${scope}/rp_filter`, "1"],
        ]),
      );
      await using lab = await gatewayLab({ gatewaySysctls: sysctls });
      await using echo = await lab.host("internet").serve({ kind: "echo" });
      await using talker = new Talker(lab.host("client"));
      const flags = ["--tcp", mode, "--from", "lan0", "--source", source];
      await using proxy = await ProxyRun.start(lab.host("gateway"), flags);
      const seen = source === "keep" ? client : { v4: gateway.wanV4, v6: gateway.wanV6 };
      for (const family of ["v4", "v6"] as const) {
        const talk = await talker.reach(servers[family], echo.port);
        await assertSeenFrom(echo, seen[family]);
        await talk.say("and again");
        await talk.close();
      }
      assertEquals((await proxy.stop()).tcpFinished, 2);
    });
  }
}
