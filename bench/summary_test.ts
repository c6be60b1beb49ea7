import { assertEquals, assertThrows } from "../tests/assert.ts";
import type { RoundResult } from "./rounds.ts";
import { median, summarize } from "./summary.ts";

Deno.test("median: of an odd and of an even number of values, in any order", () => {
  assertEquals(median([7]), 7);
  assertEquals(median([9, 1, 5]), 5);
  assertEquals(median([4, 1, 10, 2]), 3);
  assertThrows(() => median([]), RangeError);
});

function result(round: number, contestant: string, rate: number): RoundResult {
  return { round, measure: "bulk1", contestant, sample: { rate } };
}

Deno.test("summarize: the ratio is taken within each round, so a slow round does not move it", () => {
  const results = [
    ...[result(1, "reference", 10), result(1, "other", 11)],
    ...[result(2, "reference", 2), result(2, "other", 2.2)],
    ...[result(3, "other", 100)], // The reference failed in this round.
  ];
  const figure = summarize(results, "bulk1", { key: "rate" }, "other", "reference")!;
  assertEquals([figure.median, figure.min, figure.max], [11, 2.2, 100]);
  assertEquals(figure.ratio!.toFixed(6), "1.100000");
});

Deno.test("summarize: the reference has no ratio; who has no samples has no figure", () => {
  const results = [result(1, "reference", 10)];
  assertEquals(summarize(results, "bulk1", { key: "rate" }, "reference", "reference")?.ratio, undefined);
  assertEquals(summarize(results, "bulk1", { key: "rate" }, "other", "reference"), undefined);
  assertEquals(summarize(results, "bulk8", { key: "rate" }, "reference", "reference"), undefined);
});

Deno.test("summarize: what a relay adds is its figure less that of plain forwarding in the same round", () => {
  const results = [
    ...[result(1, "forwarding", 10), result(1, "reference", 30), result(1, "other", 40)],
    ...[result(2, "forwarding", 20), result(2, "reference", 30), result(2, "other", 35)],
    ...[result(3, "reference", 30), result(3, "other", 30)], // Forwarding failed in this round.
  ];
  const added = (name: string) =>
    summarize(results, "bulk1", { key: "added", addedTo: "rate" }, name, "reference");
  assertEquals([added("other")!.min, added("other")!.max, added("other")!.ratio], [15, 30, 1.5]);
  assertEquals(added("forwarding"), undefined);
});

Deno.test("summarize: each turn of a round has a ratio of its own", () => {
  const turn = (of: RoundResult, nth: number): RoundResult => ({ ...of, turn: nth });
  const results = [
    ...[turn(result(1, "reference", 10), 0), turn(result(1, "other", 20), 0)],
    ...[turn(result(1, "reference", 100), 1), turn(result(1, "other", 100), 1)],
    ...[turn(result(2, "reference", 1), 0), turn(result(2, "other", 5), 0)],
  ];
  assertEquals(summarize(results, "bulk1", { key: "rate" }, "other", "reference"), {
    median: 20,
    min: 5,
    max: 100,
    ratio: 2,
  });
});
