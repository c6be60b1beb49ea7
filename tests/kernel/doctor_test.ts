/**
 * The doctor on real hosts: gateways of a lab that have the rules, routes and settings of other programs. It has to
 * name them, change nothing, and be content when its own commands have been run.
 *
 * @module
 */
import type { DoctorReport, Finding } from "../../doctor/mod.ts";
import { DOCKER_SAVE, FIREWALLD_RULESET, UFW_SAVE } from "../fixtures/neighbour_listings.ts";
import { assert, assertEquals, assertStringIncludes } from "../assert.ts";
import { gatewayLab, type LabHost, labTest, type RunOptions } from "../lab/mod.ts";

const PROGRAM = new URL("../../mod.ts", import.meta.url).pathname;

/** All of what could be changed by looking; without counters and times. */
const STATE = [
  "nft -s list ruleset",
  "{ iptables-legacy-save; ip6tables-legacy-save; } | sed -e '/^#/d' -e 's/\\[.*\\]//'",
  "ip -4 rule; ip -6 rule",
  "ip -4 route show table all; ip -6 route show table all",
  "cat /proc/sys/net/ipv4/conf/*/* /proc/sys/net/ipv4/* 2>/dev/null",
  "ip link; ip netns; ls /run",
].join("; ");

async function examined(
  host: LabHost,
  flags: readonly string[],
  options: RunOptions = {},
): Promise<DoctorReport> {
  const { code, stdout, stderr } = await host.run(
    [Deno.execPath(), "run", "-A", "--cached-only", PROGRAM, "doctor", "--json", ...flags],
    options,
  );
  assert(stdout.startsWith("{"), `${stdout}${stderr}`);
  const report = JSON.parse(stdout) as DoctorReport;
  assertEquals(code, report.healthy ? 0 : 1);
  return report;
}

function pick(report: DoctorReport, id: string): Finding | undefined {
  return report.findings.find((one) => one.id === id && one.severity !== "ok");
}

function unwell(report: DoctorReport): string[] {
  // What is missing on the machine itself is not this test's matter.
  return report.findings.filter(({ severity, group }) =>
    severity !== "ok" && !["features", "limits", "links"].includes(group)
  ).map(({ id, severity }) => `${severity} ${id}`);
}

/** Bridges' settings are the machine's: the lab has its own, with the values that it was born with. */
async function calmBridges(host: LabHost): Promise<void> {
  const off = "for file in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e $file ] || echo 0 > $file; done";
  await host.output(["sh", "-c", off]);
}

labTest("doctor: finds nothing on a gateway without other programs, and leaves it as it was", async () => {
  await using lab = await gatewayLab();
  const gateway = lab.host("gateway");
  await calmBridges(gateway);
  const before = await gateway.output(["sh", "-c", STATE]);
  const report = await examined(gateway, ["--from", "lan0", "--no-self-test"]);
  assertEquals(unwell(report), []);
  assertEquals(await gateway.output(["sh", "-c", STATE]), before);
  assert(report.counts.ok > 40, JSON.stringify(report.counts));
});

labTest(
  "doctor: names Docker, firewalld, ufw and Tailscale by their rules, and changes none of them",
  async () => {
    await using lab = await gatewayLab();
    const gateway = lab.host("gateway");
    await calmBridges(gateway);
    await gateway.output(["iptables-nft-restore"], { stdin: DOCKER_SAVE });
    await gateway.output(["iptables-legacy-restore"], { stdin: UFW_SAVE });
    await gateway.output(["nft", "-f", "-"], { stdin: FIREWALLD_RULESET });
    await gateway.output(["ip", "-batch", "-"], {
      stdin: [
        "rule add fwmark 0x80000/0xff0000 lookup main pref 5210",
        "rule add fwmark 0x80000/0xff0000 unreachable pref 5250",
        "rule add lookup 52 pref 5270",
        "",
      ].join("\n"),
    });
    const before = await gateway.output(["sh", "-c", STATE]);
    const report = await examined(gateway, ["--from", "lan0", "--no-self-test"]);
    assertEquals(await gateway.output(["sh", "-c", STATE]), before);
    assertEquals(unwell(report).toSorted(), [
      "error firewalls.input:iptables-legacy/ip/filter/INPUT",
      "error firewalls.input:nft/inet/firewalld/filter_INPUT",
      "info neighbours.docker",
      "info neighbours.firewalld",
      "info neighbours.tailscale",
      "info neighbours.ufw",
    ]);
    assertStringIncludes(
      pick(report, "neighbours.tailscale")!.found,
      "5210: from all fwmark 0x80000/0xff0000 lookup 254",
    );
    assertStringIncludes(pick(report, "neighbours.docker")!.found, "iptables table filter, chain DOCKER;");
  },
);

labTest("doctor: names settings, and its own commands mend them", async () => {
  await using lab = await gatewayLab();
  const gateway = lab.host("gateway");
  await calmBridges(gateway);
  await gateway.output(["ip", "-batch", "-"], { stdin: "link add br0 type bridge\nlink set br0 up\n" });
  const settings = {
    "net/ipv4/conf/all/rp_filter": "1",
    "net/ipv4/conf/all/src_valid_mark": "1",
    "net/ipv4/conf/br0/route_localnet": "1",
    "net/ipv4/ip_forward": "0",
    "net/ipv4/tcp_syncookies": "2",
    "net/ipv4/ip_local_port_range": "1024 65535",
    "net/bridge/bridge-nf-call-iptables": "1",
    "net/bridge/bridge-nf-call-ip6tables": "1",
  };
  const script = Object.entries(settings).map(([key, value]) => `echo ${value} > /proc/sys/${key}`).join(
    "\n",
  );
  await gateway.output(["sh", "-e"], { stdin: script });
  const flags = ["--from", "br0", "--from", "lan0", "--no-self-test"];
  const report = await examined(gateway, flags);
  const wanted = [
    "error settings.forwarding-4",
    "error settings.syn-cookies",
    "info settings.rp-filter",
    "info settings.src-valid-mark",
    "warning ports.range",
    "warning settings.bridge-nf-call-ip6tables",
    "warning settings.bridge-nf-call-iptables",
    "warning settings.route-localnet",
  ];
  assertEquals(unwell(report).toSorted(), wanted);
  for (const { id, mend, severity } of report.findings) {
    if (severity !== "ok" && mend?.startsWith("sysctl ") === true && /^(settings|ports)\./.test(id)) {
      await gateway.output(["sh", "-c", mend]);
    }
  }
  // Nothing is wrong with the one that has no command.
  assertEquals(unwell(await examined(gateway, flags)), ["info settings.src-valid-mark"]);
});

labTest("doctor: names who has our ports, marks and places, and its own commands mend them", async () => {
  await using lab = await gatewayLab();
  const gateway = lab.host("gateway");
  await calmBridges(gateway);
  await using resolver = await gateway.serveDatagrams({ kind: "mute", port: 53 });
  await using squatter = await gateway.serve({ kind: "mute", port: 7870 });
  await gateway.output(["ip", "-batch", "-"], {
    stdin: [
      "rule add fwmark 0x1000000/0x3000000 iif lan0 lookup 7873 pref 90 protocol 173",
      // As wg-quick does it: without a preference the kernel puts it before all others.
      "rule add not fwmark 0xca6c lookup 51820",
      "rule add fwmark 0x1000000/0xff000000 lookup 100 pref 6000",
      "route add local default dev lo table 7873",
      "",
    ].join("\n"),
  });
  await gateway.output(["nft", "-f", "-"], {
    stdin:
      "table inet other {\n chain out { type route hook output priority mangle; meta mark set 0x2000000; }\n" +
      " chain in { type filter hook input priority filter; policy drop; ct state established accept; }\n" +
      " chain nat { type nat hook prerouting priority dstnat; tcp dport 80 redirect to :3128; }\n}\n",
  });
  const flags = ["--from", "lan0", "--no-self-test"];
  const report = await examined(gateway, flags);
  assertEquals(unwell(report).toSorted(), [
    "error firewalls.input:nft/inet/other/in",
    "error numbers.marks",
    "error numbers.preference",
    "error numbers.rule-marks",
    "error numbers.table",
    "error ports.ours",
    "info neighbours.wireguard",
    "warning neighbours.proxies",
    "warning ports.dns",
  ]);
  assertStringIncludes(
    pick(report, "numbers.preference")!.found,
    "89: not from all fwmark 0xca6c lookup 51820",
  );
  assertStringIncludes(pick(report, "ports.ours")!.found, `tcp [::]:7870 by deno (pid `);
  assertStringIncludes(pick(report, "ports.dns")!.found, "udp 0.0.0.0:53 by deno (pid ");
  assertStringIncludes(pick(report, "neighbours.proxies")!.found, "tcp dport 80 redirect to :3128");
  await resolver.process.stop();
  await squatter.process.stop();
  for (
    const id of [
      "firewalls.input:nft/inet/other/in",
      "numbers.preference",
      "numbers.rule-marks",
      "numbers.table",
    ]
  ) {
    await gateway.output(["sh", "-c", pick(report, id)!.mend!]);
  }
  assertEquals(unwell(await examined(gateway, flags)).toSorted(), [
    "error numbers.marks",
    "info neighbours.wireguard",
    "warning neighbours.proxies",
  ]);
});

labTest(
  "doctor: the self-test takes a connection and a datagram, and says what failed where it cannot",
  async () => {
    await using lab = await gatewayLab();
    const gateway = lab.host("gateway");
    const ids = (report: DoctorReport) =>
      report.findings.filter(({ group }) => group === "self-test").map(({ id, severity }) =>
        `${severity} ${id}`
      );
    const well = ["ok self-test.tcp", "ok self-test.udp", "ok self-test.stop"];
    for (const flags of [["--from", "lan0"], ["--from", "lan0", "--tcp", "redirect", "--source", "keep"]]) {
      const report = await examined(gateway, flags);
      assertEquals(
        ids(report),
        well,
        JSON.stringify(report.findings.filter(({ group }) => group === "self-test")),
      );
    }
    // iptables-legacy cannot work without its lock.
    const report = await examined(gateway, ["--from", "lan0", "--rules", "iptables-legacy"], {
      env: { XTABLES_LOCKFILE: "/nowhere/xtables.lock" },
    });
    assertEquals([ids(report), report.healthy], [["error self-test.run"], false]);
    assertStringIncludes(pick(report, "self-test.run")!.found, "the proxy did not start");
  },
  { timeoutMs: 90_000 },
);
