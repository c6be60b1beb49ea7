import fc from "fast-check";
import { assert, assertEquals } from "../tests/assert.ts";
import {
  containsPort,
  formatPortRange,
  mergePortRanges,
  parsePortRange,
  type PortRange,
} from "./port_range.ts";

const range = fc.tuple(fc.integer({ min: 1, max: 200 }), fc.nat(40)).map(([first, more]): PortRange => ({
  first,
  last: first + more,
}));

Deno.test("parsePortRange: a port or two, the second not below the first", () => {
  const cases: [string, string | undefined][] = [
    ["53", "53"],
    ["1-65535", "1-65535"],
    ["1000-2000", "1000-2000"],
    ["7-7", "7"],
    ["0", undefined],
    ["0-10", undefined],
    ["65536", undefined],
    ["2000-1000", undefined],
    ["1000-", undefined],
    ["-53", undefined],
    ["053", undefined],
    ["1-2-3", undefined],
    ["53 ", undefined],
    ["dns", undefined],
    ["", undefined],
  ];
  for (const [text, wanted] of cases) {
    const range = parsePortRange(text);
    assertEquals(range && formatPortRange(range), wanted, text);
  }
});

Deno.test("mergePortRanges: the same ports, in order, with a gap between any two ranges", () => {
  fc.assert(fc.property(fc.array(range, { maxLength: 12 }), (ranges) => {
    const merged = mergePortRanges(ranges);
    for (let port = 0; port <= 250; port++) {
      assertEquals(containsPort(merged, port), containsPort(ranges, port), `${port}`);
    }
    merged.forEach(({ first }, i) => assert(i === 0 || first > merged[i - 1]!.last + 1));
  }));
});
