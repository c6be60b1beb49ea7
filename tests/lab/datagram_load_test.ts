import { Arena } from "../../ffi/mod.ts";
import { assert, assertEquals, assertGreater, assertLess } from "../assert.ts";
import { ANSWER, isWhole, loadBytes, REQUEST, SeenNumbers, writeLoad } from "./datagram_load.ts";

Deno.test("datagram load: any byte that is changed, and any length, is noticed", () => {
  const block = new Arena(1 << 17).allocate(1 << 16);
  for (let number = 0; number < 200; number++) {
    const bytes = writeLoad(block, REQUEST, 7, number);
    assert(isWhole(block, bytes), `${number}`);
    assert(!isWhole(block, bytes - 1), `${number} cut short`);
    for (const at of [0, 4, 8, 12, 16, bytes >> 1, bytes - 1]) {
      if (at >= bytes) continue;
      block.bytes[at]! ^= 0x10;
      assert(!isWhole(block, bytes), `${number}: byte ${at} of ${bytes}`);
      block.bytes[at]! ^= 0x10;
    }
  }
});

Deno.test("datagram load: lengths are mostly those of one packet, and reach the longest there is", () => {
  const lengths: number[] = [];
  for (let flow = 0; flow < 100; flow++) {
    for (let number = 0; number < 200; number++) lengths.push(loadBytes(ANSWER, flow, number));
  }
  const long = lengths.filter((length) => length > 1452).length;
  assertGreater(long, 40);
  assertLess(long, 160);
  assertEquals(Math.min(...lengths), 16);
  assertGreater(Math.max(...lengths), 60_000);
  assertLess(Math.max(...lengths), 65_508);
});

Deno.test("datagram load: a number that comes twice is noticed", () => {
  const seen = new SeenNumbers(100);
  assertEquals([seen.add(1, 99), seen.add(2, 99), seen.add(1, 98), seen.add(1, 99)], [
    true,
    true,
    true,
    false,
  ]);
});
