import { assertEquals } from "../tests/assert.ts";
import { type Changes, namesOf, subjectOf, unwell } from "../tests/doctor_world.ts";

const lo = { ifname: "lo", flags: ["UP"], addr_info: [{ family: "inet" }, { family: "inet6" }] };
const lan0 = { ifname: "lan0", flags: ["UP"], addr_info: [{ family: "inet" }] };
const links = (...all: readonly unknown[]): Changes => ({
  commands: { "ip -j -d addr show": JSON.stringify(all) },
});

Deno.test("links: lo, IPv6, names and addresses", async () => {
  const off = { "net/ipv6/conf/lo/disable_ipv6": "1" };
  const cases: [Changes, Parameters<typeof subjectOf>[0], string[], string | null][] = [
    [links({ ...lo, flags: [] }, lan0), {}, ["error links.loopback"], "ip link set lo up"],
    [links({ ...lo, flags: [] }, lan0), { tcp: "redirect", udp: "off" }, [
      "warning links.loopback",
      "warning links.address:lan0/6",
    ], "ip link set lo up"],
    [
      { ...links(lo, lan0), sysctls: off },
      {},
      ["info links.ipv6"],
      "sysctl -w net.ipv6.conf.lo.disable_ipv6=0",
    ],
    [{ sysctls: off }, {}, ["warning links.ipv6"], "sysctl -w net.ipv6.conf.lo.disable_ipv6=0"],
    [links(lo), {}, ["error links.interface:lan0"], "ip link"],
    [links(lo, { ...lan0, flags: [] }), {}, ["warning links.interface:lan0"], "ip link set lan0 up"],
    [
      links(lo, { ...lan0, master: "br0" }, {
        ifname: "br0",
        flags: ["UP"],
        linkinfo: { info_kind: "bridge" },
      }),
      {},
      [
        "warning links.interface:lan0",
      ],
      "pellucid run --from br0",
    ],
  ];
  for (const [changes, intent, names, mend] of cases) {
    const commands = { "ethtool -k lan0": "generic-receive-offload: on\n", ...changes.commands };
    const findings = await unwell({ ...changes, commands }, subjectOf(intent));
    assertEquals([namesOf(findings), findings[0]?.mend], [names, mend], JSON.stringify(changes));
  }
});

Deno.test("links: what a card merges; without ethtool that is not known", async () => {
  const said = async (text: string | undefined, udp: "tproxy" | "off" = "tproxy") => {
    const missing = { code: 127, stdout: "", stderr: "" };
    const findings = await unwell({ commands: { "ethtool -k lan0": text ?? missing } }, subjectOf({ udp }));
    return findings.map(({ id, severity, mend }) => [severity, id, mend]);
  };
  assertEquals(await said(undefined), [["info", "links.gro", "apt-get install ethtool"]]);
  assertEquals(await said("generic-receive-offload: off\n"), [[
    "info",
    "links.gro:lan0",
    "ethtool -K lan0 gro on",
  ]]);
  const forwarding = "generic-receive-offload: on\nrx-udp-gro-forwarding: off\n";
  assertEquals(await said(forwarding), [[
    "info",
    "links.gro:lan0",
    "ethtool -K lan0 rx-udp-gro-forwarding on",
  ]]);
  assertEquals(await said(forwarding, "off"), []);
});
