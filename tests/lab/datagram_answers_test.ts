import { assertEquals } from "../assert.ts";
import { answerQuery, answerStatus, parseStatus, STATUS_REQUEST } from "./datagram_answers.ts";

const ADDRESSES = { v4: "192.0.2.80", v6: "2001:db8::80" };

/** A query for `a.b`, with four more bytes where EDNS would be. */
function query(type: number): Uint8Array {
  const header = [0x12, 0x34, 0x01, 0x20, 0, 1, 0, 0, 0, 0, 0, 1];
  return new Uint8Array([...header, 1, 0x61, 1, 0x62, 0, 0, type, 0, 1, 9, 9, 9, 9]);
}

Deno.test("answerQuery: the number and the question of the query, and one record", () => {
  const question = [1, 0x61, 1, 0x62, 0, 0, 1, 0, 1];
  assertEquals(
    [...answerQuery(query(1), ADDRESSES)!],
    [
      ...[0x12, 0x34, 0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 0],
      ...question,
      ...[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 80],
    ],
  );
  const v6 = answerQuery(query(28), ADDRESSES)!;
  assertEquals([...v6.slice(-18)], [0, 16, 0x20, 0x01, 0x0d, 0xb8, ...Array(11).fill(0), 0x80]);
});

Deno.test("answerQuery: no record of another type, no answer to what is no query", () => {
  const none = answerQuery(query(16), ADDRESSES)!;
  assertEquals([none.length, none[7]], [12 + 9, 0]);
  const response = query(1);
  response[2] = 0x81;
  for (const bytes of [response, query(1).slice(0, 18), new Uint8Array(5), new Uint8Array(12)]) {
    assertEquals(answerQuery(bytes, ADDRESSES), undefined);
  }
});

Deno.test("answerStatus: keys and values to a status request alone, and back", () => {
  const status = { hostname: "a game", numplayers: "3" };
  const answer = answerStatus(STATUS_REQUEST, status)!;
  assertEquals(answer, "\\hostname\\a game\\numplayers\\3\\final\\\\queryid\\1.1");
  assertEquals(parseStatus(answer), status);
  assertEquals(answerStatus("\\info\\", status), undefined);
  assertEquals(parseStatus("\\hostname\\a game\\numpl"), undefined);
});
