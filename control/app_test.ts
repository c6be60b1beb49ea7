import { assert, assertEquals, assertGreaterOrEqual, assertLess, assertRejects } from "../tests/assert.ts";
import { ConfigError, defaultRunConfig, type RunConfig } from "../config/mod.ts";
import { App } from "./app.ts";
import type { AppEvent } from "./events.ts";
import type { Interception } from "./interception.ts";
import { StartError } from "./start_error.ts";

type Step = "prepare" | "apply" | "enterDrain" | "revert";

/** An app with fixture workers and an interception that does nothing; `steps` is what happened, in order. */
function watch(worker: string, change?: Partial<RunConfig>, failing?: Step) {
  const steps: string[] = [];
  const events: AppEvent[] = [];
  const step = (name: Step) => () => {
    steps.push(name);
    return name === failing
      ? Promise.reject(new StartError("rules-failed", `fake ${name}`, "no hint"))
      : Promise.resolve();
  };
  const interception: Interception = {
    summary: "fake",
    prepare: step("prepare"),
    apply: step("apply"),
    prepareChange: () => Promise.resolve({ differs: false, commit: () => Promise.resolve() }),
    enterDrain: step("enterDrain"),
    revert: step("revert"),
  };
  const emit = (event: AppEvent) => {
    events.push(event);
    steps.push(event.event === "warning" ? `worker ${event.code}` : event.event);
  };
  // What needs no privilege: nothing of the host is touched.
  const unprivileged: RunConfig = {
    ...defaultRunConfig(),
    tcp: "redirect",
    udp: "off",
    rules: "none",
    workers: 1,
    port: freePort(),
  };
  const workerUrl = new URL(`../tests/fixtures/${worker}_worker.ts`, import.meta.url);
  const app = new App({ ...unprivileged, ...change }, emit, { workerUrl, interception });
  return { app, steps, events, port: change?.port ?? unprivileged.port };
}

function freePort(): number {
  using listener = Deno.listen({ port: 0 });
  return listener.addr.port;
}

Deno.test("app: listeners before rules, rules away before connections, workers before revert", async () => {
  const { app, steps, events, port } = watch("obedient");
  await app.start();
  assert(await app.stop());
  assert(await app.stopped);
  assertEquals(steps, [
    "starting",
    "prepare",
    "apply",
    "ready",
    "draining",
    "enterDrain",
    "worker heard-drain",
    "worker heard-stop",
    "revert",
    "stopped",
  ]);
  const ready = events.find((event) => event.event === "ready");
  assert(ready?.event === "ready");
  assertEquals([ready.listeners, ready.rules, ready.mode], [[`fixture:${port}`], "fake", "redirect"]);
});

Deno.test("app: open connections are waited for as long as the drain timeout", async () => {
  const { app, steps, events } = watch("busy", { drainTimeoutMs: 300 });
  await app.start();
  const before = performance.now();
  assert(await app.stop());
  assertGreaterOrEqual(performance.now() - before, 299);
  assertEquals(steps.slice(-4), ["worker heard-drain", "worker heard-stop", "revert", "stopped"]);
  const stopped = events.at(-1);
  assert(stopped?.event === "stopped" && !stopped.forced);
});

Deno.test("app: force ends the drain at once, and still reverts", async () => {
  const { app, steps, events } = watch("busy", { drainTimeoutMs: 60_000 });
  await app.start();
  const before = performance.now();
  const stopping = app.stop();
  setTimeout(() => app.force(), 50);
  assert(await stopping);
  assertLess(performance.now() - before, 5000);
  assertEquals(steps.slice(-2), ["revert", "stopped"]);
  const stopped = events.at(-1);
  assert(stopped?.event === "stopped" && stopped.forced);
});

for (const failing of ["prepare", "apply"] as const) {
  Deno.test(`app: when ${failing} fails, the workers stop and the rules are reverted`, async () => {
    const { app, steps } = watch("obedient", undefined, failing);
    await assertRejects(() => app.start(), StartError, `fake ${failing}`);
    assert(steps.includes("worker heard-stop"), steps.join());
    assertEquals(steps.at(-1), "revert");
    assert(!steps.includes("ready"));
    assert(await app.stop(), "nothing is left to be stopped");
  });
}

Deno.test("app: a worker that cannot start is a failed start, in the user's words", async () => {
  const { app, steps } = watch("failing", { workers: 2 });
  const error = await assertRejects(() => app.start(), StartError, "data plane: bind: address in use");
  assertEquals(error.code, "port-taken");
  assertEquals(steps.at(-1), "revert");
});

Deno.test("app: rules that cannot be reverted are said and make the stop unclean", async () => {
  const { app, events } = watch("obedient", undefined, "revert");
  await app.start();
  assertEquals(await app.stop(), false);
  const error = events.find((event) => event.event === "error");
  assert(error?.event === "error");
  assertEquals([error.code, error.message], ["revert-failed", "fake revert"]);
  assertEquals(events.at(-1)?.event, "stopped");
});

Deno.test("app: a failure to enter the drain phase reverts at once, so that nobody new is refused", async () => {
  const { app, steps } = watch("obedient", undefined, "enterDrain");
  await app.start();
  assert(await app.stop());
  assertEquals(steps.slice(-6), [
    "enterDrain",
    "error",
    "revert",
    "worker heard-drain",
    "worker heard-stop",
    "stopped",
  ]);
});

Deno.test("app: after a stop there is no start", async () => {
  const { app, steps } = watch("obedient");
  assert(await app.stop());
  await assertRejects(() => app.start(), Error, "start called after stop");
  assertEquals(steps, []);
});

Deno.test("app: a stop during the start waits for it", async () => {
  const { app, steps } = watch("obedient");
  const starting = app.start();
  assert(await app.stop());
  await starting;
  assertEquals(steps.at(-1), "stopped");
});

Deno.test("app: a port that another program has is named before anything is started", async () => {
  using taken = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const { app, steps } = watch("obedient", { port: taken.addr.port });
  const error = await assertRejects(() => app.start(), StartError, `port ${taken.addr.port}: taken`);
  assertEquals(error.code, "port-taken");
  assertEquals(steps, ["starting"]);
});

Deno.test("app: an interface that is not there is named, with those that are", async () => {
  const { app } = watch("obedient", { from: ["nosuch0"] });
  const error = await assertRejects(() => app.start(), StartError, "nosuch0");
  assertEquals(error.code, "interface-unknown");
});

Deno.test("app: a configuration that makes no sense is refused as a whole", async () => {
  const { app, steps } = watch("obedient", { port: 0, workers: 0 });
  const error = await assertRejects(() => app.start(), ConfigError);
  assertEquals(error.issues.map((issue) => issue.path), ["--port", "--workers"]);
  assertEquals(steps, []);
});

Deno.test("app: a wish for more connections than descriptors allow is lowered aloud", async () => {
  const { app, events } = watch("obedient", { maxConnections: 4_000_000 });
  await app.start();
  assert(await app.stop());
  const warning = events.find((event) =>
    event.event === "warning" && event.code === "max-connections-lowered"
  );
  const ready = events.find((event) => event.event === "ready");
  // A machine without a limit grants the wish.
  assert(ready?.event === "ready" && (ready.maxConnections < 4_000_000) === (warning !== undefined));
});
