import { assert, assertEquals, assertNotEquals } from "../assert.ts";
import { createHash } from "node:crypto";
import { RaggedSizes, SeededBytes, seededSha256 } from "./seeded_bytes.ts";

Deno.test("SeededBytes: the pieces do not change the bytes", () => {
  const bytes = 300_001;
  const sizes = new RaggedSizes(7);
  const source = new SeededBytes(3);
  const hash = createHash("sha256");
  for (let left = bytes; left > 0;) {
    const piece = source.next(Math.min(left, sizes.next()));
    hash.update(piece);
    left -= piece.length;
  }
  assertEquals(hash.digest("hex"), seededSha256(3, bytes));
});

Deno.test("SeededBytes: another seed, other bytes; no two blocks alike", () => {
  assertNotEquals(seededSha256(0, 1000), seededSha256(1, 1000));
  const source = new SeededBytes(-1);
  const first = source.next(65536).slice();
  assertNotEquals(source.next(65536).join(), first.join());
});

Deno.test("RaggedSizes: from single bytes to 64 KiB", () => {
  const sizes = new RaggedSizes(1);
  const drawn = Array.from({ length: 5000 }, () => sizes.next());
  assertEquals([Math.min(...drawn), drawn.every((size) => size <= 65536)], [1, true]);
  assert(drawn.some((size) => size > 32768));
});
