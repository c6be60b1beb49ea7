import { assert, assertEquals, assertStringIncludes } from "../tests/assert.ts";
import { type Changes, namesOf, PLAIN_RULES, subjectOf, unwell } from "../tests/doctor_world.ts";
import { DOCKER_SAVE, FIREWALLD_RULESET, KUBERNETES_SAVE } from "../tests/fixtures/neighbour_listings.ts";

const NFT = "nft -s -t list ruleset";
/** As one program of that kind prints it. */
function saved(text: string, tool: "nft" | "legacy" = "nft"): NonNullable<Changes["commands"]> {
  const program = `iptables-${tool}-save`;
  const version = `${program} v1.8.9 (${tool === "nft" ? "nf_tables" : "legacy"})\n`;
  return { [`${program} --version`]: version, [program]: text };
}
const chains = (...names: readonly string[]) =>
  `*mangle\n:PREROUTING ACCEPT [0:0]\n${names.map((name) => `:${name} - [0:0]\n`).join("")}COMMIT\n`;
const rules = (...added: readonly unknown[]) => ({
  "ip -N -d -j -4 rule list": JSON.stringify([...PLAIN_RULES, ...added]),
});

Deno.test("neighbours: each program by its chains, tables and routing rules", async () => {
  const cases: [NonNullable<Changes["commands"]>, string[]][] = [
    [saved(DOCKER_SAVE), ["info neighbours.docker"]],
    [saved(DOCKER_SAVE, "legacy"), ["info neighbours.docker"]],
    [saved(KUBERNETES_SAVE), ["warning neighbours.kube-proxy", "info neighbours.calico"]],
    [saved(chains("ts-input")), ["info neighbours.tailscale"]],
    [rules({ priority: 5270, src: "all", table: "52", protocol: "0" }), ["info neighbours.tailscale"]],
    [saved(chains("ufw-before-input")), ["info neighbours.ufw"]],
    [saved(chains("mwan3_hook")), ["info neighbours.mwan3"]],
    [
      rules({ priority: 2001, src: "all", fwmark: "0x100", fwmask: "0x3f00", table: "1", protocol: "0" }),
      ["info neighbours.mwan3"],
    ],
    [
      rules({ priority: 9, src: "all", fwmark: "0x200", fwmask: "0xf00", table: "2004", protocol: "0" }),
      ["warning neighbours.cilium"],
    ],
    [rules({ priority: 32765, not: null, src: "all", fwmark: "0xca6c", table: "51820", protocol: "0" }), [
      "info neighbours.wireguard",
    ]],
    [saved(chains("ISTIO_INBOUND")), ["warning neighbours.istio"]],
  ];
  for (const [commands, names] of cases) {
    assertEquals(namesOf(await unwell({ commands })), names, JSON.stringify(commands));
  }
});

Deno.test("neighbours: what matters depends on what is to be run", async () => {
  const marked = rules({
    priority: 2001,
    src: "all",
    fwmark: "0x100",
    fwmask: "0x3f00",
    table: "1",
    protocol: "0",
  });
  assertEquals(namesOf(await unwell({ commands: marked }, subjectOf({ local: true }))), [
    "warning neighbours.mwan3",
  ]);
  const firewalld = { [NFT]: FIREWALLD_RULESET };
  const byIptables = await unwell({ commands: firewalld }, subjectOf({ rules: "iptables", from: ["wan0"] }));
  assertEquals(namesOf(byIptables), ["warning neighbours.firewalld"]);
  assertEquals(byIptables[0]!.mend, "pellucid run --rules nft");
});

Deno.test("neighbours: other proxies are named with their rules, ours are not", async () => {
  const commands = saved(
    "*mangle\n:PREROUTING ACCEPT [0:0]\n:V2RAY - [0:0]\n:pellucid_tproxy - [0:0]\n" +
      "-A PREROUTING -j V2RAY\n-A V2RAY -p tcp -j TPROXY --on-port 12345 --on-ip 127.0.0.1 --tproxy-mark 0x1/0x1\n" +
      "-A pellucid_tproxy -p tcp -j TPROXY --on-port 7870 --on-ip 0.0.0.0 --tproxy-mark 0x1000000/0x3000000\nCOMMIT\n",
    "legacy",
  );
  const [left, other, ...more] = await unwell({ commands });
  assertEquals([namesOf([left!, other!]), more], [
    ["info neighbours.left", "warning neighbours.proxies"],
    [],
  ]);
  assertEquals(left!.mend, "pellucid rules cleanup");
  assertStringIncludes(
    other!.found,
    "iptables-legacy table mangle, chain V2RAY: -p tcp -j TPROXY --on-port 12345",
  );
});

Deno.test("neighbours: what iptables-nft made is told once, in its own words", async () => {
  const commands = {
    [NFT]:
      "table ip mangle {\n\tchain PREROUTING {\n\t\ttype filter hook prerouting priority mangle; policy accept;\n" +
      "\t\tmeta l4proto tcp tproxy to :1 meta mark set 0x1\n\t}\n}\n",
    ...saved(
      "*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -j TPROXY --on-port 1 --on-ip 0.0.0.0 --tproxy-mark 0x1/0x1\nCOMMIT\n",
    ),
  };
  const findings = await unwell({ commands });
  assertEquals(namesOf(findings), ["warning neighbours.proxies"]);
  assert(!findings[0]!.found.includes("tproxy to"), findings[0]!.found);
});

Deno.test("neighbours: rules of ours are a running proxy's while the process that they name runs", async () => {
  const ruleset = `table inet pellucid {\n\tcomment "pellucid: table"\n\tchain state {\n` +
    `\t\treturn comment "intercept 1f0c77a25e9b3d40 closed by 4711/8123456"\n\t}\n}\n`;
  const stat = (state: string, start: number) => ({
    "cat /proc/4711/stat": `4711 (deno) ${state} ${"0 ".repeat(18)}${start} 0\n`,
  });
  const found = async (commands: Changes["commands"]) =>
    namesOf(await unwell({ commands: { [NFT]: ruleset, ...commands } }));
  assertEquals(await found(stat("S", 8123456)), ["info neighbours.ourselves"]);
  for (const ended of [{}, stat("S", 9999999), stat("Z", 8123456)]) {
    assertEquals(await found(ended), ["info neighbours.left"]);
  }
});
