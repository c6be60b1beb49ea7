import { assertEquals, assertStringIncludes } from "../tests/assert.ts";
import { type Changes, namesOf, subjectOf, unwell } from "../tests/doctor_world.ts";
import type { Finding } from "./findings.ts";
import { FIREWALLD_RULESET, ROUTER_RULESET, UFW_SAVE } from "../tests/fixtures/neighbour_listings.ts";

const NFT = "nft -s -t list ruleset";
const ufw = (text: string): Changes => ({
  commands: {
    "iptables-nft-save --version": "iptables-nft-save v1.8.9 (nf_tables)\n",
    "iptables-nft-save": text,
  },
});
const input = (...lines: readonly string[]): Changes => ({
  commands: {
    [NFT]: `table inet fw {\n\tchain in {\n\t\ttype filter hook input priority filter; policy drop;\n${
      lines.map((line) => `\t\t${line}\n`).join("")
    }\t}\n}\n`,
  },
});

async function firewalls(changes: Changes, subject = subjectOf()): Promise<Finding[]> {
  return (await unwell(changes, subject)).filter(({ group }) => group === "firewalls");
}

Deno.test("firewalls: ufw drops what TPROXY takes, and the line of the documentation mends it", async () => {
  const [finding, ...others] = await firewalls(ufw(UFW_SAVE));
  assertEquals([namesOf([finding!]), others], [["error firewalls.input:iptables/ip/filter/INPUT"], []]);
  assertStringIncludes(finding!.found, "tcp from lan0, udp from lan0");
  assertEquals(finding!.mend, "iptables -I INPUT 1 -m mark --mark 0x01000000/0x03000000 -j ACCEPT");
  const line = "-A ufw-before-input -m mark --mark 0x1000000/0x3000000 -j ACCEPT\n";
  const mended = UFW_SAVE.replace(
    "-A ufw-before-input -m conntrack",
    `${line}-A ufw-before-input -m conntrack`,
  );
  assertEquals(await firewalls(ufw(mended)), []);
  // Behind what drops it, the line comes too late.
  const late = UFW_SAVE.replace("-A ufw-before-input -j ufw-user-input", line.trim());
  assertEquals((await firewalls(ufw(late))).length, 1);
});

Deno.test("firewalls: ufw and redirect, own traffic, no traffic at all", async () => {
  const redirect = await firewalls(ufw(UFW_SAVE), subjectOf({ tcp: "redirect", udp: "off" }));
  assertEquals(redirect[0]!.mend, "iptables -I INPUT 1 -m conntrack --ctstate DNAT -j ACCEPT");
  assertEquals(await firewalls(ufw(UFW_SAVE), subjectOf({ from: [], local: true })), []);
  assertEquals(namesOf(await firewalls(ufw(UFW_SAVE), subjectOf({ from: [] }))), [
    "info firewalls.input:iptables/ip/filter/INPUT",
  ]);
});

Deno.test("firewalls: firewalld by the zone of the interface", async () => {
  const commands = { [NFT]: FIREWALLD_RULESET };
  const [finding, ...others] = await firewalls({ commands });
  assertEquals([namesOf([finding!]), others], [
    ["error firewalls.input:nft/inet/firewalld/filter_INPUT"],
    [],
  ]);
  assertEquals(finding!.mend, "firewall-cmd --permanent --zone=trusted --add-interface=lan0");
  assertEquals(await firewalls({ commands }, subjectOf({ from: ["wan0"] })), []);
  assertEquals(await firewalls({ commands }, subjectOf({ tcp: "redirect", udp: "off" })), []);
});

Deno.test("firewalls: a chain by hand, and flows that pass the rules by", async () => {
  const findings = await firewalls({ commands: { [NFT]: ROUTER_RULESET } });
  assertEquals(namesOf(findings), [
    "error firewalls.input:nft/inet/filter/input",
    "warning firewalls.offload",
  ]);
  assertEquals(
    findings.map(({ mend }) => mend),
    [
      "nft insert rule inet filter input meta mark '&' 0x03000000 == 0x01000000 accept",
      "nft delete flowtable inet filter fast '{ devices = { lan0 }; }'",
    ],
  );
  assertStringIncludes(findings[1]!.found, "table inet filter, flowtable fast (lan0, wan0)");
});

Deno.test("firewalls: which rules let in what is intercepted", async () => {
  const cases: [string[], string | undefined][] = [
    [[], "error"],
    [["meta mark & 0x03000000 == 0x01000000 accept"], undefined],
    [['meta mark & 0x03000000 != 0x00000000 counter packets 1 bytes 2 accept comment "ours"'], undefined],
    [["ct status dnat accept"], "error"],
    [['iifname { "lan0", "lan1" } accept'], undefined],
    [['iifname "lan*" accept'], undefined],
    [['iifname != "wan0" accept'], undefined],
    [["ct state { new, established } accept"], undefined],
    [["ct state established,related accept", "tcp dport 22 accept", "ip daddr 192.0.2.1 accept"], "error"],
    [["ip saddr 192.0.2.0/24 accept"], "warning"],
    [["fib daddr type local accept"], "error"],
    [["meta l4proto tcp accept", "meta l4proto udp accept"], undefined],
    [["meta l4proto tcp accept"], "error"],
    [["meta nfproto ipv4 accept"], "error"],
    [['log prefix "in: " accept'], undefined],
    [["limit rate 10/second accept"], "warning"],
    [["return", "accept"], "error"],
    [["reject with icmpx admin-prohibited", "accept"], "error"],
  ];
  for (const [lines, severity] of cases) {
    assertEquals((await firewalls(input(...lines)))[0]?.severity, severity, lines.join("; "));
  }
});

Deno.test("firewalls: a chain that accepts by default and drops nothing of ours is fine", async () => {
  const accepting = ufw(
    "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp -m tcp --dport 22 -j DROP\n-A INPUT -i wan0 -j DROP\nCOMMIT\n",
  );
  assertEquals(await firewalls(accepting), []);
  const closing = ufw(
    "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT ! -i lo -j REJECT --reject-with icmp-port-unreachable\nCOMMIT\n",
  );
  assertEquals((await firewalls(closing)).length, 1);
});
