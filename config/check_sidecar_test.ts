import { parseEndpoint } from "../net/mod.ts";
import { assertEquals } from "../tests/assert.ts";
import {
  checkInterception,
  checkRunConfig,
  DEFAULT_SIDECAR,
  defaultRunConfig,
  type RunConfig,
  SELECT_ALL,
  type SidecarConfig,
  sidecarRunConfig,
} from "./mod.ts";

const RESOLVER = parseEndpoint("192.0.2.53:53")!;
const range = (first: number, last = first) => ({ first, last });

function sidecar(change: Partial<SidecarConfig>, rest: Partial<RunConfig> = {}): RunConfig {
  return { ...sidecarRunConfig(), ...rest, sidecar: { ...DEFAULT_SIDECAR, ...change } };
}

const found = (config: RunConfig) => checkInterception(config).map((issue) => [issue.path, issue.found]);

Deno.test("checkInterception: sidecars that make sense have no issue", () => {
  const cases: RunConfig[] = [
    sidecarRunConfig(),
    sidecar({ inbound: "tproxy" }, { source: "keep" }),
    sidecar({ inbound: "off" }),
    sidecar({}, { tcp: "off" }),
    sidecar({ inbound: "off", dns: { port: 15053, servers: "system" } }, { tcp: "off" }),
    sidecar({ inbound: "off", inboundPort: 15001 }),
    sidecar({ dns: { port: 53, servers: ["192.0.2.53", "2001:db8::53"] } }),
    sidecar({ proxyUids: [{ name: "envoy" }, range(1337)], proxyGids: [range(1337)] }),
    sidecar({ excludeInterfaces: ["net1"], virtualInterfaces: ["k6t*"], outboundPorts: [range(1, 1023)] }),
    sidecar({}, { select: { ...SELECT_ALL, uids: { include: [], exclude: [range(0)] } } }),
  ];
  for (const config of cases) assertEquals(found(config), [], JSON.stringify(config.sidecar));
});

Deno.test("checkInterception: a sidecar against the other modes", () => {
  const cases: [RunConfig, string, string][] = [
    [sidecar({}, { from: ["eth0"] }), "--sidecar, --from", "both"],
    [sidecar({}, { local: true }), "--sidecar, --local", "both"],
    [sidecar({}, { tcp: "tproxy" }), "--tcp, --sidecar", "tproxy"],
    [sidecar({}, { udp: "tproxy" }), "--udp, --sidecar", "tproxy"],
    [sidecar({}, { source: "keep" }), "--source, --inbound", "keep and redirect"],
    [sidecar({ inbound: "off" }, { tcp: "off" }), "--tcp, --inbound, --capture-dns", "all off"],
  ];
  for (const [config, path, what] of cases) assertEquals(found(config), [[path, what]]);
  const gateway = { ...defaultRunConfig(), from: ["eth0"], sidecar: DEFAULT_SIDECAR };
  assertEquals(found(gateway).map(([path]) => path), [
    "--sidecar, --from",
    "--tcp, --sidecar",
    "--udp, --sidecar",
  ]);
});

Deno.test("checkInterception: each setting of a sidecar", () => {
  const cases: [RunConfig, string, string][] = [
    [sidecar({ inboundPorts: { include: [range(0)], exclude: [] } }), "--inbound-ports", "0"],
    [
      sidecar({ inboundPorts: { include: [range(80)], exclude: [range(1, 99)] } }),
      "--inbound-ports, --exclude-inbound-ports",
      "80 and 1-99",
    ],
    [
      sidecar({ inbound: "off", inboundPorts: { include: [range(80)], exclude: [] } }),
      "--inbound-ports",
      "set, and --inbound off",
    ],
    [sidecar({ outboundPorts: [range(2, 1)] }), "--outbound-ports", "2-1"],
    [
      sidecar({ outboundPorts: [range(80)] }, {
        select: { ...SELECT_ALL, tcpPorts: { include: [], exclude: [range(80)] } },
      }),
      "--outbound-ports, --exclude-tcp-ports",
      "80 and 80",
    ],
    [sidecar({ outboundPorts: [range(80)] }, { tcp: "off" }), "--outbound-ports", "set, and --tcp off"],
    [
      sidecar({}, { tcp: "off", select: { ...SELECT_ALL, uids: { include: [range(5)], exclude: [] } } }),
      "--include-uid",
      "set, and --tcp off",
    ],
    [
      sidecar({}, {
        tcp: "off",
        select: { ...SELECT_ALL, destinations: { ...SELECT_ALL.destinations, excludeFiles: ["/list"] } },
      }),
      "--exclude-cidr-file",
      "set, and --tcp off",
    ],
    [sidecar({ proxyUids: [range(-1)] }), "--proxy-uid", "-1"],
    [sidecar({ proxyGids: [{ name: "1337" }] }), "--proxy-gid", '"1337"'],
    [sidecar({ excludeInterfaces: ["a/b"] }), "--exclude-interface", '"a/b"'],
    [
      sidecar({ virtualInterfaces: ["k6t0"], excludeInterfaces: ["k6t*"] }),
      "--virtual-interface, --exclude-interface",
      '"k6t0" and "k6t*"',
    ],
    [sidecar({ virtualInterfaces: ["lo"] }), "--virtual-interface", "lo"],
    [sidecar({ virtualInterfaces: ["k6t0"] }, { tcp: "off" }), "--virtual-interface", "set, and --tcp off"],
    [sidecar({ dns: { port: 15053, servers: ["2001:DB8::53"] } }), "--dns-server", '"2001:DB8::53"'],
    [sidecar({ dns: { port: 15053, servers: [] } }), "--dns-server", "none"],
    [sidecar({ dns: { port: 15053, servers: ["dns.example"] } }), "--dns-server", '"dns.example"'],
    [sidecar({ dns: { port: 15053, servers: ["::"] } }), "--dns-server", '"::"'],
    [sidecar({ dns: { port: 15053, servers: ["::1", "::1"] } }), "--dns-server", "::1 twice"],
    [sidecar({ inboundPort: 0 }), "--inbound-port", "0"],
    [sidecar({ dns: { port: 65_536, servers: "all" } }), "--dns-port", "65536"],
    [sidecar({ inboundPort: 15_001 }), "--port, --inbound-port", "15001 twice"],
    [sidecar({ dns: { port: 15_001, servers: "all" } }), "--port, --dns-port", "15001 twice"],
    [sidecar({ dns: { port: 15_006, servers: "all" } }), "--inbound-port, --dns-port", "15006 twice"],
  ];
  for (const [config, path, what] of cases) assertEquals(found(config), [[path, what]]);
});

Deno.test("checkRunConfig: a sidecar's queries and resolvers come together", () => {
  const dns = { port: 15053, servers: "all" } as const;
  const paths = (config: RunConfig) => checkRunConfig(config).map((issue) => [issue.path, issue.found]);
  assertEquals(paths(sidecar({ dns }, { dns: [RESOLVER] })), []);
  assertEquals(paths(sidecar({ dns })), [["--capture-dns, --dns", "queries taken, and no resolver"]]);
  assertEquals(paths(sidecar({}, { dns: [RESOLVER] })), [
    ["--capture-dns, --dns", "resolvers, and no queries taken"],
  ]);
});
