import fc from "fast-check";
import { assert, assertEquals } from "../tests/assert.ts";
import { parsePrefixList } from "./prefix_list.ts";

Deno.test("parsePrefixList: prefixes and addresses, comments, blank lines, CR LF, byte order mark", () => {
  const text =
    "\uFEFF# offices\r\n192.0.2.0/24\r\n\r\n  203.0.113.7 # the printer\n2001:DB8::/32\n#192.0.2.0/99\n198.51.100.77/24";
  assertEquals(parsePrefixList(text), {
    prefixes: [
      { family: 4, text: "192.0.2.0/24", length: 24 },
      { family: 4, text: "203.0.113.7/32", length: 32 },
      { family: 6, text: "2001:db8::/32", length: 32 },
      { family: 4, text: "198.51.100.0/24", length: 24 },
    ],
  });
  assertEquals(parsePrefixList(""), { prefixes: [] });
  assertEquals(parsePrefixList("\n \t\r\n# nothing"), { prefixes: [] });
});

Deno.test("parsePrefixList: one bad line and nothing of the list is there", () => {
  assertEquals(parsePrefixList("192.0.2.0/24\n\n192.0.2.0/33 # too long\n203.0.113.0/24\nexample.org\r\n"), {
    badLines: [{ line: 3, found: "192.0.2.0/33" }, { line: 5, found: "example.org" }],
    badCount: 2,
  });
  assertEquals(parsePrefixList("192.0.2.1 192.0.2.2"), {
    badLines: [{ line: 1, found: "192.0.2.1 192.0.2.2" }],
    badCount: 1,
  });
});

Deno.test("parsePrefixList: of many bad lines the first ten are named, each cut short", () => {
  const list = parsePrefixList(Array.from({ length: 25 }, (_, i) => `x${i}${"y".repeat(100)}`).join("\n"));
  assert("badLines" in list);
  assertEquals(list.badCount, 25);
  assertEquals(list.badLines.map(({ line }) => line), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  assertEquals(list.badLines.map(({ found }) => found.length), Array(10).fill(61));
});

Deno.test("parsePrefixList: any text is either a list or has bad lines with their right numbers", () => {
  const line = fc.oneof(fc.constantFrom("192.0.2.0/24", "::1", "", "# x", "192.0.2.300"), fc.string());
  fc.assert(fc.property(fc.array(line, { maxLength: 30 }), (lines) => {
    const text = lines.map((one) => one.replaceAll("\n", "")).join("\n");
    const list = parsePrefixList(text);
    if ("prefixes" in list) return;
    const written = text.replace(/^\uFEFF/, "").split("\n");
    for (const { line, found } of list.badLines) assert(written[line - 1]!.includes(found.replace(/…$/, "")));
    assert(list.badCount >= list.badLines.length && list.badLines.length > 0);
  }));
});

Deno.test("parsePrefixList: a hundred thousand lines in a moment", () => {
  const text = Array.from({ length: 100_000 }, (_, i) => `20.${i >> 16}.${i >> 8 & 255}.${i & 255}/32`).join(
    "\n",
  );
  const since = performance.now();
  const list = parsePrefixList(text);
  // A tenth of it on an idle machine.
  assert(performance.now() - since < 2_000);
  assert("prefixes" in list && list.prefixes.length === 100_000);
});
