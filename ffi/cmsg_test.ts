import fc from "fast-check";
import { assert, assertEquals, assertLessOrEqual, assertThrows } from "../tests/assert.ts";
import { Arena } from "./arena.ts";
import { CmsgEncoder, CMSGHDR_BYTES, CmsgIterator, cmsgSpace } from "./cmsg.ts";
import { SOL_IP, SOL_IPV6 } from "./constants.ts";

interface Message {
  readonly level: number;
  readonly type: number;
  readonly data: number[];
}

const messages = fc.array(
  fc.record({
    level: fc.constantFrom(SOL_IP, SOL_IPV6, 1, -1),
    type: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
    data: fc.array(fc.nat(255), { maxLength: 40 }),
  }),
  { maxLength: 8 },
);

function read(iterator: CmsgIterator, bytes: Uint8Array, at: number, length: number): Message[] {
  iterator.start(at, length);
  const found: Message[] = [];
  while (iterator.next()) {
    const { level, type, dataAt, dataLength } = iterator;
    // A message lies within its buffer, and there are no more of them than fit.
    assert(dataAt >= at + CMSGHDR_BYTES && dataLength >= 0);
    assertLessOrEqual(dataAt + dataLength, at + length);
    found.push({ level, type, data: [...bytes.subarray(dataAt, dataAt + dataLength)] });
    assertLessOrEqual(found.length, length / CMSGHDR_BYTES);
  }
  assertEquals(iterator.next(), false);
  return found;
}

Deno.test("cmsgSpace: CMSG_SPACE of the kernel's own headers", () => {
  assertEquals([0, 1, 4, 8, 12, 16, 20, 28].map(cmsgSpace), [16, 24, 24, 24, 32, 32, 40, 48]);
});

Deno.test("cmsg: the bytes of one IP_TOS message", () => {
  const block = new Arena(256).allocate(64);
  block.bytes.fill(0xee);
  const encoder = new CmsgEncoder(block);
  encoder.start(8, 48);
  const at = encoder.push(SOL_IP, 1, 4);
  block.words[at >> 2] = 0x10;
  assertEquals([at, encoder.length], [24, 24]);
  assertEquals([...block.bytes.subarray(8, 32)], [
    ...[20, 0, 0, 0, 0, 0, 0, 0],
    ...[0, 0, 0, 0, 1, 0, 0, 0],
    ...[0x10, 0, 0, 0, 0, 0, 0, 0],
  ]);
  assertEquals([block.bytes[7], block.bytes[32]], [0xee, 0xee]);
});

Deno.test("cmsg: what is encoded is what is read, anywhere in a block", () => {
  const block = new Arena(4096).allocate(2048);
  const encoder = new CmsgEncoder(block), iterator = new CmsgIterator(block);
  fc.assert(fc.property(messages, fc.nat(100), (wanted, slot) => {
    const at = slot * 8;
    encoder.start(at, 1024);
    for (const { level, type, data } of wanted) block.bytes.set(data, encoder.push(level, type, data.length));
    assertEquals(read(iterator, block.bytes, at, encoder.length), wanted);
  }));
});

Deno.test("cmsg: a buffer cut off anywhere yields whole messages, in order, and then ends", () => {
  const block = new Arena(4096).allocate(1024);
  const encoder = new CmsgEncoder(block), iterator = new CmsgIterator(block);
  fc.assert(fc.property(messages, fc.nat(1024), (wanted, cut) => {
    encoder.start(0, 1024);
    for (const { level, type, data } of wanted) block.bytes.set(data, encoder.push(level, type, data.length));
    const found = read(iterator, block.bytes, 0, Math.min(cut, encoder.length));
    assertEquals(found, wanted.slice(0, found.length));
    // Every message that lies before the cut is found.
    let end = 0, whole = 0;
    for (const { data } of wanted) {
      if (end + CMSGHDR_BYTES + data.length <= cut) whole++;
      end += cmsgSpace(data.length);
    }
    assertEquals(found.length, whole);
  }));
});

Deno.test("cmsg: lengths that lie lead nowhere outside the buffer", () => {
  const block = new Arena(4096).allocate(512);
  const iterator = new CmsgIterator(block);
  const word = fc.oneof(fc.constantFrom(0, 1, 15, 16, 17, 24, -1, 2 ** 31 - 1), fc.nat(300), fc.integer());
  fc.assert(
    fc.property(fc.array(word, { maxLength: 120 }), fc.nat(512), (words, length) => {
      block.words.fill(0);
      block.words.set(words);
      read(iterator, block.bytes, 0, length);
    }),
    { numRuns: 500 },
  );
});

Deno.test("cmsg: a size_t above 4 GiB is not read as its lower half", () => {
  const block = new Arena(256).allocate(64);
  block.words.set([24, 1, SOL_IP, 1]);
  assertEquals(read(new CmsgIterator(block), block.bytes, 0, 64), []);
});

Deno.test("cmsg: a full buffer, a crooked one and one past the end are refused", () => {
  const block = new Arena(256).allocate(64);
  const encoder = new CmsgEncoder(block), iterator = new CmsgIterator(block);
  encoder.start(0, 39);
  encoder.push(SOL_IP, 1, 8);
  assertThrows(() => encoder.push(SOL_IP, 1, 0), RangeError, "16 bytes wanted, 15 left");
  assertThrows(() => encoder.start(4, 16), RangeError, "a multiple of 8");
  assertThrows(() => encoder.start(56, 16), RangeError);
  assertThrows(() => iterator.start(0, 65), RangeError);
  assertThrows(() => iterator.start(-8, 16), RangeError);
  const memory = new ArrayBuffer(64);
  const crooked = { length: 32, bytes: new Uint8Array(memory, 4, 32), words: new Int32Array(memory, 4, 8) };
  assertThrows(() => new CmsgIterator(crooked), RangeError, "offset 4 found");
});
