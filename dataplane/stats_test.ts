import { assertEquals } from "../tests/assert.ts";
import { COUNTERS, counterSlot, STATS_BYTES, sumCounters } from "./stats.ts";

Deno.test("stats: every counter has a slot of its own within a block", () => {
  const slots = COUNTERS.map(counterSlot);
  assertEquals(slots, COUNTERS.map((_, i) => i));
  assertEquals(new Set(COUNTERS).size, COUNTERS.length);
  assertEquals(STATS_BYTES, COUNTERS.length * 8);
});

Deno.test("stats: the sum over workers, by name, beyond 2^32", () => {
  const blocks = [1, 2, 3].map((worker) => {
    const block = new SharedArrayBuffer(STATS_BYTES);
    const values = new Float64Array(block);
    values[counterSlot("tcpBytesUp")] = worker * 2 ** 40;
    values[counterSlot("tcpOpenNow")] = worker;
    return block;
  });
  const sum = sumCounters(blocks);
  assertEquals([sum.tcpBytesUp, sum.tcpOpenNow, sum.tcpAccepted], [6 * 2 ** 40, 6, 0]);
  assertEquals(Object.keys(sum), [...COUNTERS]);
  assertEquals(sumCounters([]).tcpBytesUp, 0);
});
