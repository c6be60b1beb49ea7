import { assertEquals } from "../tests/assert.ts";
import { type Changes, namesOf, PLAIN_RULES, subjectOf, unwell } from "../tests/doctor_world.ts";
import type { Subject } from "./subject.ts";

const conf = (name: string, setting: string) => `net/ipv4/conf/${name}/${setting}`;

Deno.test("settings: each is named by its id, with the command that mends it", async () => {
  const cases: [Changes["sysctls"], Subject, string, string | null][] = [
    [
      { [conf("lan0", "forwarding")]: "0" },
      subjectOf(),
      "error settings.forwarding-4",
      "sysctl -w net.ipv4.ip_forward=1",
    ],
    [
      { [conf("lan0", "forwarding")]: "0" },
      subjectOf({ from: [] }),
      "info settings.forwarding-4",
      "sysctl -w net.ipv4.ip_forward=1",
    ],
    [
      { "net/ipv6/conf/lan0/forwarding": "0" },
      subjectOf(),
      "warning settings.forwarding-6",
      "sysctl -w net.ipv6.conf.all.forwarding=1",
    ],
    [
      { [conf("all", "rp_filter")]: "1" },
      subjectOf(),
      "info settings.rp-filter",
      "sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.lan0.rp_filter=2",
    ],
    [
      { [conf("all", "rp_filter")]: "1" },
      subjectOf({ source: "keep", otherInterfaces: ["wan0", "wan1"] }),
      "warning settings.rp-filter",
      "sysctl -w net.ipv4.conf.wan0.rp_filter=2 net.ipv4.conf.wan1.rp_filter=2",
    ],
    [{ [conf("all", "src_valid_mark")]: "1" }, subjectOf(), "info settings.src-valid-mark", null],
    [
      { [conf("lan0", "route_localnet")]: "1" },
      subjectOf(),
      "warning settings.route-localnet",
      "sysctl -w net.ipv4.conf.all.route_localnet=0 net.ipv4.conf.lan0.route_localnet=0",
    ],
    [
      { "net/bridge/bridge-nf-call-iptables": "1" },
      subjectOf(),
      "info settings.bridge-nf-call-iptables",
      "sysctl -w net.bridge.bridge-nf-call-iptables=0",
    ],
    [
      { "net/ipv4/tcp_fwmark_accept": "1" },
      subjectOf(),
      "info settings.tcp-fwmark-accept",
      "sysctl -w net.ipv4.tcp_fwmark_accept=0",
    ],
    [
      { "net/ipv4/tcp_syncookies": "2" },
      subjectOf(),
      "error settings.syn-cookies",
      "sysctl -w net.ipv4.tcp_syncookies=1",
    ],
    [
      { "net/core/somaxconn": "128" },
      subjectOf(),
      "warning settings.syn-cookies",
      "sysctl -w net.core.somaxconn=4096",
    ],
  ];
  for (const [sysctls, subject, name, mend] of cases) {
    const findings = await unwell({ sysctls: sysctls! }, subject);
    assertEquals([namesOf(findings), findings[0]?.mend], [[name], mend], JSON.stringify(sysctls));
  }
});

Deno.test("settings: another interface's do not matter, and redirect does not mind cookies", async () => {
  assertEquals(
    await unwell({ sysctls: { [conf("wan0", "rp_filter")]: "1", [conf("wan0", "route_localnet")]: "1" } }),
    [],
  );
  assertEquals(
    await unwell({ sysctls: { "net/ipv4/tcp_syncookies": "2" } }, subjectOf({ tcp: "redirect" })),
    [],
  );
});

Deno.test("settings: a bridge whose frames meet the rules, and that is to be intercepted", async () => {
  const links = [
    { ifname: "lo", flags: ["UP"], addr_info: [{ family: "inet6" }] },
    { ifname: "docker0", flags: ["UP"], linkinfo: { info_kind: "bridge" } },
    { ifname: "veth1", flags: ["UP"], linkinfo: { info_kind: "veth" }, master: "docker0" },
  ];
  const changes: Changes = {
    sysctls: { "net/bridge/bridge-nf-call-iptables": "1" },
    commands: { "ip -j -d addr show": JSON.stringify(links) },
  };
  assertEquals(namesOf(await unwell(changes, subjectOf({ from: ["docker0"] }))), [
    "warning settings.bridge-nf-call-iptables",
  ]);
  assertEquals(namesOf(await unwell(changes, subjectOf({ from: ["veth1"] }))), [
    "info settings.bridge-nf-call-iptables",
    "warning links.interface:veth1",
  ]);
});

Deno.test("settings: src_valid_mark with a marked rule that names no interface loses packets", async () => {
  const loose = {
    priority: 91,
    src: "all",
    fwmark: "0x1000000",
    fwmask: "0x3000000",
    table: "7873",
    protocol: "173",
  };
  const findings = await unwell({
    sysctls: { [conf("all", "src_valid_mark")]: "1" },
    commands: { "ip -N -d -j -4 rule list": JSON.stringify([loose, ...PLAIN_RULES]) },
  });
  assertEquals(namesOf(findings), ["error settings.src-valid-mark"]);
  assertEquals(findings[0]!.mend, "ip rule del pref 91");
});
