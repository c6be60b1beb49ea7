import { assertEquals } from "../tests/assert.ts";
import { addToSum, checksumOf } from "./internet_checksum.ts";

Deno.test("internet_checksum: the example of RFC 1071, section 3", () => {
  const bytes = Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7);
  assertEquals(checksumOf(addToSum(0, bytes, 0, 8)), ~0xddf2 & 0xffff);
});

Deno.test("internet_checksum: an odd last byte is the upper half of a word", () => {
  const bytes = Uint8Array.of(9, 0x12, 0x34, 0x56, 9);
  assertEquals(checksumOf(addToSum(0, bytes, 1, 3)), ~(0x1234 + 0x5600) & 0xffff);
  assertEquals(addToSum(5, bytes, 1, 0), 5);
});

Deno.test("internet_checksum: the largest datagram of the largest bytes does not overflow", () => {
  const bytes = new Uint8Array(65_535).fill(0xff);
  // 32,767 words of 0xffff, which is zero in one's complement, and 0xff00.
  assertEquals(checksumOf(addToSum(0, bytes, 0, 65_535)), 0x00ff);
  assertEquals(checksumOf(addToSum(0x3_0000, bytes, 0, 65_534)), ~3 & 0xffff);
});
