import { assertEquals } from "../tests/assert.ts";
import {
  BUILT_IN_UPSTREAMS,
  type ChainConfig,
  checkRunConfig,
  type CredentialsConfig,
  DEFAULT_SIDECAR,
  defaultRunConfig,
  type DirectConfig,
  type GroupConfig,
  type HealthCheckConfig,
  type HttpConfig,
  type ProxyProtocolConfig,
  type RunConfig,
  sidecarRunConfig,
  type Socks5Config,
  type UpstreamConfig,
} from "./mod.ts";

const SERVER = { host: "192.0.2.10", port: 1080 };
const SOCKS: Socks5Config = {
  kind: "socks5",
  name: "office",
  server: SERVER,
  credentials: null,
  pipeline: true,
  udp: true,
  timeoutMs: 10_000,
};
const HTTP: HttpConfig = { kind: "http", name: "web", server: SERVER, credentials: null, timeoutMs: 10_000 };
const HEADER: ProxyProtocolConfig = {
  kind: "proxy-protocol",
  name: "header",
  version: 2,
  server: null,
  timeoutMs: 10_000,
};
const DIRECT: DirectConfig = {
  kind: "direct",
  name: "wan",
  source: null,
  interface: null,
  mark: 0,
  dscp: null,
};
const CHECK: HealthCheckConfig = { target: null, intervalMs: 10_000, timeoutMs: 5_000, rise: 2, fall: 3 };
const GROUP: GroupConfig = {
  kind: "failover",
  name: "any",
  members: ["office", "web"],
  check: CHECK,
  liveFlows: "keep",
};

/** Paths and what was found, of a configuration that is otherwise sound. */
function found(change: Partial<RunConfig>): [string, string][] {
  const config = { ...defaultRunConfig(), from: ["eth1"], ...change };
  return checkRunConfig(config).map(({ path, found }) => [path, found]);
}

const withUpstreams = (...upstreams: UpstreamConfig[]) => ({
  upstreams: [...BUILT_IN_UPSTREAMS, ...upstreams],
});
const chain = (...hops: string[]): ChainConfig => ({ kind: "chain", name: "both", hops });
const withPassword = (text: string, username = "me"): CredentialsConfig => ({
  username,
  password: { kind: "text", text },
});

Deno.test("checkRunConfig: upstreams and groups that make sense have no issue", () => {
  const upstreams = withUpstreams(
    SOCKS,
    HTTP,
    HEADER,
    { ...HEADER, name: "old", version: 1, server: { host: "balancer.example", port: 80 } },
    { ...DIRECT, source: "keep", interface: "wan0", mark: 0xffff_ffff, dscp: 63 },
    chain("office", "web", "header"),
    { ...SOCKS, name: "v6", server: { host: "2001:db8::1", port: 65_535 }, credentials: withPassword("x") },
    { ...HTTP, name: "open", credentials: withPassword("") },
  );
  const groups = [GROUP, { ...GROUP, name: "one", members: ["both"], check: null }, {
    ...GROUP,
    name: "near",
    members: ["office", "direct"],
    check: { ...CHECK, target: { host: "192.0.2.1", port: 1 } },
  }];
  assertEquals(found({ ...upstreams, groups }), []);
  assertEquals(found({ ...withUpstreams(), upstreams: [{ ...DIRECT, name: "direct", mark: 1 }] }), []);
});

Deno.test("checkRunConfig: each issue of an upstream names its key", () => {
  const cases: [UpstreamConfig | UpstreamConfig[], string, string][] = [
    [{ ...DIRECT, interface: "wan*" }, "upstream.wan.interface", '"wan*"'],
    [{ ...DIRECT, mark: 2 ** 32 }, "upstream.wan.mark", "4294967296"],
    [{ ...DIRECT, dscp: 64 }, "upstream.wan.dscp", "64"],
    [{ ...DIRECT, name: "a b" }, "upstream", '"a b"'],
    [{ ...SOCKS, name: "direct" }, "upstream.direct", '"direct" twice'],
    [{ ...SOCKS, server: { host: "0.0.0.0", port: 1 } }, "upstream.office.server", '"0.0.0.0"'],
    [{ ...SOCKS, server: { host: "a..b", port: 1 } }, "upstream.office.server", '"a..b"'],
    [{ ...SOCKS, server: { host: "192.0.2", port: 1 } }, "upstream.office.server", '"192.0.2"'],
    [{ ...HTTP, server: { ...SERVER, port: 0 } }, "upstream.web.server", "0"],
    [{ ...HTTP, timeoutMs: 0 }, "upstream.web.timeout", "0"],
    [{ ...SOCKS, credentials: withPassword("x", "u".repeat(256)) }, "upstream.office.username", "256 bytes"],
    [
      { ...SOCKS, credentials: withPassword("x", "\u{1F40C}".repeat(64)) },
      "upstream.office.username",
      "256 bytes",
    ],
    [{ ...SOCKS, credentials: withPassword("") }, "upstream.office.password", "0 bytes"],
    [{ ...HTTP, credentials: withPassword("x", "a:b") }, "upstream.web.username", "a colon"],
    [{ ...HTTP, credentials: withPassword("a\r\nb") }, "upstream.web.password", "a control character"],
    [
      { ...HTTP, credentials: { username: "me", password: { kind: "env", name: "A=B" } } },
      "upstream.web.password-env",
      "something else (it is not shown)",
    ],
    [
      { ...HTTP, credentials: { username: "me", password: { kind: "file", path: "" } } },
      "upstream.web.password-file",
      '""',
    ],
    [[SOCKS, chain("office")], "upstream.both.hops", "1"],
    [[SOCKS, chain("office", "both")], "upstream.both.hops", '"both", the chain itself'],
    [[SOCKS, chain("office", "ofice")], "upstream.both.hops", '"ofice"'],
    [[SOCKS, HTTP, chain("office", "web", "office")], "upstream.both.hops", '"office" twice'],
    [[SOCKS, chain("direct", "office")], "upstream.both.hops", '"direct", of kind direct'],
    [[SOCKS, chain("office", "block")], "upstream.both.hops", '"block", of kind block'],
    [[SOCKS, HEADER, chain("header", "office")], "upstream.both.hops", '"header", of kind proxy-protocol'],
    [
      [SOCKS, HTTP, chain("office", "web"), { kind: "chain", name: "more", hops: ["both", "web"] }],
      "upstream.more.hops",
      '"both", of kind chain',
    ],
  ];
  for (const [upstreams, path, what] of cases) {
    assertEquals(found(withUpstreams(...[upstreams].flat())), [[path, what]], path);
  }
});

Deno.test("checkRunConfig: a built-in name is what it says", () => {
  assertEquals(found({ upstreams: [BUILT_IN_UPSTREAMS[1]!, { ...SOCKS, name: "direct" }] }), [
    ["upstream.direct", 'kind "socks5"'],
  ]);
});

Deno.test("checkRunConfig: each issue of a group names its key", () => {
  const cases: [Partial<GroupConfig>, string, string][] = [
    [{ name: "office", members: ["web"] }, "group.office", '"office" twice'],
    [{ members: [] }, "group.any.members", "none"],
    [{ members: ["any"] }, "group.any.members", '"any", the group itself'],
    [{ members: ["offfice"] }, "group.any.members", '"offfice"'],
    [{ members: ["web", "web"] }, "group.any.members", '"web" twice'],
    [{ members: ["others", "web"] }, "group.any.members", '"others", a group'],
    [{ members: ["web", "block"] }, "group.any.members", '"block", of kind block'],
    [{ check: { ...CHECK, intervalMs: 99, timeoutMs: 1 } }, "group.any.check.interval", "0.099"],
    [{ check: { ...CHECK, timeoutMs: 10_001 } }, "group.any.check.timeout", "10.001 seconds"],
    [{ check: { ...CHECK, rise: 0 } }, "group.any.check.rise", "0"],
    [{ check: { ...CHECK, fall: 1.5 } }, "group.any.check.fall", "1.5"],
    [{ check: { ...CHECK, target: { host: "", port: 1 } } }, "group.any.check.target", '""'],
    [
      { members: ["office", "direct"], check: { ...CHECK, target: { host: "host.example", port: 1 } } },
      "group.any.check.target",
      '"host.example", a name',
    ],
  ];
  const others = { ...GROUP, name: "others" };
  for (const [change, path, what] of cases) {
    assertEquals(
      found({ ...withUpstreams(SOCKS, HTTP), groups: [others, { ...GROUP, ...change }] }),
      [[path, what]],
      what,
    );
  }
});

Deno.test("checkRunConfig: a name that nobody has is asked about", () => {
  const issues = checkRunConfig({
    ...defaultRunConfig(),
    from: ["eth1"],
    ...withUpstreams(SOCKS),
    policy: { ...defaultRunConfig().policy, otherwise: "offcie" },
  });
  assertEquals(issues.map(({ path, hint }) => [path, hint]), [["policy.default", 'did you mean "office"?']]);
});

Deno.test("checkRunConfig: no more routes than one byte numbers", () => {
  const many = (count: number) =>
    withUpstreams(...Array.from({ length: count }, (_, i) => ({ ...DIRECT, name: `wan${i}` })));
  assertEquals(found(many(252)), []);
  assertEquals(found(many(253)), [["upstream, group", "255 of them"]]);
});

Deno.test("checkRunConfig: in a sidecar only TPROXY lets a direct upstream keep the source", () => {
  const sidecar = { ...sidecarRunConfig(), ...withUpstreams({ ...DIRECT, source: "keep" }) };
  assertEquals(checkRunConfig(sidecar).map(({ path }) => path), ["upstream.wan.source"]);
  assertEquals(checkRunConfig({ ...sidecar, sidecar: { ...DEFAULT_SIDECAR, inbound: "tproxy" } }), []);
});
