import { assertEquals } from "../tests/assert.ts";
import { formatIdRange, parseIdRange } from "./id_range.ts";
import { parseMac } from "./mac.ts";
import { formatMarkMatch, parseMarkMatch } from "./mark_match.ts";

Deno.test("parseIdRange: one id or a range, up to the last that the kernel gives", () => {
  const cases: [string, string | undefined][] = [
    ["0", "0"],
    ["1000", "1000"],
    ["1000-1999", "1000-1999"],
    ["1000-1000", "1000"],
    ["4294967294", "4294967294"],
    ["4294967295", undefined],
    ["2-1", undefined],
    ["007", undefined],
    ["1-", undefined],
    ["-1", undefined],
    ["www-data", undefined],
    ["", undefined],
  ];
  for (const [text, wanted] of cases) {
    const range = parseIdRange(text);
    assertEquals(range && formatIdRange(range), wanted, text);
  }
});

Deno.test("parseMarkMatch: decimal or hexadecimal, the whole mark unless a mask says otherwise", () => {
  const cases: [string, string | undefined][] = [
    ["1337", "0x539"],
    ["0xca6c", "0xca6c"],
    ["0XCA6C", "0xca6c"],
    ["0x80000/0xff0000", "0x80000/0xff0000"],
    ["1/255", "0x1/0xff"],
    ["0xffffffff/0xffffffff", "0xffffffff"],
    ["4294967296", undefined],
    ["0x100000000", undefined],
    ["0x", undefined],
    ["1/", undefined],
    ["/1", undefined],
    ["-1", undefined],
    ["ca6c", undefined],
  ];
  for (const [text, wanted] of cases) {
    const mark = parseMarkMatch(text);
    assertEquals(mark && formatMarkMatch(mark), wanted, text);
  }
});

Deno.test("parseMac: addresses that a frame can come from, in lower case", () => {
  const cases: [string, string | undefined][] = [
    ["02:00:5E:10:00:01", "02:00:5e:10:00:01"],
    ["fe:ff:ff:ff:ff:ff", "fe:ff:ff:ff:ff:ff"],
    ["ff:ff:ff:ff:ff:ff", undefined],
    ["01:00:5e:00:00:01", undefined],
    ["00:00:00:00:00:00", undefined],
    ["02-00-5e-10-00-01", undefined],
    ["02:00:5e:10:00", undefined],
    ["2:0:5e:10:0:1", undefined],
  ];
  for (const [text, wanted] of cases) assertEquals(parseMac(text), wanted, text);
});
