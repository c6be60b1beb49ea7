/**
 * A sidecar on every tool for the rules: both directions, clients' addresses kept, and DNS, in one run each.
 */
import { assertEquals } from "../assert.ts";
import { labTest } from "../lab/mod.ts";
import { missingPrograms } from "./real_program.ts";
import {
  BOTH_FAMILIES,
  endpoint,
  exchange,
  hostOf,
  OUTSIDE,
  OUTSIDE_LINK,
  POD,
  SidecarSite,
} from "./sidecar_site.ts";

const RESOLVED = "192.0.2.101";

for (const rules of ["nft", "iptables", "iptables-legacy"]) {
  const missing = missingPrograms({
    dig: "dnsutils",
    dnsmasq: "dnsmasq-base",
    ...(rules === "nft" ? {} : { [`${rules === "iptables" ? "iptables-nft" : rules}-restore`]: "iptables" }),
  });
  const remark = missing.length === 0 ? "" : ` (missing here: ${missing.join(", ")})`;
  labTest(
    `sidecar by ${rules}: inbound as the client, outbound, DNS, and nothing of it left${remark}`,
    async () => {
      await using site = await SidecarSite.start();
      const before = await site.pod.output(["sh", "-c", STATE]);
      const inside = await site.pod.serve({ kind: "echo" });
      const outside = await site.outside.serve({ kind: "echo" });
      const resolver = site.outside.spawn([
        ...[
          "dnsmasq",
          "--no-daemon",
          "--conf-file=/dev/null",
          "--pid-file=",
          "--log-facility=-",
          "--no-hosts",
        ],
        ...["--no-resolv", "--port=5353", `--address=/who.example.test/${RESOLVED}`],
      ]);
      await resolver.stderr.waitFor((line) => line.includes("started, version") || undefined, 15_000);
      const proxy = await site.run([
        ...["--rules", rules, "--inbound", "tproxy", "--source", "keep"],
        ...["--capture-dns", "all", "--dns", endpoint(OUTSIDE.v6, 5353)],
      ]);
      for (const family of BOTH_FAMILIES) {
        await exchange(site.outside, POD[family], inside.port);
        assertEquals(hostOf((await inside.nextOpened()).peer), OUTSIDE_LINK[family]);
        await exchange(site.pod, OUTSIDE[family], outside.port);
        assertEquals(hostOf((await outside.nextOpened()).peer), POD[family]);
        const dig = ["dig", `@${OUTSIDE[family]}`, "who.example.test", "A", "+short", "+tries=1", "+time=4"];
        assertEquals((await site.pod.output(dig)).trim(), RESOLVED);
      }
      const { tcpFinished, dnsAnswers, tcpRefusedLoop } = await proxy.stopByForce();
      assertEquals([tcpFinished, dnsAnswers, tcpRefusedLoop], [4, 2, 0]);
      assertEquals(await site.pod.output(["sh", "-c", STATE]), before);
    },
    { ignore: missing.length > 0, timeoutMs: 60_000 },
  );
}

/** Rules, routes and the sysctl that a sidecar changes. */
const STATE = "nft list ruleset 2>&1 | grep -i pellucid; ip rule; ip -6 rule; ip route show table all; " +
  "ip -6 route show table all; cat /proc/sys/net/ipv4/tcp_fwmark_accept; " +
  "iptables-legacy-save 2>/dev/null | grep -i pellucid; ip6tables-legacy-save 2>/dev/null | grep -i pellucid; true";
