import { assert, assertEquals, assertThrows } from "../tests/assert.ts";
import { healthBytes, HealthState } from "./health_state.ts";

const LIMITS = { rise: 2, fall: 3, coolDownMs: 10_000 };

/** The same memory, as two workers have it. */
function twoWorkers(members = 2) {
  const health = new SharedArrayBuffer(healthBytes(members));
  return { a: new HealthState(health, LIMITS), b: new HealthState(health, LIMITS) };
}

Deno.test("health: so many failures in a row over all workers make a member go down, told once", () => {
  const { a, b } = twoWorkers();
  assertEquals([a.fail(1, 0), b.fail(1, 0)], [false, false]);
  // Not in a row.
  assertEquals(a.succeed(1, 0), -1);
  assertEquals([a.fail(1, 0), b.fail(1, 0), a.fail(1, 0), b.fail(1, 0)], [false, false, true, false]);
  assertEquals([b.isUp(0), b.downs(0), b.isUp(1), b.downs(1)], [true, 0, false, 1]);
});

Deno.test("health: so many successes in a row make it go up again, told once with the time in between", () => {
  const { a, b } = twoWorkers();
  for (let i = 0; i < 3; i++) a.fail(0, 1000);
  assertEquals(a.succeed(0, 2000), -1);
  a.fail(0, 3000);
  assertEquals([b.succeed(0, 4000), b.isUp(0)], [-1, false]);
  assertEquals([a.succeed(0, 5000), b.succeed(0, 5000), b.isUp(0)], [4000, -1, true]);
  // From the beginning.
  assertEquals([a.fail(0, 0), a.fail(0, 0), a.fail(0, 0)], [false, false, true]);
  assertEquals([a.succeed(0, 0), a.downs(0)], [-1, 2]);
});

Deno.test("health: when its time has come, a member that is down is one flow's to try, whichever worker's", () => {
  // The low 32 bits of the clock go round within this.
  const start = 0x7fff_ff00;
  const { a, b } = twoWorkers();
  const at = (ms: number) => start + ms | 0;
  for (let i = 0; i < 3; i++) a.fail(0, at(0));
  assertEquals([a.claim(0, at(0)), b.claim(0, at(9_999)), b.isDue(0, at(9_999))], [false, false, false]);
  assert(b.isDue(0, at(10_000)));
  assertEquals([b.claim(0, at(10_000)), a.claim(0, at(10_000))], [true, false]);
  // It did not come back, and nobody said so: another one's turn.
  assertEquals([a.claim(0, at(19_999)), a.claim(0, at(20_000))], [false, true]);
});

Deno.test("health: how long a member takes is averaged, and forgotten when it goes down", () => {
  const { a, b } = twoWorkers();
  assertEquals(a.latencyMs(0), undefined);
  a.measure(0, 0, 0);
  // Soon is not unknown.
  assertEquals(b.latencyMs(0)! < 1, true);
  const { a: c } = twoWorkers();
  c.measure(0, 100, 0);
  assertEquals(c.latencyMs(0), 100);
  c.measure(0, 200, 0);
  assertEquals(c.latencyMs(0), 125);
  for (let i = 0; i < 50; i++) c.measure(0, 200, 0);
  assertEquals(Math.round(c.latencyMs(0)!), 200);
  for (let i = 0; i < 3; i++) c.fail(0, 0);
  assertEquals(c.latencyMs(0), undefined);
  c.measure(0, 1e12, 0);
  assertEquals(c.latencyMs(0), 60_000);
});

Deno.test("health: turns go on over all workers; of two that move the current member, the first one does", () => {
  const { a, b } = twoWorkers();
  assertEquals([a.nextTurn("streams"), b.nextTurn("streams"), a.nextTurn("datagrams")], [0, 1, 0]);
  assertEquals(a.current("streams"), -1);
  a.setCurrent("streams", -1, 1);
  b.setCurrent("streams", -1, 0);
  assertEquals([a.current("streams"), b.current("streams"), b.current("datagrams")], [1, 1, -1]);
});

Deno.test("health: memory of another group is not written beyond", () => {
  const state = new HealthState(new SharedArrayBuffer(healthBytes(1)), LIMITS);
  assertThrows(() => state.fail(1, 0), RangeError);
});
