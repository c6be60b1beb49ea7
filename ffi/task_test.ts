import { assert, assertEquals, assertGreaterOrEqual } from "../tests/assert.ts";
import { Loopback } from "../tests/loopback.ts";
import { EPOLLIN, MSG_NOSIGNAL, SOCK_NONBLOCK } from "./constants.ts";
import { EAGAIN } from "./errno.ts";
import type { Reactor } from "./reactor.ts";
import { type Dialogue, type Outcome, ready, runTask } from "./task.ts";
import { Timer } from "./timer_wheel.ts";

class Alarm extends Timer {
  constructor(readonly then: () => void) {
    super();
  }
  override onTimer(): void {
    this.then();
  }
}

const SILENT = { onEvents: () => {} };

/** Runs a dialogue on the real loop to its end. */
function run<T>(reactor: Reactor, dialogue: Dialogue<T>): Outcome<T> {
  let outcome: Outcome<T> | undefined;
  runTask(reactor, dialogue, (result) => {
    assertEquals(outcome, undefined, "onDone was called twice");
    outcome = result;
    reactor.stop();
  });
  const guard = new Alarm(() => reactor.stop());
  reactor.timers.schedule(guard, 5000);
  if (outcome === undefined) reactor.run();
  reactor.timers.cancel(guard);
  assert(outcome !== undefined, "the dialogue did not end");
  return outcome;
}

/** Reads exactly `length` bytes, as a handshake does. */
function* readExactly(
  loopback: Loopback,
  fd: number,
  length: number,
  timeoutMs = 1000,
): Dialogue<Uint8Array> {
  const buffer = loopback.arena.allocate(length);
  for (let have = 0; have < length;) {
    const n = loopback.sys.recv(fd, loopback.arena.pointerAt(buffer.offset + have), length - have, 0);
    if (n > 0) have += n;
    else if (n !== -EAGAIN) throw new Error("the peer has left");
    else if ((yield* ready(fd, timeoutMs)) === 0) throw new Error("the time has passed");
  }
  return buffer.bytes.slice();
}

function send(loopback: Loopback, fd: number, bytes: number[]): void {
  const buffer = loopback.arena.allocate(bytes.length);
  buffer.bytes.set(bytes);
  assertEquals(loopback.sys.send(fd, buffer.pointer, bytes.length, MSG_NOSIGNAL), bytes.length);
}

Deno.test("task: two dialogues talk over a connection, each as if it were blocking", () => {
  using loopback = new Loopback();
  const reactor = loopback.openReactor();
  const [client, server] = loopback.connectedPair();
  reactor.add(client, EPOLLIN, SILENT);
  reactor.add(server, EPOLLIN, SILENT);
  function* serve(): Dialogue<number> {
    let sum = 0;
    for (let round = 0; round < 3; round++) {
      const [count] = yield* readExactly(loopback, server, 1);
      const numbers = yield* readExactly(loopback, server, count!);
      sum += numbers.reduce((a, b) => a + b, 0);
      send(loopback, server, [sum]);
    }
    return sum;
  }
  function* ask(): Dialogue<number[]> {
    const answers: number[] = [];
    for (const [first, ...rest] of [[2, 1, 2], [1, 10], [3, 4, 5, 6]]) {
      // In pieces, so that the other side has to wait in between.
      send(loopback, client, [first!]);
      for (const each of rest) send(loopback, client, [each]);
      answers.push((yield* readExactly(loopback, client, 1))[0]!);
    }
    return answers;
  }
  let served: Outcome<number> | undefined;
  runTask(reactor, serve(), (outcome) => served = outcome);
  assertEquals(run(reactor, ask()), { ok: true, value: [3, 13, 28] });
  assertEquals(served, { ok: true, value: 28 });
});

Deno.test("task: a wait without an event is resumed with 0 when its time has passed", () => {
  using loopback = new Loopback();
  const reactor = loopback.openReactor();
  const [silent] = loopback.connectedPair();
  reactor.add(silent, EPOLLIN, SILENT);
  const startMs = reactor.now;
  const outcome = run(reactor, readExactly(loopback, silent, 1, 200));
  assertEquals(outcome.ok, false);
  assertEquals(!outcome.ok && (outcome.error as Error).message, "the time has passed");
  assertGreaterOrEqual(reactor.now - startMs, 200);
  assertEquals(reactor.timers.size, 0);
});

Deno.test("task: an event in time cancels the timeout", () => {
  using loopback = new Loopback();
  const reactor = loopback.openReactor();
  const [client, server] = loopback.connectedPair();
  reactor.add(server, EPOLLIN, SILENT);
  reactor.timers.schedule(new Alarm(() => send(loopback, client, [7])), 100);
  assertEquals(run(reactor, readExactly(loopback, server, 1, 4000)), { ok: true, value: Uint8Array.of(7) });
  assertEquals(reactor.timers.size, 0);
});

Deno.test("task: one that needs not wait is done before runTask returns", () => {
  using loopback = new Loopback();
  const reactor = loopback.openReactor();
  const [client, server] = loopback.connectedPair();
  const outcomes: Outcome<Uint8Array>[] = [];
  send(loopback, client, [5]);
  runTask(reactor, readExactly(loopback, server, 1), (outcome) => outcomes.push(outcome));
  assertEquals(outcomes, [{ ok: true, value: Uint8Array.of(5) }]);
});

Deno.test("task: what a dialogue throws is its outcome, after its finally blocks", () => {
  using loopback = new Loopback();
  const reactor = loopback.openReactor();
  const [client, server] = loopback.connectedPair();
  reactor.add(server, EPOLLIN, SILENT);
  const steps: string[] = [];
  function* failing(): Dialogue<void> {
    try {
      yield* readExactly(loopback, server, 1);
      steps.push("read");
      throw new RangeError("nonsense");
    } finally {
      steps.push("finally");
    }
  }
  send(loopback, client, [1]);
  const outcome = run(reactor, failing());
  assertEquals(!outcome.ok && outcome.error instanceof RangeError, true);
  assertEquals(steps, ["read", "finally"]);
});

Deno.test("task: aborting runs the finally blocks, takes the timer off, and tells nobody", () => {
  using loopback = new Loopback();
  const reactor = loopback.openReactor();
  const [client, server] = loopback.connectedPair();
  reactor.add(server, EPOLLIN, SILENT);
  const steps: string[] = [];
  function* patient(): Dialogue<void> {
    try {
      yield* ready(server, 60_000);
      steps.push("resumed");
    } finally {
      steps.push("finally");
    }
  }
  const task = runTask(reactor, patient(), () => steps.push("done"));
  assertEquals(reactor.timers.size, 1);
  task.abort();
  task.abort();
  assertEquals([steps, reactor.timers.size], [["finally"], 0]);
  // An event that comes later finds nobody.
  send(loopback, client, [1]);
  reactor.timers.schedule(new Alarm(() => reactor.stop()), 100);
  reactor.run();
  assertEquals(steps, ["finally"]);
});

Deno.test("task: a dialogue waits on one descriptor after the other, also when a number is given out again", () => {
  using loopback = new Loopback();
  const reactor = loopback.openReactor();
  const listener = loopback.listen();
  const { port } = listener.localEndpoint();
  const numbers: number[] = [];
  function* visit(): Dialogue<number[]> {
    const heard: number[] = [];
    for (let i = 0; i < 4; i++) {
      const client = loopback.connect(port);
      const server = loopback.own(loopback.sys.accept4(listener.fd, null, null, SOCK_NONBLOCK));
      numbers.push(server);
      reactor.add(server, EPOLLIN, SILENT);
      reactor.timers.schedule(new Alarm(() => send(loopback, client, [i])), 50);
      heard.push((yield* readExactly(loopback, server, 1))[0]!);
      // What this brings is for nobody, least of all for the next one by that number.
      send(loopback, client, [99]);
      reactor.forget(server);
      loopback.close(server);
      loopback.close(client);
    }
    return heard;
  }
  assertEquals(run(reactor, visit()), { ok: true, value: [0, 1, 2, 3] });
  assert(new Set(numbers).size < numbers.length, "no number was given out again");
  assertEquals(reactor.timers.size, 0);
});

Deno.test("task: what comes while another descriptor is waited for is not lost", () => {
  using loopback = new Loopback();
  const reactor = loopback.openReactor();
  const [early, first] = loopback.connectedPair();
  const [late, second] = loopback.connectedPair();
  reactor.add(first, EPOLLIN, SILENT);
  reactor.add(second, EPOLLIN, SILENT);
  function* both(): Dialogue<number[]> {
    // Twice each, so that both have this dialogue for their handler.
    const [a] = yield* readExactly(loopback, first, 1);
    const [b] = yield* readExactly(loopback, second, 1);
    const [c] = yield* readExactly(loopback, second, 1);
    const [d] = yield* readExactly(loopback, first, 1);
    return [a!, b!, c!, d!];
  }
  reactor.timers.schedule(new Alarm(() => send(loopback, early, [1])), 50);
  reactor.timers.schedule(new Alarm(() => send(loopback, late, [2])), 150);
  reactor.timers.schedule(new Alarm(() => send(loopback, early, [4])), 250);
  reactor.timers.schedule(new Alarm(() => send(loopback, late, [3])), 350);
  assertEquals(run(reactor, both()), { ok: true, value: [1, 2, 3, 4] });
});

Deno.test("task: an event and the end of its time in one turn resume it once", () => {
  using loopback = new Loopback();
  const reactor = loopback.openReactor();
  const [client, server] = loopback.connectedPair();
  reactor.add(server, EPOLLIN, SILENT);
  const resumed: number[] = [];
  function* patient(): Dialogue<void> {
    resumed.push(yield* ready(server, 100));
    resumed.push(yield* ready(server, 100));
  }
  runTask(reactor, patient(), () => reactor.stop());
  // The loop is held up until both are due.
  reactor.timers.schedule(
    new Alarm(() => {
      send(loopback, client, [1]);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 400);
    }),
    0,
  );
  reactor.run();
  assertEquals(resumed, [EPOLLIN, 0]);
});
