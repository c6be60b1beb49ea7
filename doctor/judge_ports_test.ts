import { sidecarRunConfig } from "../config/mod.ts";
import { assertEquals, assertStringIncludes } from "../tests/assert.ts";
import { type Changes, namesOf, subjectOf, unwell } from "../tests/doctor_world.ts";

const HEAD =
  "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
const line = (address: string, port: number, state: string, inode: number) =>
  `   0: ${address}:${port.toString(16).toUpperCase().padStart(4, "0")} ${
    "0".repeat(address.length)
  }:0000 ${state} ` +
  `00000000:00000000 00:00000000 00000000     0        0 ${inode} 1 0000000000000000 100 0 0 10 0\n`;
const V6_ANY = "0".repeat(32);
/** 192.0.2.1 and 2001:db8::1, as the kernel prints them on a little-endian machine. */
const V4 = "010200C0", V6 = "B80D0120000000000000000001000000";

function socketsOf(files: Record<string, string>): NonNullable<Changes["files"]> {
  return Object.fromEntries(
    Object.entries(files).map(([name, lines]) => [`/proc/self/net/${name}`, HEAD + lines]),
  );
}

Deno.test("ports: who has ours is named, by address and process", async () => {
  const [finding, ...others] = await unwell({
    files: { ...socketsOf({ tcp: line(V4, 7870, "0A", 4711) }), "/proc/321/comm": "squid\n" },
    symlinks: { "/proc/321/fd/9": "socket:[4711]", "/proc/321/fd/1": "/dev/null" },
  });
  assertEquals(others, []);
  assertEquals([finding!.id, finding!.severity], ["ports.ours", "error"]);
  assertEquals(finding!.found, "taken: tcp 192.0.2.1:7870 by squid (pid 321)");
  assertStringIncludes(finding!.mend!, "ss -ltnp 'sport = :7870'");
});

Deno.test("ports: a pod's listeners have flags of their own", async () => {
  const pod = { ...subjectOf({ from: [], sidecar: {} }), config: sidecarRunConfig() };
  const findings = await unwell({ files: socketsOf({ tcp: line(V4, 15006, "0A", 4711) }) }, pod);
  const taken = findings.find(({ id }) => id === "ports.ours");
  assertStringIncludes(taken!.mend!, "pellucid run --inbound-port N");
});

Deno.test("ports: each worker's, of UDP; connections and other ports are nobody's matter", async () => {
  const [finding, ...others] = await unwell({
    files: socketsOf({
      tcp: line(V4, 7870, "01", 1) + line(V4, 7871, "0A", 2),
      udp: line(V4, 7872, "07", 3),
      udp6: line(V6, 7871, "07", 4),
    }),
  });
  assertEquals(others, []);
  assertEquals(finding!.found, "taken: udp [2001:db8::1]:7871 by a process that may not be looked into");
});

Deno.test("ports: a running proxy of ours has them", async () => {
  const ruleset = `table inet pellucid { # progname nft\n\tcomment "pellucid: table"\n\tflags owner\n}\n`;
  const findings = await unwell({
    files: socketsOf({ tcp6: line(V6_ANY, 7870, "0A", 1) }),
    commands: { "nft -s -t list ruleset": ruleset },
  });
  assertEquals(namesOf(findings), ["info ports.ours", "info neighbours.ourselves"]);
});

Deno.test("ports: a resolver on every address costs answers a way around; on one address it does not", async () => {
  const held = (address: string) => ({
    files: { ...socketsOf({ udp: line(address, 53, "07", 53) }), "/proc/7/comm": "dnsmasq\n" },
    symlinks: { "/proc/7/fd/4": "socket:[53]" },
  });
  const findings = await unwell(held("00000000"));
  assertEquals([namesOf(findings), findings[0]!.mend], [["warning ports.dns"], "dnsmasq.conf: bind-dynamic"]);
  assertStringIncludes(findings[0]!.found, "udp 0.0.0.0:53 by dnsmasq (pid 7)");
  assertEquals(await unwell(held("3500007F")), []);
  assertEquals(await unwell(held("00000000"), subjectOf({ udp: "off" })), []);
});

Deno.test("ports: ours among those that any program is given", async () => {
  const range = { "net/ipv4/ip_local_port_range": "1024\t65535", "net/ipv4/ip_local_reserved_ports": "8080" };
  const findings = await unwell({ sysctls: range });
  assertEquals(namesOf(findings), ["warning ports.range"]);
  assertEquals(findings[0]!.mend, "sysctl -w net.ipv4.ip_local_reserved_ports=7870-7871,8080");
  const reserved = { ...range, "net/ipv4/ip_local_reserved_ports": "8080,7870-7880" };
  assertEquals(await unwell({ sysctls: reserved }), []);
});
