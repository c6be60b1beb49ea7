import { assert, assertEquals, assertGreaterOrEqual, assertLess, assertRejects } from "../tests/assert.ts";
import { defaultRunConfig } from "../config/mod.ts";
import type { RoutingSettings, WorkerConfig } from "../dataplane/protocol.ts";
import { counterSlot } from "../dataplane/stats.ts";
import { BackOff } from "./back_off.ts";
import { Supervisor } from "./supervisor.ts";
import { NO_MARKS, workerConfigs } from "./worker_configs.ts";
import { type SlotObserver, type WorkerDeath, WorkerStartError } from "./worker_slot.ts";

const ROUTING: RoutingSettings = { generation: 0, upstreams: [], policy: undefined, otherwise: 0 };

type FixtureName = "obedient" | "busy" | "deaf" | "failing" | "dying" | "silent";

/** A supervisor of two fixture workers, and what it reports. */
function watch(name: FixtureName, startTimeoutMs?: number) {
  const budget = { maxConnections: 10, maxPipesPerWorker: 1, maxSessions: 10, maxReplySocketsPerWorker: 1 };
  const configs = workerConfigs({ ...defaultRunConfig(), workers: 2 }, budget, NO_MARKS, ROUTING);
  const deaths: WorkerDeath[] = [];
  const warnings: string[] = [];
  const restarted = Promise.withResolvers<number>();
  const observer: SlotObserver = {
    warning: (worker, { event }) => warnings.push(`${worker} ${event}`),
    member: () => {},
    records: () => {},
    died: (death) => deaths.push(death),
    restarted: (worker) => restarted.resolve(worker),
  };
  const url = new URL(`../tests/fixtures/${name}_worker.ts`, import.meta.url);
  const supervisor = new Supervisor(url, configs, observer, startTimeoutMs);
  return { supervisor, configs, deaths, warnings, restarted: restarted.promise };
}

function counter({ stats }: WorkerConfig, name: Parameters<typeof counterSlot>[0]): number {
  return new Float64Array(stats)[counterSlot(name)]!;
}

Deno.test("supervisor: start, drain, stop", async () => {
  const { supervisor, warnings, deaths } = watch("obedient");
  assertEquals(await supervisor.start(), {
    tcp: ["fixture:7870"],
    udp: ["fixture:7870", "fixture:7871"],
  });
  await supervisor.drain();
  assertEquals(warnings.toSorted(), ["0 heard-drain", "1 heard-drain"]);
  assertEquals(await supervisor.stop(5000), []);
  assertEquals(warnings.length, 4);
  assertEquals(deaths, []);
});

Deno.test("supervisor: other ways out are told to the workers there are, and to those that follow one that dies", async () => {
  const { supervisor, warnings, restarted } = watch("dying");
  await supervisor.start();
  supervisor.exchangeRouting({ ...ROUTING, generation: 7 });
  const worker = await restarted;
  await supervisor.drain();
  assertEquals(await supervisor.stop(5000), []);
  assert(warnings.includes("0 heard-routing 7"), warnings.join());
  assert(warnings.includes(`${worker} begun-with 7`), warnings.join());
});

Deno.test("supervisor: a worker that dies is restarted, the other one carries on, its connections are written off", async () => {
  const { supervisor, configs, deaths, restarted } = watch("dying");
  await supervisor.start();
  assertEquals(await restarted, 1);
  assertEquals(deaths.map(({ worker, restartMs }) => [worker, restartMs]), [[1, 100]]);
  assert(deaths[0]!.failure.message.includes("fixture: told to die"), deaths[0]!.failure.message);
  assertEquals(configs.map((config) => counter(config, "tcpAccepted")), [1, 2]);
  assertEquals([counter(configs[1]!, "tcpOpenNow"), counter(configs[1]!, "udpSessionsNow")], [0, 0]);
  assertEquals(new Int32Array(configs[0]!.openConnections)[0], 0);
  await supervisor.drain();
  assertEquals(await supervisor.stop(5000), []);
});

Deno.test("supervisor: a worker that cannot start fails the start, the others stop", async () => {
  const { supervisor, deaths } = watch("failing");
  const error = await assertRejects(
    () => supervisor.start(),
    WorkerStartError,
    "worker 1: bind: address in use",
  );
  assertEquals(error.failure.code, "EADDRINUSE");
  assertEquals(await supervisor.stop(5000), []);
  assertEquals(deaths, []);
});

Deno.test("supervisor: a module that is not there fails the start", async () => {
  const { supervisor } = watch("missing" as FixtureName);
  await assertRejects(() => supervisor.start(), WorkerStartError);
  assertEquals(await supervisor.stop(5000), []);
});

Deno.test("supervisor: a worker that does not get ready in time fails the start", async () => {
  const { supervisor } = watch("obedient", 1);
  await assertRejects(() => supervisor.start(), WorkerStartError, "not ready after 0.001 s");
  assertEquals(await supervisor.stop(5000), []);
});

Deno.test("supervisor: a worker that does not stop is given up when the time is up, and named", async () => {
  const { supervisor } = watch("deaf");
  await supervisor.start();
  const before = performance.now();
  assertEquals(await supervisor.stop(100), [0, 1]);
  assertLess(performance.now() - before, 2000);
});

Deno.test("supervisor: of a worker given up while it starts nothing is heard any more", async () => {
  const { supervisor, deaths } = watch("silent", 100);
  let settled = false;
  supervisor.start().finally(() => settled = true);
  // The second one waits for the first.
  assertEquals(await supervisor.stop(10), [0]);
  // Until well after the time it had to get ready.
  await new Promise((resolve) => setTimeout(resolve, 200));
  assertEquals([settled, deaths], [false, []]);
});

Deno.test("supervisor: no restart once it drains", async () => {
  const { supervisor, deaths, configs } = watch("dying");
  await supervisor.start();
  await supervisor.drain();
  // Until well after the death, which the fixture's timer brings all the same, and the wait that would follow.
  await new Promise((resolve) => setTimeout(resolve, 300));
  assertEquals(deaths.map(({ restartMs }) => restartMs), [undefined]);
  assertEquals(counter(configs[1]!, "tcpAccepted"), 1);
  assertEquals(await supervisor.stop(5000), []);
});

Deno.test("BackOff: doubles up to ten seconds, starts again after a life that lasted", () => {
  const backOff = new BackOff();
  const waits = Array.from({ length: 9 }, () => backOff.next(0));
  assertEquals(waits, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
  assertEquals(backOff.next(29_999), 10_000);
  assertEquals(backOff.next(30_000), 100);
  assertGreaterOrEqual(backOff.next(0), 200);
});
