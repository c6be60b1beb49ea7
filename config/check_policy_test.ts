import { assertEquals } from "../tests/assert.ts";
import {
  BUILT_IN_UPSTREAMS,
  checkRunConfig,
  defaultRunConfig,
  DIRECT_POLICY,
  NO_RULE_FILTERS,
  type PolicyRuleConfig,
  type RunConfig,
  type UpstreamConfig,
} from "./mod.ts";

const SERVER = { host: "192.0.2.10", port: 1080 };
const UPSTREAMS: readonly UpstreamConfig[] = [
  ...BUILT_IN_UPSTREAMS,
  {
    kind: "socks5",
    name: "office",
    server: SERVER,
    credentials: null,
    pipeline: true,
    udp: true,
    timeoutMs: 1,
  },
  {
    kind: "socks5",
    name: "deaf",
    server: SERVER,
    credentials: null,
    pipeline: true,
    udp: false,
    timeoutMs: 1,
  },
  { kind: "http", name: "web", server: SERVER, credentials: null, timeoutMs: 1 },
  { kind: "proxy-protocol", name: "text", version: 1, server: null, timeoutMs: 1 },
  { kind: "proxy-protocol", name: "binary", version: 2, server: null, timeoutMs: 1 },
  { kind: "chain", name: "both", hops: ["office", "web"] },
];
const ANY: PolicyRuleConfig = { ...NO_RULE_FILTERS, to: "direct" };

function issues(rules: Partial<PolicyRuleConfig>[], otherwise = "direct", change: Partial<RunConfig> = {}) {
  return checkRunConfig({
    ...defaultRunConfig(),
    from: ["eth1"],
    upstreams: UPSTREAMS,
    groups: [{ kind: "failover", name: "mixed", members: ["office", "web"], check: null, liveFlows: "keep" }],
    policy: { rules: rules.map((rule) => ({ ...ANY, ...rule })), otherwise, pushDown: true },
    ...change,
  }).map(({ path, found }) => [path, found]);
}

Deno.test("checkRunConfig: a policy that makes sense has no issue", () => {
  const port = [{ first: 443, last: 443 }];
  assertEquals(
    issues([{ destinations: ["192.0.2.0/24"], destinationPorts: port, dscp: [0, 63] }], "office"),
    [],
  );
  assertEquals(issues([{ uids: [{ name: "www-data" }] }], "office", { local: true }), []);
  assertEquals(issues([{ interfaces: ["br-*"], sources: ["2001:db8::/32"], to: "binary" }]), []);
});

Deno.test("checkRunConfig: each issue of a rule names its key, rules counted from 1", () => {
  const cases: [Partial<PolicyRuleConfig>, string, string][] = [
    [{ destinations: ["192.0.2.0/33"] }, "destination", "192.0.2.0/33"],
    [{ destinationFiles: [""] }, "destination-file", '""'],
    [{ destinationPorts: [{ first: 0, last: 1 }] }, "destination-port", "0-1"],
    [{ sources: ["here"] }, "source", "here"],
    [{ sourceFiles: [""] }, "source-file", '""'],
    [{ sourcePorts: [{ first: 2, last: 1 }] }, "source-port", "2-1"],
    [{ interfaces: ["a/b"] }, "interface", '"a/b"'],
    [{ uids: [{ name: "7up" }] }, "uid", '"7up"'],
    [{ dscp: [64] }, "dscp", "64"],
    [{ to: "offce" }, "use", '"offce"'],
  ];
  for (const [rule, key, found] of cases) {
    assertEquals(issues([{}, rule], "direct", { local: true }), [[`rule[2].${key}`, found]], key);
  }
  assertEquals(issues([{ uids: [{ first: 0, last: 0 }] }]), [
    ["rule[1].uid", "set, and neither --local nor --sidecar"],
  ]);
});

Deno.test("checkRunConfig: datagrams are not led where none can go", () => {
  const http = '"web" (an HTTP proxy, which carries TCP alone)';
  assertEquals(issues([], "web"), [["policy.default", http]]);
  assertEquals(issues([{ to: "web" }]), [["rule[1].use", http]]);
  assertEquals(issues([{ network: "udp", to: "web" }]), [["rule[1].use", http]]);
  assertEquals(issues([], "both"), [["policy.default", '"both" (a chain, which carries TCP alone)']]);
  assertEquals(issues([], "deaf"), [["policy.default", '"deaf" (a SOCKS5 server that is not to carry UDP)']]);
  assertEquals(issues([], "text"), [[
    "policy.default",
    '"text" (PROXY protocol version 1, which is for TCP alone)',
  ]]);
  assertEquals(issues([], "mixed"), [["policy.default", `"mixed" with ${http}`]]);
});

Deno.test("checkRunConfig: an upstream for TCP alone is right where UDP is provided for", () => {
  assertEquals(issues([{ network: "tcp", to: "web" }]), []);
  assertEquals(issues([{ network: "udp", to: "block" }], "web"), []);
  assertEquals(issues([{ network: "udp", to: "office" }, { to: "mixed" }], "web"), []);
  assertEquals(issues([], "web", { udp: "off" }), []);
  // Some UDP is not all.
  const dns = { network: "udp", destinationPorts: [{ first: 53, last: 53 }] } as const;
  assertEquals(issues([dns], "web").length, 1);
});

Deno.test("checkRunConfig: a policy module is a path from the root or an address, and its time a short one", () => {
  const found = (policy: Partial<RunConfig["policy"]>) =>
    checkRunConfig({ ...defaultRunConfig(), local: true, policy: { ...DIRECT_POLICY, ...policy } })
      .map(({ path, found }) => `${path}: ${found}`);
  assertEquals(found({ module: "/etc/policy.ts", budgetMs: 0.5 }), []);
  assertEquals(found({ module: "https://example.org/policy.ts" }), []);
  assertEquals(found({ module: "policy.ts" }), ['--policy: "policy.ts"']);
  assertEquals(found({ budgetMs: 0 }), ["policy.budget: 0 ms"]);
  assertEquals(found({ budgetMs: 101 }), ["policy.budget: 101 ms"]);
});
