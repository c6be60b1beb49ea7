/**
 * What packets meet: rules of the old plan or of the new one, a worker each, and counters that tell.
 *
 * @module
 */
import type { Plan } from "../../nft/plan.ts";
import { assert, assertEquals } from "../assert.ts";
import { DatagramClient, GATEWAY_LAB, gatewayLab, type LabHost, labTest } from "../lab/mod.ts";
import {
  differenceTexts,
  FLAVOURS,
  iptablesBackend,
  labIntent,
  labPlan,
  prefixes,
  rule,
} from "./iptables_lab.ts";

const { servers, client } = GATEWAY_LAB;
const WORKERS = ["worker_0", "worker_1", "worker_2", "worker_3"];

/** Counts datagrams to port 9 by the worker that would get them. */
function spreadPlan(): Plan {
  const toNine = {
    kind: "ports",
    protocol: "udp",
    side: "destination",
    ports: [{ first: 9, last: 9 }],
  } as const;
  return {
    intent: labIntent(),
    chains: [
      {
        name: "spread",
        type: "filter",
        hook: "prerouting",
        priority: "mangle",
        interfaces: ["lan0"],
        why: "For a test.",
        rules: [
          rule("spread-4", [toNine], { kind: "spread", family: 4, chains: WORKERS }),
          rule("spread-6", [toNine], { kind: "spread", family: 6, chains: WORKERS }),
        ],
      },
      ...WORKERS.map((name) => ({
        name,
        hook: "none" as const,
        why: "For a test.",
        rules: [rule("counted", [], { kind: "pass" })],
      })),
    ],
    sets: [],
    ipRules: [],
    routes: [],
    sysctls: [],
  };
}

/** Datagrams on their way through the gateway until stopped, and how many of them came back. */
class Stream implements AsyncDisposable {
  sent = 0;
  #stopped = false;
  readonly #running: Promise<void>;

  private constructor(
    readonly client: DatagramClient,
    readonly sockets: Awaited<ReturnType<DatagramClient["open"]>>[],
    readonly targets: readonly string[],
  ) {
    this.#running = this.#run();
  }

  static async start(host: LabHost, port: number): Promise<Stream> {
    const program = new DatagramClient(host);
    const sockets = [
      await program.open({ from: `${client.v4}:0` }),
      await program.open({ from: `[${client.v6}]:0` }),
    ];
    return new Stream(program, sockets, [`${servers.v4}:${port}`, `[${servers.v6}]:${port}`]);
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      await Promise.all(
        this.sockets.map((socket, i) => socket.send({ to: this.targets[i]!, text: "on its way" })),
      );
      this.sent += this.sockets.length;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  /** @returns how many came back, of `sent`. */
  async stop(): Promise<number> {
    this.#stopped = true;
    await this.#running;
    const back = () => this.sockets.reduce((sum, socket) => sum + socket.receivedCount, 0);
    for (let waitMs = 0; waitMs < 10_000 && back() < this.sent; waitMs += 20) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return back();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.client[Symbol.asyncDispose]();
  }
}

for (const flavour of FLAVOURS) {
  labTest(`${flavour}: no datagram is lost while plans are swapped, with their ipsets`, async () => {
    await using lab = await gatewayLab();
    const server = await lab.host("internet").serveDatagrams({ kind: "echo", reports: false });
    const backend = iptablesBackend(lab.host("gateway"), flavour);
    // What is left alone passes under both; nobody listens, so what was taken would be lost.
    const planOf = (count: number) =>
      labPlan({
        select: {
          destinations: {
            include: [],
            exclude: ["198.51.100.0/24", "2001:db8:100::/48", ...prefixes(count)],
          },
        },
      });
    const plans = [planOf(500), planOf(501)];
    await backend.load(plans[0]!, "intercept");
    await using stream = await Stream.start(lab.host("client"), server.port);
    for (let i = 1; i <= 20; i++) await backend.load(plans[i % 2]!, "intercept");
    assertEquals(await differenceTexts(backend, plans[0]!), []);
    const back = await stream.stop();
    assert(stream.sent > 100, `${stream.sent}`);
    assertEquals(back, stream.sent);
  }, { timeoutMs: 120_000 });

  labTest(`${flavour}: one worker for an endpoint, all of them for many, and counters tell`, async () => {
    await using lab = await gatewayLab();
    const backend = iptablesBackend(lab.host("gateway"), flavour);
    const plan = spreadPlan();
    await backend.load(plan, "intercept");
    await using program = new DatagramClient(lab.host("client"));
    const counts = async () => {
      const counters = await backend.counters(plan);
      return WORKERS.map((name) => counters.find(({ chain }) => chain === name)!.packets);
    };
    let before = await counts();
    assertEquals(before, [0, 0, 0, 0]);
    for (
      const [from, one, other] of [
        [client.v4, servers.v4, servers.v4b],
        [`[${client.v6}]`, `[${servers.v6}]`, `[${servers.v6b}]`],
      ]
    ) {
      const start = before;
      for (let i = 0; i < 40; i++) {
        const socket = await program.open({ from: `${from}:${40_000 + i}`, queueErrors: false });
        await socket.send({ to: `${one}:9`, text: "x" });
        await socket.send({ to: `${other}:9`, text: "xy" });
        await socket.send({ to: `${one}:9`, text: "xyz" });
        const after = await counts();
        const grown = after.map((count, worker) => count - before[worker]!);
        assertEquals(grown.toSorted(), [0, 0, 0, 3], `port ${40_000 + i}: ${grown}`);
        before = after;
      }
      assert(before.every((count, worker) => count > start[worker]!), `${start}, then ${before}`);
    }
    const spread = (await backend.counters(plan)).filter(({ chain }) => chain === "spread");
    assertEquals(spread.map(({ rule, packets }) => [rule, packets]), [["spread-4", 120], ["spread-6", 120]]);
    // 1, 2 and 3 bytes after headers of IP and UDP.
    assertEquals(spread.map(({ bytes }) => bytes), [40 * (3 * 28 + 6), 40 * (3 * 48 + 6)]);
  }, { timeoutMs: 120_000 });
}
