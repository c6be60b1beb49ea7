import fc from "fast-check";
import { assert, assertEquals, assertGreaterOrEqual, assertLessOrEqual } from "../tests/assert.ts";
import { TICK_MS, Timer, TimerWheel } from "./timer_wheel.ts";

class Alarm extends Timer {
  readonly firedAt: number[] = [];
  constructor(readonly world: Clockwork, readonly then: (self: Alarm) => void = () => {}) {
    super();
  }
  override onTimer(): void {
    this.firedAt.push(this.world.nowMs);
    this.then(this);
  }
}

/** A wheel and its clock, moved on as the reactor does. */
class Clockwork {
  nowMs: number;
  readonly wheel: TimerWheel;
  constructor(startMs = 0) {
    this.nowMs = startMs;
    this.wheel = new TimerWheel(startMs);
  }
  moveTo(nowMs: number): void {
    this.nowMs = nowMs;
    this.wheel.setNow(nowMs);
    this.wheel.expire();
  }
  /** Sleeps as long as the wheel says, until the clock stands at `untilMs`. @returns how often it woke. */
  run(untilMs: number): number {
    for (let wakes = 0;; wakes++) {
      const wait = this.wheel.waitMs(this.nowMs);
      if (wait < 0 || this.nowMs + wait > untilMs) {
        this.moveTo(untilMs);
        return wakes;
      }
      this.moveTo(this.nowMs + wait);
    }
  }
}

/** How late a timer may be: the tick that had begun, and whole seconds from 2 s on. */
function mostLateMs(delayMs: number): number {
  return 2 * TICK_MS + (delayMs >= 2000 ? 1000 : 0);
}

Deno.test("timer wheel: nothing scheduled is no wake-up", () => {
  const { wheel } = new Clockwork(123_456);
  assertEquals([wheel.waitMs(123_456), wheel.size], [-1, 0]);
});

Deno.test("timer wheel: never early, and no later than its rounding", () => {
  for (const delayMs of [0, 1, 99, 100, 101, 1999, 2000, 2001, 5000, 99_900, 100_000, 100_001, 3_600_000]) {
    for (const startMs of [0, 1, 50, 99, 950, 1_234_567]) {
      const world = new Clockwork(startMs), alarm = new Alarm(world);
      world.wheel.schedule(alarm, delayMs);
      world.run(startMs + delayMs + 2 * mostLateMs(delayMs));
      assertEquals(alarm.firedAt.length, 1, `${delayMs} ms from ${startMs}`);
      const lateMs = alarm.firedAt[0]! - startMs - delayMs;
      assertGreaterOrEqual(lateMs, 0);
      assertLessOrEqual(lateMs, mostLateMs(delayMs), `${delayMs} ms from ${startMs}`);
      assertEquals([world.wheel.size, world.wheel.waitMs(world.nowMs)], [0, -1]);
    }
  }
});

Deno.test("timer wheel: thousands of idle timers share one wake-up a second", () => {
  const world = new Clockwork(17);
  for (let i = 0; i < 5000; i++) {
    world.moveTo(17 + 3 * i);
    world.wheel.schedule(new Alarm(world), 60_000 + 7 * i);
  }
  assertEquals(world.wheel.size, 5000);
  const wakes = world.run(world.nowMs + 120_000);
  assertEquals(world.wheel.size, 0);
  assertLessOrEqual(wakes, 121);
});

Deno.test("timer wheel: one far timer wakes once a turn of the wheel at most", () => {
  const world = new Clockwork(), alarm = new Alarm(world);
  world.wheel.schedule(alarm, 86_400_000);
  assertLessOrEqual(world.run(86_400_000 + 2000), 86_400_000 / 100_000 + 1);
  assertEquals(alarm.firedAt.length, 1);
});

Deno.test("timer wheel: to schedule again replaces, to cancel twice is nothing", () => {
  const world = new Clockwork(), alarm = new Alarm(world);
  world.wheel.schedule(alarm, 500);
  world.wheel.schedule(alarm, 1500);
  assertEquals(world.wheel.size, 1);
  world.run(1000);
  assertEquals(alarm.firedAt, []);
  world.run(3000);
  assertEquals(alarm.firedAt.length, 1);
  world.wheel.cancel(alarm);
  world.wheel.schedule(alarm, 500);
  world.wheel.cancel(alarm);
  world.wheel.cancel(alarm);
  assertEquals([world.wheel.size, world.wheel.waitMs(world.nowMs)], [0, -1]);
  world.run(10_000);
  assertEquals(alarm.firedAt.length, 1);
});

Deno.test("timer wheel: a timer that is called may schedule itself and cancel another that is due", () => {
  const world = new Clockwork();
  const victim = new Alarm(world);
  const killer = new Alarm(world, (self) => {
    world.wheel.cancel(victim);
    if (self.firedAt.length < 3) world.wheel.schedule(self, 0);
  });
  world.wheel.schedule(killer, 300);
  world.wheel.schedule(victim, 300);
  world.run(5000);
  assertEquals([killer.firedAt.length, victim.firedAt.length, world.wheel.size], [3, 0, 0]);
  // Not in one call: each has its own turn of the loop.
  assertEquals(new Set(killer.firedAt).size, 3);
});

Deno.test("timer wheel: after a sleep of many turns every due timer is called once, and no other", () => {
  const world = new Clockwork();
  const soon = Array.from({ length: 3000 }, (_, i) => {
    const alarm = new Alarm(world);
    world.wheel.schedule(alarm, i * 97);
    return alarm;
  });
  const far = new Alarm(world);
  world.wheel.schedule(far, 2_000_000);
  world.moveTo(1_000_000);
  assert(soon.every(({ firedAt }) => firedAt.length === 1));
  assertEquals([far.firedAt.length, world.wheel.size], [0, 1]);
  world.run(2_002_000);
  assertEquals(far.firedAt.length, 1);
});

Deno.test("timer wheel: does what a sorted list would do", () => {
  const operation = fc.oneof(
    fc.record({
      kind: fc.constant("schedule" as const),
      timer: fc.nat(9),
      ms: fc.oneof(fc.nat(300), fc.nat(5000), fc.nat(400_000)),
    }),
    fc.record({ kind: fc.constant("cancel" as const), timer: fc.nat(9) }),
    fc.record({
      kind: fc.constantFrom("jump" as const, "run" as const),
      ms: fc.oneof(fc.nat(300), fc.nat(5000), fc.nat(250_000)),
    }),
  );
  fc.assert(fc.property(fc.nat(1_000_000), fc.array(operation, { maxLength: 40 }), (startMs, operations) => {
    const world = new Clockwork(startMs);
    const alarms = Array.from({ length: 10 }, () => new Alarm(world));
    /** By timer: from when on it may be called, and when it must have been. */
    const model = new Map<Alarm, { fromMs: number; byMs: number }>();
    for (const operation of operations) {
      if (operation.kind === "schedule") {
        const alarm = alarms[operation.timer]!;
        world.wheel.schedule(alarm, operation.ms);
        const fromMs = world.nowMs + operation.ms;
        model.set(alarm, { fromMs, byMs: fromMs + mostLateMs(operation.ms) });
      } else if (operation.kind === "cancel") {
        world.wheel.cancel(alarms[operation.timer]!);
        model.delete(alarms[operation.timer]!);
      } else if (operation.kind === "jump") world.moveTo(world.nowMs + operation.ms);
      else world.run(world.nowMs + operation.ms);
      for (const alarm of alarms) {
        for (const firedAt of alarm.firedAt.splice(0)) {
          const due = model.get(alarm);
          assert(due !== undefined, "a timer was called that was not scheduled");
          assertGreaterOrEqual(firedAt, due.fromMs);
          if (operation.kind === "run") assertLessOrEqual(firedAt, due.byMs);
          model.delete(alarm);
        }
      }
      for (const { byMs } of model.values()) assertGreaterOrEqual(byMs, world.nowMs);
      assertEquals(world.wheel.size, model.size);
    }
  }));
});
