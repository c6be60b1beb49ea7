import { assert, assertEquals, assertThrows } from "../tests/assert.ts";
import { Arena } from "./arena.ts";

function addressOf(pointer: Deno.PointerValue): bigint {
  return Deno.UnsafePointer.value(pointer);
}

Deno.test("arena: blocks are zeroed, apart, and start at cache lines", () => {
  const arena = new Arena(1024);
  const blocks = [1, 64, 65, 4, 256].map((length) => arena.allocate(length));
  let end = 0;
  for (const block of blocks) {
    assert(block.bytes.every((byte) => byte === 0));
    assertEquals(Number(addressOf(block.pointer) & 63n), 0);
    assert(block.offset >= end);
    end = block.offset + block.length;
    block.bytes.fill(0xff);
  }
  assertEquals(blocks.map(({ bytes, words }) => [bytes.length, words.length]), [
    [1, 0],
    [64, 16],
    [65, 16],
    [4, 1],
    [256, 64],
  ]);
});

Deno.test("arena: what C sees at the pointer is what JavaScript sees in the block", () => {
  const arena = new Arena(256);
  arena.allocate(1);
  const block = arena.allocate(16);
  block.words.set([0x04030201, -1]);
  const seen = new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(block.pointer!, 16));
  assertEquals([...seen.subarray(0, 8)], [1, 2, 3, 4, 255, 255, 255, 255]);
  seen[15] = 9;
  assertEquals(block.bytes[15], 9);
  assertEquals(addressOf(arena.pointerAt(block.offset + 5)) - addressOf(block.pointer), 5n);
});

Deno.test("arena: its capacity can be had whole, and then no more", () => {
  const arena = new Arena(256);
  arena.allocate(192);
  arena.allocate(64);
  // Aligning the start may leave up to one cache line over.
  assertThrows(() => arena.allocate(65), RangeError, "arena: 65 bytes wanted");
  assertThrows(() => new Arena(128).allocate(193), RangeError);
});

Deno.test("arena: the halves of an address, as a struct holds them, make up the address", () => {
  const arena = new Arena(4096);
  for (const block of [arena.allocate(1), arena.allocate(3000)]) {
    const halves = BigInt.asUintN(32, BigInt(arena.addressHigh)) << 32n |
      BigInt.asUintN(32, BigInt(arena.addressLow(block.offset)));
    assertEquals(halves, addressOf(block.pointer));
    arena.words[block.offset >> 2] = 0x01020304;
    assertEquals(arena.bytes[block.offset], block.bytes[0]);
  }
});
