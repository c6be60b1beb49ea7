import {
  type ConfigIssue,
  DEFAULT_SIDECAR,
  defaultRunConfig,
  SELECT_ALL,
  sidecarRunConfig,
} from "../config/mod.ts";
import { formatEndpoint } from "../net/mod.ts";
import { assertEquals } from "../tests/assert.ts";
import { checkInterceptionFlags, INTERCEPTION_FLAGS, interceptionConfig } from "./interception_flags.ts";
import { parseFlags } from "./parse_flags.ts";

function read(line: string) {
  const parsed = parseFlags(INTERCEPTION_FLAGS, line.split(" ").filter((word) => word !== ""));
  assertEquals(parsed.issues, []);
  return parsed.values;
}

const config = (line: string) => interceptionConfig(read(line));
const found = (issues: readonly ConfigIssue[]) => issues.map((issue) => [issue.path, issue.found]);

Deno.test("interceptionConfig: nothing said is the default, with --sidecar the sidecar's", () => {
  assertEquals(config(""), defaultRunConfig());
  assertEquals(config("--sidecar"), sidecarRunConfig());
  assertEquals(checkInterceptionFlags(read("--sidecar")), []);
});

Deno.test("interceptionConfig: what is said counts in either mode", () => {
  assertEquals(config("--sidecar --port 15101 --tcp off").port, 15101);
  assertEquals(config("--sidecar --port 15101 --tcp off").tcp, "off");
  assertEquals(config("--tcp redirect --udp off --port 1").tcp, "redirect");
  assertEquals(config("--rules iptables-legacy --on-proxy-down closed").rules, "iptables-legacy");
  assertEquals(config("--rules iptables-legacy --on-proxy-down closed").onProxyDown, "closed");
  assertEquals(config("--dns 192.0.2.53 --dns [2001:db8::53]:5353").dns.map(formatEndpoint), [
    "192.0.2.53:53",
    "[2001:db8::53]:5353",
  ]);
});

Deno.test("interceptionConfig: each selector has its two flags", () => {
  const { select, from, excludeFrom } = config(
    "--from br-*,eth1 --exclude-from br-0 --to eth0 --exclude-to wg* --include-cidr 192.0.2.0/24 " +
      "--exclude-cidr 192.0.2.7 --include-cidr-file a --exclude-cidr-file b --include-source ::/0 " +
      "--exclude-source 2001:db8::1 --include-source-file c --exclude-source-file d --tcp-ports 80 " +
      "--exclude-tcp-ports 81 --udp-ports 53 --exclude-udp-ports 54 --include-mac 02:00:5e:10:00:01 " +
      "--exclude-mac 02:00:5e:10:00:02 --include-uid 1 --exclude-uid root --include-gid 2 --exclude-gid wheel " +
      "--include-cgroup a.slice --exclude-cgroup a.slice/b --include-mark 1 --exclude-mark 2/3",
  );
  assertEquals([from, excludeFrom], [["br-*", "eth1"], ["br-0"]]);
  const port = (number: number) => [{ first: number, last: number }];
  assertEquals(select, {
    destinations: {
      include: ["192.0.2.0/24"],
      exclude: ["192.0.2.7/32"],
      includeFiles: ["a"],
      excludeFiles: ["b"],
    },
    sources: { include: ["::/0"], exclude: ["2001:db8::1/128"], includeFiles: ["c"], excludeFiles: ["d"] },
    tcpPorts: { include: port(80), exclude: port(81) },
    udpPorts: { include: port(53), exclude: port(54) },
    outgoing: { include: ["eth0"], exclude: ["wg*"] },
    macs: { include: ["02:00:5e:10:00:01"], exclude: ["02:00:5e:10:00:02"] },
    uids: { include: port(1), exclude: [{ name: "root" }] },
    gids: { include: port(2), exclude: [{ name: "wheel" }] },
    cgroups: { include: ["a.slice"], exclude: ["a.slice/b"] },
    marks: { include: [{ value: 1, mask: 0xffff_ffff }], exclude: [{ value: 2, mask: 3 }] },
  });
  assertEquals(config("--local").select, SELECT_ALL);
});

Deno.test("interceptionConfig: a sidecar's flags", () => {
  const { sidecar } = config(
    "--sidecar --inbound tproxy --inbound-port 16006 --inbound-ports 80,8080-8090 --exclude-inbound-ports 8085 " +
      "--outbound-ports 443 --proxy-uid 1337,envoy --proxy-gid 1337 --exclude-interface net1 " +
      "--virtual-interface k6t* --capture-dns servers --dns-port 16053 --dns-server 192.0.2.53,2001:DB8::53 " +
      "--drop-invalid",
  );
  assertEquals(sidecar, {
    inbound: "tproxy",
    inboundPort: 16006,
    inboundPorts: {
      include: [{ first: 80, last: 80 }, { first: 8080, last: 8090 }],
      exclude: [{ first: 8085, last: 8085 }],
    },
    outboundPorts: [{ first: 443, last: 443 }],
    proxyUids: [{ first: 1337, last: 1337 }, { name: "envoy" }],
    proxyGids: [{ first: 1337, last: 1337 }],
    excludeInterfaces: ["net1"],
    virtualInterfaces: ["k6t*"],
    dns: { port: 16053, servers: ["192.0.2.53", "2001:db8::53"] },
    dropInvalid: true,
  });
  assertEquals(config("--sidecar --capture-dns all").sidecar, {
    ...DEFAULT_SIDECAR,
    dns: { port: 15053, servers: "all" },
  });
  assertEquals(config("--sidecar --capture-dns servers").sidecar?.dns?.servers, "system");
});

Deno.test("checkInterceptionFlags: what the configuration no longer shows", () => {
  const cases: [string, [string, string][]][] = [
    ["--local --inbound redirect", [["--inbound", "set"]]],
    ["--local --inbound-port 15006 --drop-invalid", [["--inbound-port", "set"], ["--drop-invalid", "set"]]],
    ["--local --proxy-uid 1337 --capture-dns off", [["--proxy-uid", "set"], ["--capture-dns", "set"]]],
    ["--sidecar --dns-server 192.0.2.53", [["--dns-server", "set, and --capture-dns off"]]],
    ["--sidecar --capture-dns all --dns-server ::1", [["--dns-server", "set, and --capture-dns all"]]],
    ["--sidecar --dns-port 15053", [["--dns-port", "set, and --capture-dns off"]]],
    ["--sidecar --inbound off --inbound-port 15006", [["--inbound-port", "set, and --inbound off"]]],
    ["--sidecar --tcp off --port 15001", [["--port", "set, and --tcp off"]]],
  ];
  for (const [line, wanted] of cases) assertEquals(found(checkInterceptionFlags(read(line))), wanted, line);
});

Deno.test("checkInterceptionFlags: no word of --rules none, which `run` alone has", () => {
  assertEquals(checkInterceptionFlags(read("")).map(({ hint }) => hint?.includes("--rules none")), [false]);
});

Deno.test("checkInterceptionFlags: rules alone need no resolver for the queries they take", () => {
  assertEquals(checkInterceptionFlags(read("--sidecar --capture-dns all")), []);
});
