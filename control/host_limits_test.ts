import { assertEquals, assertGreaterOrEqual, assertLessOrEqual } from "../tests/assert.ts";
import { parseEndpoint } from "../net/mod.ts";
import { defaultRunConfig } from "../config/mod.ts";
import { type FdBudget, type FdDemand, parseHardFdLimit, shareFds } from "./fd_budget.ts";
import { parseInterfaceNames } from "./interfaces.ts";
import { parseUdpPorts } from "./listener_ports.ts";
import { hasCapability } from "./preflight.ts";
import { isHangupIgnored } from "./signals.ts";
import { clientTableBytes } from "./worker_configs.ts";

const RESOLVER = parseEndpoint("192.0.2.53:53")!;
const BOTH: FdDemand = { ...defaultRunConfig(), workers: 2 };

/** Descriptors that a budget stands for. */
function fdsOf(budget: FdBudget, workers: number): number {
  const each = 2 * budget.maxPipesPerWorker + budget.maxReplySocketsPerWorker;
  return 2 * budget.maxConnections + budget.maxSessions + workers * each;
}

Deno.test("shareFds: what is granted and the reserve never exceed the limit", () => {
  const wishes: Partial<FdDemand>[] = [
    {},
    { udp: "off" },
    { tcp: "off" },
    { maxConnections: 4_000_000 },
    { maxSessions: 4_000_000 },
    { maxConnections: 4_000_000, maxSessions: 4_000_000 },
    { dns: [RESOLVER, { ...RESOLVER, port: 5353 }] },
  ];
  for (const hard of [1024, 4096, 20_000, 1_048_576]) {
    for (const workers of [1, 2, 4, 16]) {
      for (const wish of wishes) {
        const budget = shareFds(hard, { ...BOTH, ...wish, workers });
        const told = JSON.stringify({ hard, workers, ...wish, ...budget });
        const resolverSockets = workers * (wish.dns?.length ?? 0) * 8;
        assertLessOrEqual(fdsOf(budget, workers) + 256 + resolverSockets, hard, told);
        assertEquals(budget.maxConnections >= 1 && budget.maxPipesPerWorker >= 1, wish.tcp !== "off", told);
        assertEquals(
          budget.maxSessions >= 1 && budget.maxReplySocketsPerWorker >= 1,
          wish.udp !== "off",
          told,
        );
      }
    }
  }
});

Deno.test("shareFds: 65,536 connections and as many sessions where descriptors allow, or what was asked for", () => {
  const { maxConnections, maxSessions } = shareFds(262_144, { ...BOTH, workers: 4 });
  assertEquals([maxConnections, maxSessions], [65_536, 65_536]);
  assertEquals(shareFds(Infinity, { ...BOTH, maxConnections: 100_000, maxSessions: 200_000 }), {
    maxConnections: 100_000,
    maxPipesPerWorker: 512,
    maxSessions: 200_000,
    maxReplySocketsPerWorker: 1024,
  });
  assertEquals(shareFds(Infinity, BOTH).maxSessions, 65_536);
});

Deno.test("shareFds: where sessions may be associated with a connection, each has two descriptors", () => {
  const server = { host: "192.0.2.1", port: 1080 };
  const socks5 = (udp: boolean): FdDemand["upstreams"] => [
    { kind: "socks5", name: "office", server, credentials: null, pipeline: true, udp, timeoutMs: 5000 },
  ];
  const sessions = (upstreams: FdDemand["upstreams"]) => {
    const budget = shareFds(20_000, { ...BOTH, upstreams, tcp: "off" });
    return budget.maxSessions;
  };
  assertEquals(sessions(socks5(true)), Math.floor(sessions(socks5(false)) / 2));
  assertEquals(sessions(socks5(false)), sessions(BOTH.upstreams));
  assertEquals(shareFds(Infinity, { ...BOTH, upstreams: socks5(true) }).maxSessions, 65_536);
});

Deno.test("shareFds: too few for both are shared, and what was asked for comes before what was not", () => {
  const { maxConnections, maxSessions } = shareFds(20_000, BOTH);
  assertLessOrEqual(Math.abs(maxConnections - maxSessions), 1);
  // 17,246 are left for both.
  assertGreaterOrEqual(fdsOf(shareFds(20_000, BOTH), 2), 20_000 - 256 - 2);
  assertEquals(shareFds(20_000, { ...BOTH, maxSessions: 9_000 }).maxSessions, 9_000);
  assertEquals(shareFds(20_000, { ...BOTH, maxConnections: 8_000 }).maxConnections, 8_000);
  // Even then the other side is left something.
  assertGreaterOrEqual(shareFds(20_000, { ...BOTH, maxConnections: 100_000 }).maxSessions, 1_000);
  assertGreaterOrEqual(shareFds(20_000, { ...BOTH, maxSessions: 100_000 }).maxConnections, 500);
  // Who needs less than its part leaves the rest to the other.
  const few = shareFds(20_000, { ...BOTH, maxConnections: 100, maxSessions: 100_000 });
  assertEquals([few.maxConnections, few.maxSessions], [100, 17_046]);
});

Deno.test("shareFds: alone, TCP or UDP has all descriptors", () => {
  assertEquals(shareFds(20_000, { ...BOTH, udp: "off", maxConnections: 9_000 }), {
    maxConnections: 9_000,
    maxPipesPerWorker: 312,
    maxSessions: 0,
    maxReplySocketsPerWorker: 0,
  });
  assertEquals(shareFds(20_000, { ...BOTH, tcp: "off" }), {
    maxConnections: 0,
    maxPipesPerWorker: 0,
    maxSessions: 18_494,
    maxReplySocketsPerWorker: 625,
  });
});

Deno.test("parseHardFdLimit: the second number of /proc/self/limits", () => {
  const limits = (hard: string) =>
    "Limit                     Soft Limit           Hard Limit           Units     \n" +
    `Max processes             100                  200                  processes \n` +
    `Max open files            1024                 ${hard.padEnd(20)} files     \n`;
  assertEquals(parseHardFdLimit(limits("524288")), 524_288);
  assertEquals(parseHardFdLimit(limits("unlimited")), Infinity);
});

Deno.test("clientTableBytes: eight bytes a slot, a power of two, at most half full", () => {
  assertEquals(clientTableBytes(1), 8 * 1024);
  assertEquals(clientTableBytes(512), 8 * 1024);
  assertEquals(clientTableBytes(513), 8 * 2048);
  assertEquals(clientTableBytes(65_536), 8 * 131_072);
});

Deno.test("hasCapability: its bit of the effective set", () => {
  const status = (effective: string) =>
    `CapInh:\tffffffffffffffff\nCapPrm:\tffffffffffffffff\nCapEff:\t${effective}\n`;
  const cases: [effective: string, netAdmin: boolean, bindService: boolean][] = [
    ["000001ffffffffff", true, true],
    ["0000000000001000", true, false],
    ["0000000000002fff", false, true],
    ["0000000000002bff", false, false],
    ["0000000000000000", false, false],
  ];
  for (const [effective, netAdmin, bindService] of cases) {
    assertEquals(hasCapability(status(effective), "CAP_NET_ADMIN"), netAdmin, effective);
    assertEquals(hasCapability(status(effective), "CAP_NET_BIND_SERVICE"), bindService, effective);
  }
});

Deno.test("parseUdpPorts: the local port of every line of /proc/net/udp and udp6", () => {
  const head =
    "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout\n";
  const v4 = head +
    " 2318: 3500007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000   991        0 1 2 0 0\n" +
    "12345: 00000000:1EBE 0100007F:0001 01 00000000:00000000 00:00000000 00000000     0        0 1 2 0 0\n";
  assertEquals(parseUdpPorts(v4), [53, 7870]);
  const any = "0".repeat(32);
  assertEquals(parseUdpPorts(`${head}  7: ${any}:FFFF ${any}:0000 07 00000000:00000000\n`), [65_535]);
  assertEquals(parseUdpPorts(head), []);
});

Deno.test("isHangupIgnored: the lowest bit of the ignored set, as under nohup", () => {
  const status = (ignored: string) => `SigBlk:\t0000000000000001\nSigIgn:\t${ignored}\nSigCgt:\t1\n`;
  assertEquals(isHangupIgnored(status("0000000000001001")), true);
  assertEquals(isHangupIgnored(status("0000000000001000")), false);
});

Deno.test("parseInterfaceNames: /proc/net/dev without its two head lines", () => {
  const dev = "Inter-|   Receive                                                |  Transmit\n" +
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes\n" +
    "    lo: 1 2 3\n  eth0:123 4 5\nbr-4f.100: 0 0 0\n";
  assertEquals(parseInterfaceNames(dev), ["lo", "eth0", "br-4f.100"]);
});
