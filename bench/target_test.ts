import { assertEquals, assertThrows } from "../tests/assert.ts";
import type { RoundResult } from "./rounds.ts";
import type { Suite } from "./suite.ts";
import { SUITES } from "./suites.ts";
import { absolute, judge, ratio, type Target } from "./target.ts";

function suiteWith(targets: readonly Target[]): Suite {
  const better = { rate: "more", wait: "less" } as const;
  const metrics = (["rate", "wait"] as const).map((key) => ({
    key,
    title: key,
    digits: 0,
    better: better[key],
  }));
  const measures = ["a", "b"].map((name) => ({
    name,
    metrics,
    appliesToForwarding: true,
    run: () => Promise.resolve({}),
  }));
  return { ...SUITES[0]!, reference: "reference", judged: "ours", measures, targets };
}

function results(of: Record<string, { rate: number; wait: number }>): RoundResult[] {
  return ["reference", "ours"].flatMap((contestant) =>
    Object.entries(of).map(([measure, sample]) => ({
      round: 1,
      measure,
      contestant,
      sample: contestant === "ours" ? sample : { rate: 100, wait: 100 },
    }))
  );
}

Deno.test("judge: more has to reach the bound, less has not to pass it", () => {
  const suite = suiteWith([
    ratio("rate ≥ 1", ["a", "b"], "rate", 0.97),
    ratio("wait ≤ 1.1", ["a"], "wait", 1.1),
  ]);
  const good = judge(suite, results({ a: { rate: 97, wait: 110 }, b: { rate: 200, wait: 0 } }));
  assertEquals(good, [
    { title: "rate ≥ 1", found: "0.97 to 2", verdict: "met" },
    { title: "wait ≤ 1.1", found: "1.1", verdict: "met" },
  ]);
  const bad = judge(suite, results({ a: { rate: 97, wait: 111 }, b: { rate: 96, wait: 0 } }));
  assertEquals(bad.map(({ verdict }) => verdict), ["**missed**: b 0.96", "**missed**: a 1.11"]);
});

Deno.test("judge: a target for the figure itself; one that was not measured is left out", () => {
  const suite = suiteWith([absolute("wait ≤ 50", "a", "wait", 50), absolute("rate ≥ 1", "b", "rate", 1)]);
  assertEquals(judge(suite, results({ a: { rate: 1, wait: 51 } })), [
    { title: "wait ≤ 50", found: "51", verdict: "**missed**: a 51" },
  ]);
});

Deno.test("judge: a target may be about others than the suite's", () => {
  const backwards = { judged: "reference", reference: "ours" };
  const suite = suiteWith([ratio("rate ≥ 0.9", ["a"], "rate", 0.9, backwards)]);
  assertEquals(judge(suite, results({ a: { rate: 125, wait: 1 } })), [
    { title: "rate ≥ 0.9", found: "0.8", verdict: "**missed**: a 0.8" },
  ]);
});

Deno.test("judge: a target names a measure and a metric that exist", () => {
  for (const suite of SUITES) assertEquals(judge(suite, []), []);
  for (const target of [ratio("", ["c"], "rate", 1), ratio("", ["a"], "size", 1)]) {
    assertThrows(() => judge(suiteWith([target]), []), RangeError);
  }
});
