import { defaultRunConfig, type RunConfig, sidecarRunConfig } from "../config/mod.ts";
import { parseEndpoint } from "../net/mod.ts";
import { assertEquals } from "../tests/assert.ts";
import { describeChanges, restartIssues } from "./reload_scope.ts";

const RUNNING: RunConfig = { ...defaultRunConfig(), from: ["lan0"] };

/** One other value for each setting that a proxy cannot take while it runs. */
const FIXED: Partial<RunConfig> = {
  tcp: "redirect",
  udp: "off",
  port: 7999,
  workers: RUNNING.workers + 1,
  source: "keep",
  rules: "iptables",
  onProxyDown: "closed",
  maxConnections: 10,
  maxConnectionsPerClient: 10,
  maxSessions: 10,
  maxSessionsPerClient: 10,
  connectTimeoutMs: 1000,
  idleTimeoutMs: 1000,
  halfClosedTimeoutMs: 1000,
  keepaliveMs: 1000,
  userTimeoutMs: 1000,
  udpFilter: "address",
  udpTimeoutMs: 600_000,
  udpRefreshInbound: true,
  dns: [parseEndpoint("192.0.2.53:53")!],
  flows: true,
};
const { select } = RUNNING;
/** And for each that it can. */
const FREE: Partial<RunConfig> = {
  from: ["lan1"],
  excludeFrom: ["lan2"],
  local: true,
  select: { ...select, uids: { include: [], exclude: [{ first: 1, last: 1 }] } },
  upstreams: [...RUNNING.upstreams, { kind: "block", name: "hole", how: "drop" }],
  groups: [{ kind: "failover", name: "both", members: ["direct"], check: null, liveFlows: "keep" }],
  policy: { rules: [], otherwise: "block", pushDown: false },
  drainTimeoutMs: 1,
  log: "json",
  logLevel: "debug",
};

Deno.test("reload scope: each setting by itself is named if it needs a restart, and taken if it does not", () => {
  const flagOf = (field: string) =>
    `--${field.replace(/Ms$/, "").replaceAll(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`;
  for (const [field, value] of Object.entries(FIXED)) {
    const issues = restartIssues(RUNNING, { ...RUNNING, [field]: value });
    assertEquals(issues.map(({ path }) => path), [flagOf(field)]);
  }
  for (const [field, value] of Object.entries(FREE)) {
    assertEquals(restartIssues(RUNNING, { ...RUNNING, [field]: value }), [], field);
  }
  assertEquals(restartIssues(RUNNING, { ...RUNNING, ...FREE }), []);
  assertEquals(restartIssues(RUNNING, { ...RUNNING, ...FIXED, ...FREE }).length, Object.keys(FIXED).length);
  // The two tables are of all settings but the sidecar's.
  const known = [...Object.keys(FIXED), ...Object.keys(FREE), "sidecar"].sort();
  assertEquals(known, Object.keys(RUNNING).sort());
});

Deno.test("reload scope: found is what is asked for, wanted is what runs", () => {
  const [port, timeout, dns] = restartIssues(RUNNING, {
    ...RUNNING,
    port: 1,
    connectTimeoutMs: 1500,
    dns: FIXED.dns!,
  });
  assertEquals([port!.found, port!.wanted], ["1", "7870"]);
  assertEquals([timeout!.found, timeout!.wanted], ["1.5 s", "30 s"]);
  assertEquals([dns!.found, dns!.wanted], ["192.0.2.53:53", "nothing"]);
});

Deno.test("reload scope: of a pod, what is left alone can change, and listeners cannot", () => {
  const running = sidecarRunConfig();
  const sidecar = running.sidecar!;
  const pathsOf = (change: Partial<typeof sidecar> | null) =>
    restartIssues(running, { ...running, sidecar: change && { ...sidecar, ...change } }).map(({ path }) =>
      path
    );
  assertEquals(pathsOf(null), ["--sidecar"]);
  assertEquals(pathsOf({ inboundPorts: { include: [{ first: 80, last: 80 }], exclude: [] } }), []);
  assertEquals(pathsOf({ dropInvalid: true, excludeInterfaces: ["eth9"], virtualInterfaces: ["vm0"] }), []);
  assertEquals(pathsOf({ inbound: "off", inboundPort: 1 }), ["--inbound", "--inbound-port"]);
  assertEquals(pathsOf({ proxyUids: [{ first: 1, last: 1 }] }), ["--proxy-uid"]);
  assertEquals(pathsOf({ dns: { port: 1, servers: "all" } }), ["--capture-dns"]);
  const withDns = (port: number, servers: "all" | "system") => ({
    ...running,
    sidecar: { ...sidecar, dns: { port, servers } },
  });
  assertEquals(restartIssues(withDns(1, "all"), withDns(1, "system")), []);
  assertEquals(restartIssues(withDns(1, "all"), withDns(2, "all")).map(({ path }) => path), ["--dns-port"]);
});

Deno.test("reload scope: changes in words, and none where there are none", () => {
  const same = { rules: false, routing: false };
  assertEquals(describeChanges(RUNNING, { ...RUNNING }, same), []);
  assertEquals(describeChanges(RUNNING, { ...RUNNING, ...FREE }, { rules: true, routing: true }), [
    "what is intercepted: interfaces, own traffic, selectors",
    "upstreams: hole added",
    "groups: both added",
    "policy: 0 rules, others by block",
    "drain timeout: 0.001 s",
    "log level: debug",
    "log lines: json",
  ]);
  const other = { ...RUNNING, upstreams: [{ kind: "block", name: "direct", how: "drop" }] as const };
  assertEquals(describeChanges(RUNNING, other, { rules: false, routing: true }), [
    "upstreams: direct changed, block removed",
  ]);
  assertEquals(describeChanges(RUNNING, RUNNING, { rules: true, routing: true }), [
    "rules: lists, interfaces or users have changed",
    "routing: names, secrets, lists, interfaces or users have changed",
  ]);
});
