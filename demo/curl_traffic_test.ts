import { assertEquals } from "../tests/assert.ts";
import { parseFigures, refusalProblems } from "./curl_traffic.ts";

Deno.test("parseFigures: curl's figures, whatever else it says", () => {
  assertEquals(parseFigures("192.0.2.2 40000 91 82 20000000 0.067123\n"), {
    client: "192.0.2.2:40000",
    bytesUp: 91,
    bytesDown: 20_000_082,
    durationMs: 67.123,
  });
  assertEquals(
    parseFigures("curl: (18) transfer closed\n2001:db8:1::2 40000 96 82 5 1.0\n")?.client,
    "[2001:db8:1::2]:40000",
  );
});

Deno.test("parseFigures: none without a socket", () => {
  assertEquals(parseFigures("curl: (6) Could not resolve host\n 0 0 0 0 0.000000\n"), undefined);
  assertEquals(parseFigures(""), undefined);
});

Deno.test("refusalProblems: refused or reset, and at once", () => {
  for (const code of [7, 55, 56]) assertEquals(refusalProblems(code, 3, ""), []);
  assertEquals(refusalProblems(52, 3, "curl: (52) Empty reply from server\n"), [
    "client: curl exit code 52 found, a refusal (7) or a reset (55, 56) wanted: curl: (52) Empty reply from server",
  ]);
  assertEquals(refusalProblems(56, 1_500, ""), ["client: told after 1500 ms, less than 1000 wanted"]);
  assertEquals(refusalProblems(28, 5_000, "curl: (28) timed out").length, 2);
});
