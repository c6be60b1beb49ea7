import { ANY_V6, parseEndpoint } from "../net/mod.ts";
import { assertEquals, assertStringIncludes } from "../tests/assert.ts";
import {
  checkRunConfig,
  ConfigError,
  defaultRunConfig,
  formatIssue,
  type RunConfig,
  SELECT_ALL,
  type SelectorConfig,
} from "./mod.ts";

const RESOLVER = parseEndpoint("192.0.2.53:53")!;
const sound: RunConfig = { ...defaultRunConfig(), from: ["eth1"] };

function select(change: Partial<SelectorConfig>): Partial<RunConfig> {
  return { select: { ...SELECT_ALL, ...change } };
}

/** Datagrams to these ports, one after the other range. */
function udpPorts(...ranges: [first: number, last: number][]): Partial<RunConfig> {
  return select({ udpPorts: { include: ranges.map(([first, last]) => ({ first, last })), exclude: [] } });
}

Deno.test("checkRunConfig: what makes sense has no issue", () => {
  const cases: Partial<RunConfig>[] = [
    {},
    { from: [], local: true },
    { from: [], rules: "none" },
    { from: ["eth1", "eth1.100", "br-4f2a"], local: true, source: "keep" },
    { idleTimeoutMs: 0, halfClosedTimeoutMs: 0, drainTimeoutMs: 0 },
    { maxConnections: 1, maxConnectionsPerClient: 4_000_000, workers: 256, port: 65_280 },
    { maxSessions: 4_000_000, maxSessionsPerClient: 0, udpTimeoutMs: 120_000 },
    { tcp: "off" },
    { from: ["*"], excludeFrom: ["docker*", "wg0"], rules: "iptables-legacy", onProxyDown: "closed" },
    { udp: "off", port: 65_535, workers: 256 },
    udpPorts([1, 65_535], [53, 53]),
    { dns: [RESOLVER, { ...RESOLVER, port: 5353 }], ...udpPorts([1, 100]) },
  ];
  for (const change of cases) {
    assertEquals(checkRunConfig({ ...sound, ...change }), [], JSON.stringify(change));
  }
});

Deno.test("checkRunConfig: each issue names its flag and what was found", () => {
  const cases: [Partial<RunConfig>, string, string][] = [
    [{ tcp: "off", udp: "off" }, "--tcp, --udp", "off and off"],
    [{ from: [] }, "--from, --local, --sidecar", "none of them"],
    [{ from: [], excludeFrom: [], rules: "iptables" }, "--from, --local, --sidecar", "none of them"],
    [{ from: ["eth1", "eth1"] }, "--from", "eth1 twice"],
    [{ from: ["lo"] }, "--from", "lo"],
    [{ from: ["a/b"] }, "--from", '"a/b"'],
    [{ from: [".."] }, "--from", '".."'],
    [{ from: ["eth:*"] }, "--from", '"eth:*"'],
    [{ from: ["eth0123456789abc*"] }, "--from", '"eth0123456789abc*"'],
    [{ excludeFrom: ["eth2"] }, "--exclude-from, --from", "eth1"],
    [{ from: ["eth*", "eth1"], excludeFrom: ["eth1"] }, "--from, --exclude-from", '"eth1" and "eth1"'],
    [{ from: ["br-*"], excludeFrom: ["*"] }, "--from, --exclude-from", '"br-*" and "*"'],
    [{ from: [""] }, "--from", '""'],
    [{ from: ["äääääääää"] }, "--from", '"äääääääää"'],
    [{ port: 0 }, "--port", "0"],
    [{ port: 65_536 }, "--port", "65536"],
    [{ port: NaN }, "--port", "NaN"],
    [{ workers: 0 }, "--workers", "0"],
    [{ port: 65_533, workers: 4 }, "--port, --workers", "65533 and 4"],
    [udpPorts([2000, 1000]), "--udp-ports", "2000-1000"],
    [udpPorts([0, 53]), "--udp-ports", "0-53"],
    [udpPorts([53, 65_536]), "--udp-ports", "53-65536"],
    [{ maxSessions: 0 }, "--max-sessions", "0"],
    [{ maxSessionsPerClient: 0.5 }, "--max-sessions-per-client", "0.5"],
    [{ udpTimeoutMs: 119_000 }, "--udp-timeout", "119"],
    [{ udpTimeoutMs: 0 }, "--udp-timeout", "0"],
    [{ udp: "off", ...udpPorts([53, 53]) }, "--udp-ports", "set, and --udp off"],
    [{ udp: "off", udpFilter: "address" }, "--udp-filter", "set, and --udp off"],
    [{ udp: "off", udpTimeoutMs: 120_000 }, "--udp-timeout", "set, and --udp off"],
    [{ udp: "off", udpRefreshInbound: true }, "--udp-refresh-inbound", "set, and --udp off"],
    [{ udp: "off", maxSessions: 1 }, "--max-sessions", "set, and --udp off"],
    [{ udp: "off", maxSessionsPerClient: 0 }, "--max-sessions-per-client", "set, and --udp off"],
    [{ dns: [RESOLVER], udp: "off" }, "--dns, --udp", "resolvers and off"],
    [{ dns: [RESOLVER], ...udpPorts([54, 99]) }, "--dns, --udp-ports", "54-99"],
    [
      { dns: [RESOLVER], ...select({ udpPorts: { include: [], exclude: [{ first: 1, last: 99 }] } }) },
      "--dns, --exclude-udp-ports",
      "1-99",
    ],
    [{ dns: [1, 2, 3, 4, 5, 6, 7, 8, 9].map((port) => ({ ...RESOLVER, port })) }, "--dns", "9 resolvers"],
    [{ dns: [RESOLVER, RESOLVER] }, "--dns", "192.0.2.53:53 twice"],
    [{ dns: [{ ...RESOLVER, port: 0 }] }, "--dns", "192.0.2.53:0"],
    [{ dns: [{ address: ANY_V6, port: 53 }] }, "--dns", "[::]:53"],
    [{ maxConnections: 0 }, "--max-connections", "0"],
    [{ maxConnectionsPerClient: -1 }, "--max-connections-per-client", "-1"],
    [{ connectTimeoutMs: 0 }, "--connect-timeout", "0"],
    [{ idleTimeoutMs: 604_801_000 }, "--idle-timeout", "604801"],
    [{ halfClosedTimeoutMs: -1 }, "--half-closed-timeout", "-0.001"],
    [{ drainTimeoutMs: Infinity }, "--drain-timeout", "Infinity"],
  ];
  for (const [change, path, found] of cases) {
    const issues = checkRunConfig({ ...sound, ...change });
    assertEquals(issues.map((issue) => [issue.path, issue.found]), [[path, found]]);
  }
});

Deno.test("checkRunConfig: all issues at once", () => {
  const issues = checkRunConfig({ ...sound, from: ["lo", "a/b"], port: 0, workers: 0.5 });
  assertEquals(issues.map((issue) => issue.path), ["--from", "--from", "--port", "--workers"]);
});

Deno.test("ConfigError: one line for each issue", () => {
  const error = new ConfigError(checkRunConfig({ ...sound, port: 70_000, workers: 0 }));
  assertEquals(error.message.split("\n"), error.issues.map(formatIssue));
  assertStringIncludes(error.message, "--port: 70000 found, a whole number from 1 to 65535 wanted");
});
