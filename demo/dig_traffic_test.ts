import { assertEquals } from "../tests/assert.ts";
import { digProblems, parseDig } from "./dig_traffic.ts";

const PRINTED = `;; Sending:
;; QUESTION SECTION:
;demo.example.			IN	A

;; QUERY SIZE: 53

;; Got answer:
;; QUESTION SECTION:
;demo.example.			IN	A

;; ANSWER SECTION:
demo.example.		60	IN	A	192.0.2.80

;; Query time: 4 msec
;; MSG SIZE  rcvd: 46
`;

Deno.test("parseDig: dig's figures and the first record of the answer", () => {
  assertEquals(parseDig(PRINTED), {
    bytesUp: 53,
    bytesDown: 46,
    durationMs: 4,
    answer: "demo.example. A 192.0.2.80",
  });
});

Deno.test("parseDig: a query without an answer", () => {
  const printed = PRINTED.slice(0, PRINTED.indexOf(";; Got")) + ";; no servers could be reached\n";
  assertEquals(parseDig(printed), { bytesUp: 53, bytesDown: 0, durationMs: 0, answer: undefined });
});

Deno.test("digProblems: the address asked for, and no complaint", () => {
  const wanted = "demo.example. A 192.0.2.80";
  assertEquals(digProblems(0, wanted, wanted), []);
  assertEquals(digProblems(9, undefined, wanted), [
    `client: dig exit code 9 and no answer found, ${wanted} wanted`,
  ]);
  assertEquals(digProblems(0, "demo.example. A 192.0.2.81", wanted).length, 1);
});
