/**
 * src_valid_mark=1 and rp_filter=1 everywhere, as VPNs and hardened hosts set them: forwarded TCP and UDP are still
 * taken, and this host's own beside them, on every backend.
 */
import { assertEquals } from "../assert.ts";
import { DatagramClient, gatewayLab, labTest, type MappingAnswer } from "../lab/mod.ts";
import { endpoint, FAMILIES } from "./datagram_site.ts";
import { ProxyRun } from "./proxy_run.ts";
import { assertSeenFrom } from "./seen_from.ts";
import { Talker } from "./talker.ts";

const STRICT = Object.fromEntries(
  ["all", "default", "lo"].flatMap((name) => [
    [`net/ipv4/conf/${name}/rp_filter`, "1"],
    [`net/ipv4/conf/${name}/src_valid_mark`, "1"],
  ]),
);

for (const rules of ["nft", "iptables", "iptables-legacy"]) {
  for (
    const flags of [["--from", "lan0"], ["--from", "lan0", "--local"], ["--from", "lan0", "--source", "keep"]]
  ) {
    labTest(`rules: by ${rules}, ${flags.join(" ")}, under src_valid_mark=1 and rp_filter=1`, async () => {
      await using lab = await gatewayLab({ gatewaySysctls: STRICT });
      const here = lab.host("gateway");
      await using proxy = await ProxyRun.start(here, ["--rules", rules, ...flags]);
      const internet = lab.host("internet");
      await using echo = await internet.serve({ kind: "echo" });
      await using mapping = await internet.serveDatagrams({ kind: "mapping", reports: false });
      const keeps = flags.includes("keep");
      const local = flags.includes("--local");
      for (
        const [from, isOwn] of [["client", false], ...(local ? [["gateway", true]] as const : [])] as const
      ) {
        await using talker = new Talker(lab.host(from));
        await using datagrams = new DatagramClient(lab.host(from));
        for (const family of FAMILIES) {
          await (await talker.reach(family.server, echo.port)).close();
          await assertSeenFrom(echo, keeps ? family.client : family.wan);
          const socket = await datagrams.open({ from: endpoint(isOwn ? family.wan : family.client, 0) });
          const { text } = await socket.ask({ to: endpoint(family.server, mapping.port), text: "who am I?" });
          const { mapped } = JSON.parse(text!) as MappingAnswer;
          assertEquals(
            mapped.slice(0, mapped.lastIndexOf(":")),
            endpoint(keeps ? family.client : family.wan, 0).slice(0, -2),
          );
        }
      }
      const flows = local ? 4 : 2;
      const totals = await proxy.stop();
      assertEquals([totals.tcpAccepted, totals.udpSessionsOpened], [flows, flows]);
    }, { timeoutMs: 60_000 });
  }
}
