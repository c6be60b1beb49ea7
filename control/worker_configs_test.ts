import { DEFAULT_SIDECAR, defaultRunConfig, type RunConfig, sidecarRunConfig } from "../config/mod.ts";
import { parseEndpoint } from "../net/mod.ts";
import type { RoutingSettings } from "../dataplane/protocol.ts";
import { DEFAULT_KERNEL_NUMBERS } from "../nft/intent.ts";
import { assert, assertEquals } from "../tests/assert.ts";
import type { FdBudget } from "./fd_budget.ts";
import { clientTableBytes, NO_MARKS, workerConfigs } from "./worker_configs.ts";

const { marks } = DEFAULT_KERNEL_NUMBERS;
const BUDGET: FdBudget = {
  maxConnections: 1000,
  maxPipesPerWorker: 8,
  maxSessions: 1001,
  maxReplySocketsPerWorker: 16,
};

const ROUTING: RoutingSettings = { generation: 0, upstreams: [], policy: undefined, otherwise: 0 };

function configs(change: Partial<RunConfig>, socketMarks = marks as typeof NO_MARKS) {
  return workerConfigs({ ...defaultRunConfig(), workers: 3, ...change }, BUDGET, socketMarks, ROUTING);
}

Deno.test("workerConfigs: each UDP worker has a port of its own and knows all of them", () => {
  const all = configs({ port: 9000, udpFilter: "address", udpTimeoutMs: 180_000, udpRefreshInbound: true });
  assertEquals(all.map(({ tcp, udp }) => [tcp[0]?.port, udp?.port, udp?.firstPort, udp?.workers]), [
    [9000, 9000, 9000, 3],
    [9000, 9001, 9000, 3],
    [9000, 9002, 9000, 3],
  ]);
  assertEquals(all[2]!.udp, {
    port: 9002,
    firstPort: 9000,
    workers: 3,
    source: "own",
    bypassMark: marks.bypass,
    replyMark: marks.reply,
    dontFragmentMark: marks.dontFragment,
    filter: "address",
    idleTimeoutMs: 180_000,
    refreshInbound: true,
    maxSessions: 334,
    maxSessionsPerClient: 256,
    maxReplySockets: 16,
  });
});

Deno.test("workerConfigs: what is off has no settings", () => {
  const [tcpAlone] = configs({ udp: "off" });
  assert(tcpAlone!.tcp.length === 1 && tcpAlone!.udp === undefined && tcpAlone!.dns === undefined);
  const [udpAlone] = configs({ tcp: "off" });
  assert(udpAlone!.tcp.length === 0 && udpAlone!.udp !== undefined);
  assertEquals(configs({ udp: "off" }, NO_MARKS)[0]!.tcp[0]?.dialMark, 0);
});

Deno.test("workerConfigs: clients of TCP and of UDP are counted apart, over all workers, and only up to a limit", () => {
  const tables = (change: Partial<RunConfig>) =>
    configs(change).map(({ clientTable, udpClientTable }) => [clientTable, udpClientTable] as const);
  const [first, second] = tables({ maxConnectionsPerClient: 5 });
  assert(first![0] === second![0] && first![1] === second![1] && first![0] !== first![1]);
  assertEquals(first![1]!.byteLength, clientTableBytes(1001));
  assertEquals(tables({ maxSessionsPerClient: 0 })[0], [undefined, undefined]);
  assertEquals(configs({ maxSessionsPerClient: 7 })[0]!.udp?.maxSessionsPerClient, 7);
});

Deno.test("workerConfigs: all workers tell clients apart in the same way, which no other run does", () => {
  const seeds = [configs({}), configs({})].map((all) => new Set(all.map(({ clientSeed }) => clientSeed)));
  assertEquals(seeds.map(({ size }) => size), [1, 1]);
  assertEquals(new Set(seeds.flatMap((each) => [...each])).size, 2);
});

Deno.test("workerConfigs: every worker is told the resolvers", () => {
  const dns = [parseEndpoint("192.0.2.53:53")!, parseEndpoint("[2001:db8::53]:5353")!];
  for (const { resolvers } of configs({ dns })) assertEquals(resolvers, dns);
});

Deno.test("workerConfigs: every worker is told the same ways out", () => {
  for (const { routing } of configs({})) assert(routing === ROUTING);
});

Deno.test("workerConfigs: the listeners of a sidecar share the budget of one", () => {
  const sidecar = { ...DEFAULT_SIDECAR, dns: { port: 15_053, servers: "all" as const } };
  for (const { tcp, maxPipes, udp, dns } of configs({ ...sidecarRunConfig(), sidecar, workers: 3 })) {
    assertEquals(tcp.map(({ port, maxConnections }) => [port, maxConnections]), [
      [15_001, 1000],
      [15_006, 1000],
      [15_053, 1000],
    ]);
    assertEquals([maxPipes, udp, dns], [8, undefined, { port: 15_053, bypassMark: marks.bypass }]);
  }
});
