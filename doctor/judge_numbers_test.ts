import { assertEquals, assertStringIncludes } from "../tests/assert.ts";
import { type Changes, namesOf, PLAIN_RULES, subjectOf, unwell } from "../tests/doctor_world.ts";
import { markUses } from "./mark_uses.ts";

const RULE_LIST = "ip -N -d -j -4 rule list";
const rules = (...added: readonly unknown[]): Changes => ({
  commands: { [RULE_LIST]: JSON.stringify([...added, ...PLAIN_RULES]) },
});
const chain = (...lines: readonly string[]): Changes => ({
  commands: {
    "nft -s -t list ruleset":
      `table inet other {\n\tchain pre {\n\t\ttype filter hook prerouting priority mangle; ` +
      `policy accept;\n${lines.map((line) => `\t\t${line}\n`).join("")}\t}\n}\n`,
  },
});

Deno.test("numbers: our own rules and routes, and those of well-behaved programs, are no collision", async () => {
  const own = {
    priority: 90,
    src: "all",
    fwmark: "0x1000000",
    fwmask: "0x3000000",
    iif: "lan0",
    table: "7873",
    protocol: "173",
  };
  const changes = rules(own, {
    priority: 5210,
    src: "all",
    fwmark: "0x10000",
    fwmask: "0xf0000",
    table: "254",
    protocol: "0",
  });
  const routes = {
    "ip -N -d -j -4 route list table 7873": '[{"type":"2","dst":"default","dev":"lo","protocol":"173"}]',
  };
  assertEquals(await unwell({ commands: { ...changes.commands, ...routes } }), []);
  const marks = chain(
    "meta mark & 0x00ff0000 == 0x00040000 accept",
    "meta mark set meta mark | 0x00004000",
    "meta mark set meta mark & 0xffff00ff | 0x00000100",
    "meta mark 0x0000ca6c accept",
  );
  assertEquals(await unwell(marks), []);
});

Deno.test("numbers: bits of marks that are ours", async () => {
  for (
    const line of [
      "meta mark & 0xff000000 == 0x05000000 accept",
      "meta mark set 0x01000001",
      "ct mark set ct mark | 0x10000000",
      "meta mark 0x02000000 drop",
    ]
  ) assertEquals(namesOf(await unwell(chain(line))), ["error numbers.marks"], line);
  for (
    const line of [
      "meta mark set 0x00000001",
      "meta mark set ct mark",
      "meta mark set meta mark & 0x000000ff",
    ]
  ) {
    const findings = await unwell(chain(line));
    assertEquals(namesOf(findings), ["warning numbers.marks-overwritten"], line);
    assertStringIncludes(findings[0]!.found, `table inet other, chain pre: ${line}`);
  }
});

Deno.test("numbers: routing rules that ask for our bits, or come before ours and match", async () => {
  const collision = {
    priority: 5000,
    src: "all",
    fwmark: "0x1000000",
    fwmask: "0xff000000",
    table: "100",
    protocol: "0",
  };
  assertEquals(namesOf(await unwell(rules(collision))), ["error numbers.rule-marks"]);
  const wireguard = { priority: 89, not: null, src: "all", fwmark: "0xca6c", table: "51820", protocol: "0" };
  const findings = await unwell(rules(wireguard));
  assertEquals(namesOf(findings), ["error numbers.preference", "info neighbours.wireguard"]);
  assertEquals(
    findings[0]!.mend,
    "ip -4 rule add pref 32000 not from all fwmark 0xca6c lookup 51820 && ip -4 rule del pref 89",
  );
  const narrow = { priority: 50, src: "192.0.2.0", srclen: 24, table: "100", protocol: "0" };
  const [early, ...more] = await unwell(rules(narrow));
  assertEquals([namesOf([early!]), more], [["warning numbers.preference"], []]);
  assertStringIncludes(early!.mend!, "rule add pref 32000 from 192.0.2.0/24 lookup 100 &&");
  const others = [
    { priority: 50, src: "all", fwmark: "0x80000", fwmask: "0xff0000", table: "254", protocol: "0" },
    { priority: 1000, src: "all", table: "100", protocol: "0" },
  ];
  assertEquals(namesOf(await unwell(rules(...others))), ["info neighbours.tailscale"]);
  assertEquals(await unwell(rules(narrow), subjectOf({ tcp: "redirect", udp: "off" })), []);
});

Deno.test("numbers: our table, protocol and zone in other hands", async () => {
  const route = (words: string, text: string): Changes => ({
    commands: { [`ip -N -d -j -4 route list ${words}`]: text },
  });
  const cases: [Changes, string, string][] = [
    [
      route("table 7873", '[{"type":"1","dst":"default","dev":"wan0","protocol":"3"}]'),
      "error numbers.table",
      "ip -4 route del default dev wan0 table 7873",
    ],
    [
      rules({ priority: 200, src: "all", table: "7873", protocol: "0" }),
      "error numbers.table",
      "ip -4 rule del pref 200",
    ],
    [
      route("table all proto 173", '[{"type":"1","dst":"203.0.113.0/24","dev":"wan0","table":"100"}]'),
      "error numbers.protocol",
      "add them again with another number: ip route replace … proto static",
    ],
    [chain("ct zone set 7873"), "info numbers.zone", "give the other program another zone"],
  ];
  for (const [changes, name, mend] of cases) {
    const findings = await unwell(changes);
    assertEquals([namesOf(findings), findings[0]?.mend], [[name], mend]);
  }
  assertEquals(namesOf(await unwell(chain("ct zone set 7873"), subjectOf({ source: "keep" }))), [
    "error numbers.zone",
  ]);
});

Deno.test("markUses: as both tools write them", () => {
  const uses = (tool: "nft" | "iptables", text: string) =>
    markUses(tool, text).map(({ does, of, bits, value }) =>
      `${does} ${of} ${bits.toString(16)} ${value.toString(16)}`
    );
  assertEquals(
    uses("nft", "meta mark & 0x03000000 == 0x01000000 meta mark set meta mark & 0xfcffffff | 0x01000000"),
    [
      "writes packet 3000000 1000000",
      "asks packet 3000000 1000000",
    ],
  );
  assertEquals(uses("nft", "ct mark set meta mark & 0x000000ff"), ["writes flow ffffffff 0"]);
  assertEquals(
    uses(
      "iptables",
      "-m mark --mark 0x40000/0xff0000 -j CONNMARK --save-mark --nfmask 0xff0000 --ctmask 0xff0000",
    ),
    [
      "writes flow ff0000 0",
      "asks packet ff0000 40000",
    ],
  );
  assertEquals(uses("iptables", "-p tcp -j TPROXY --on-port 1080 --on-ip 0.0.0.0 --tproxy-mark 0x1/0x1"), [
    "writes packet 1 1",
  ]);
  assertEquals(uses("iptables", "-j MARK --set-xmark 0x4000/0x4000"), ["writes packet 4000 4000"]);
  assertEquals(uses("iptables", "-m connmark --mark 0x1 -j CONNMARK --restore-mark"), [
    "writes packet ffffffff 0",
    "asks flow ffffffff 1",
  ]);
});
