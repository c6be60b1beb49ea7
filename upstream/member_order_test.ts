import { assertEquals, assertLessOrEqual } from "../tests/assert.ts";
import { healthBytes, HealthState } from "./health_state.ts";
import { type Order, orderOf } from "./member_order.ts";
import type { GroupSettings } from "./settings.ts";

const COOL_DOWN_MS = 10_000;

/** A group's state, and the order of its flows. The clock stands at 1 unless a test says otherwise. */
function group(kind: GroupSettings["kind"], members: number, isChecked = true) {
  const limits = { rise: 1, fall: 1, coolDownMs: COOL_DOWN_MS };
  const state = new HealthState(new SharedArrayBuffer(healthBytes(members)), limits);
  const all = Array.from({ length: members }, (_, i) => i);
  const source = { state, service: "streams", members: all, isChecked: () => isChecked } as const;
  return { state, order: orderOf(kind, source) };
}

const walk = (order: Order, nowMs = 1): number[] => [...order(nowMs)];
const first = (order: Order, nowMs = 1): number => {
  for (const member of order(nowMs)) return member;
  return -1;
};

Deno.test("order, failover: as configured, without those that are down", () => {
  const { state, order } = group("failover", 3);
  assertEquals(walk(order), [0, 1, 2]);
  state.fail(0, 1);
  assertEquals(walk(order), [1, 2]);
  state.fail(1, 1);
  state.fail(2, 1);
  assertEquals(walk(order), []);
  // However long: checks find out.
  assertEquals(walk(order, 10 * COOL_DOWN_MS), []);
  state.succeed(1, 1);
  state.succeed(0, 1);
  assertEquals(walk(order), [0, 1]);
});

Deno.test("order, failover: what goes down on the way is not tried any more", () => {
  const { state, order } = group("failover", 3);
  const seen: number[] = [];
  for (const member of order(1)) {
    seen.push(member);
    state.fail(1, 1);
  }
  assertEquals(seen, [0, 2]);
});

Deno.test("order: without checks, a member that is down is tried by one flow when it has cooled down", () => {
  for (const kind of ["failover", "round-robin", "least-latency"] as const) {
    const { state, order } = group(kind, 2, false);
    // Measured, so that no flow has to.
    for (const member of [0, 1]) state.measure(member, 10, 1);
    state.fail(0, 1);
    state.measure(1, 10, 1);
    assertEquals(walk(order, COOL_DOWN_MS - 1), [1], kind);
    state.measure(1, 10, COOL_DOWN_MS + 1);
    assertEquals(walk(order, COOL_DOWN_MS + 1).toSorted(), [0, 1], kind);
    assertEquals(walk(order, COOL_DOWN_MS + 2), [1], kind);
  }
});

Deno.test("order, round-robin: each in turn, and equally when one is down", () => {
  const { state, order } = group("round-robin", 3);
  assertEquals([walk(order), walk(order), walk(order)], [[0, 1, 2], [1, 2, 0], [2, 0, 1]]);
  state.fail(1, 1);
  const counts = [0, 0, 0];
  for (let i = 0; i < 100; i++) counts[first(order)]!++;
  assertEquals(counts, [50, 0, 50]);
  state.fail(0, 1);
  state.fail(2, 1);
  assertEquals(walk(order), []);
});

Deno.test("order, least-latency: stays with one until another is better by a fifth and by 5 ms", () => {
  const { state, order } = group("least-latency", 3);
  const settle = (member: number, ms: number) => {
    for (let i = 0; i < 100; i++) state.measure(member, ms, 1);
  };
  assertEquals(walk(order), [0, 1, 2]);
  settle(0, 100);
  settle(1, 81);
  settle(2, 120);
  assertEquals(walk(order), [0, 1, 2]);
  settle(1, 79);
  assertEquals(walk(order), [1, 0, 2]);
  // Back and forth around the same value moves nothing.
  let moves = 0, before = 1;
  for (let i = 0; i < 200; i++) {
    state.measure(0, i % 2 === 0 ? 70 : 90, 1);
    state.measure(1, i % 2 === 0 ? 90 : 70, 1);
    const now = first(order);
    if (now !== before) moves++;
    before = now;
  }
  assertLessOrEqual(moves, 1);
  // A fifth of little is nothing.
  settle(0, 4);
  settle(1, 8);
  settle(before, 8);
  settle(1 - before, 4);
  assertEquals(first(order), before);
  state.fail(before, 1);
  assertEquals(walk(order), [1 - before, 2]);
  // It is back, and not measured yet.
  state.succeed(before, 1);
  assertEquals(first(order), 1 - before);
});

Deno.test("order, least-latency: without checks, one flow at a time measures the members that others do not use", () => {
  const { state, order } = group("least-latency", 3, false);
  assertEquals(first(order, 1), 1);
  assertEquals(first(order, 1), 2);
  assertEquals(first(order, 1), 0);
  state.measure(0, 50, 1);
  state.measure(1, 20, 1);
  assertEquals(first(order, 2), 1);
  const later = COOL_DOWN_MS + 1;
  assertEquals([first(order, later), first(order, later), first(order, later)], [0, 2, 1]);
});
