import fc from "fast-check";
import { assert, assertEquals } from "../tests/assert.ts";
import { makeAnswer, makeQuery } from "../tests/dns_world.ts";
import { findQuestionEnd, isAnswer, readId, writeId } from "./message.ts";

const bytes = (maxLength: number) => fc.uint8Array({ maxLength });
const label = fc.stringMatching(/^[a-zA-Z0-9-]{1,63}$/);
const name = fc.array(label, { maxLength: 4 }).map((labels) => labels.join("."));

Deno.test("dns message: the end of a question is within the message, whatever its bytes", () => {
  fc.assert(
    fc.property(bytes(300), fc.nat(20), (message, at) => {
      const padded = new Uint8Array(at + message.length);
      padded.set(message, at);
      const end = findQuestionEnd(padded, at, message.length);
      assert(end === -1 || (end >= 12 && end <= message.length));
      assertEquals(end, findQuestionEnd(message, 0, message.length));
    }),
    { numRuns: 2000 },
  );
});

Deno.test("dns message: any name's question is found whole, and a cut one is not", () => {
  fc.assert(
    fc.property(name.filter((text) => text !== ""), bytes(40), fc.nat(), (text, tail, cut) => {
      const query = makeQuery(1, text, { tail });
      const end = query.length - tail.length;
      assertEquals(findQuestionEnd(query, 0, query.length), end);
      assertEquals(findQuestionEnd(query, 0, cut % end), -1);
    }),
  );
});

Deno.test("dns message: what differs in one bit of the question, the kind or the count answers nothing", () => {
  const query = makeQuery(0x1234, "Www.example.org");
  const end = query.length;
  fc.assert(
    fc.property(fc.nat(8 * end - 1), bytes(40), (bit, data) => {
      const both = new Uint8Array(2 * end + data.length);
      const answer = makeAnswer(query, data);
      answer[bit >> 3]! ^= 1 << (bit & 7);
      both.set(query);
      both.set(answer, end);
      // Of the header only these bits are looked at; ids are compared elsewhere.
      const byte = bit >> 3;
      const matters = byte >= 12 || byte === 4 || byte === 5 || (byte === 2 && (0xf8 & 1 << (bit & 7)) !== 0);
      assertEquals(isAnswer(both, end, answer.length, 0, end), !matters);
    }),
    { numRuns: 1000 },
  );
});

Deno.test("dns message: an error without the question has no record but OPT", () => {
  const query = makeQuery(0x1234, "www.example.org");
  const header = (additional: number) => [0x12, 0x34, 0x80, 1, 0, 0, 0, 0, 0, 0, 0, additional];
  const record = (type: number) => [0, 0, type, 0, 1, 0, 0, 0, 0, 0, 0];
  const answers = (message: readonly number[]) =>
    isAnswer(Uint8Array.of(...query, ...message), query.length, message.length, 0, query.length);
  assertEquals(answers(header(0)), true);
  assertEquals(answers([...header(1), ...record(41)]), true);
  const others = [header(1), [...header(1), 0, 0], [...header(1), ...record(1)], [...header(1), 1, 0, 41, 0]];
  for (const message of others) assertEquals(answers(message), false, `${message}`);
  assertEquals(answers([...header(2), ...record(41), ...record(1)]), false);
  assertEquals(answers([...header(1).with(10, 1), ...record(41)]), false);
});

Deno.test("dns message: random bytes are compared within their length", () => {
  const query = makeQuery(1, "a.example");
  fc.assert(
    fc.property(bytes(60), (message) => {
      const all = new Uint8Array(query.length + message.length);
      all.set(query);
      all.set(message, query.length);
      const found = isAnswer(all, query.length, message.length, 0, query.length);
      assert(!found || message.length >= 12);
    }),
  );
});

Deno.test("dns message: an id comes back as it was written", () => {
  const message = makeQuery(0, "a.example");
  for (const id of [0, 1, 255, 256, 0x1234, 65_535]) {
    writeId(message, 0, id);
    assertEquals(readId(message, 0), id);
  }
});
