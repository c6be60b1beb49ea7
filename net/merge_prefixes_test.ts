import fc from "fast-check";
import { assert, assertEquals } from "../tests/assert.ts";
import { addressBytes, addressFromBytes, type IpFamily, parseAddress } from "./address.ts";
import { mergePrefixes } from "./merge_prefixes.ts";
import { parsePrefix, type Prefix, prefixContains, prefixOf } from "./prefix.ts";

function merge(...texts: string[]): string[] {
  return mergePrefixes(texts.map((text) => parsePrefix(text)!)).map(({ text }) => text);
}

Deno.test("mergePrefixes: what overlaps or makes up a larger prefix becomes one", () => {
  const cases: [string[], string[]][] = [
    [[], []],
    [["192.0.2.1", "192.0.2.1"], ["192.0.2.1/32"]],
    [["192.0.2.0/25", "192.0.2.128/25"], ["192.0.2.0/24"]],
    [["192.0.2.128/25", "192.0.2.0/26", "192.0.2.64/26"], ["192.0.2.0/24"]],
    [["192.0.2.0/24", "192.0.2.77/32", "192.0.2.0/25"], ["192.0.2.0/24"]],
    // Neighbours, but no prefix holds just the two.
    [["192.0.2.64/26", "192.0.2.128/26"], ["192.0.2.64/26", "192.0.2.128/26"]],
    [["203.0.113.0/24", "192.0.2.0/24"], ["192.0.2.0/24", "203.0.113.0/24"]],
    [["128.0.0.0/1", "0.0.0.0/1"], ["0.0.0.0/0"]],
    [["::/1", "8000::/1", "0.0.0.0/0"], ["0.0.0.0/0", "::/0"]],
    [["2001:db8:8000::/33", "192.0.2.1", "2001:db8::/33"], ["192.0.2.1/32", "2001:db8::/32"]],
    [["2001:db8::1", "2001:db8::"], ["2001:db8::/127"]],
    [["255.255.255.255", "255.255.255.254"], ["255.255.255.254/31"]],
  ];
  for (const [given, wanted] of cases) assertEquals(merge(...given), wanted, given.join());
});

/** Prefixes of the last six bits of a family: few enough addresses to look at each, so that they meet often. */
const crowd = fc.record({
  family: fc.constantFrom<IpFamily>(4, 6),
  ends: fc.array(fc.tuple(fc.nat(63), fc.nat(6)), { maxLength: 40 }),
});

function inCrowd(family: IpFamily, last: number) {
  const bytes = addressBytes(parseAddress(family === 4 ? "192.0.2.0" : "2001:db8::")!);
  bytes[bytes.length - 1] = last;
  return addressFromBytes(bytes);
}

Deno.test("mergePrefixes: the same addresses as before, and no fewer prefixes could hold them", () => {
  fc.assert(
    fc.property(crowd, ({ family, ends }) => {
      const bits = family === 4 ? 32 : 128;
      const given = ends.map(([last, free]) => prefixOf(inCrowd(family, last), bits - free));
      const merged = mergePrefixes(given);
      const holds = (prefixes: readonly Prefix[]) =>
        Array.from({ length: 64 }, (_, i) => prefixes.some((one) => prefixContains(one, inCrowd(family, i))));
      assertEquals(holds(merged), holds(given));
      assertEquals(merged.map(({ text }) => text), naiveMerge(holds(given), family));
    }),
    { numRuns: 500 },
  );
});

/** From the bottom up: whole blocks of 64, then of 32 outside them, and so on. */
function naiveMerge(held: boolean[], family: IpFamily): string[] {
  const left = [...held];
  const found: [number, string][] = [];
  for (let free = 6; free >= 0; free--) {
    for (let first = 0; first < 64; first += 2 ** free) {
      if (!left.slice(first, first + 2 ** free).every((one) => one)) continue;
      left.fill(false, first, first + 2 ** free);
      found.push([first, prefixOf(inCrowd(family, first), (family === 4 ? 32 : 128) - free).text]);
    }
  }
  return found.sort(([a], [b]) => a - b).map(([, text]) => text);
}

Deno.test("mergePrefixes: whatever the order, and no change the second time", () => {
  const prefix = fc.tuple(
    fc.oneof(
      fc.uint8Array({ minLength: 4, maxLength: 4 }),
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
    ),
    fc.nat(128),
  ).map(([bytes, length]) => prefixOf(addressFromBytes(bytes), Math.min(length, 8 * bytes.length)));
  fc.assert(fc.property(fc.array(prefix), (prefixes) => {
    const merged = mergePrefixes(prefixes);
    assertEquals(mergePrefixes(prefixes.toReversed()), merged);
    assertEquals(mergePrefixes(merged), merged);
    for (const one of merged) assertEquals(parsePrefix(one.text), one);
  }));
});

Deno.test("mergePrefixes: a hundred thousand in a moment", () => {
  const prefixes = Array.from(
    { length: 100_000 },
    (_, i) => prefixOf(addressFromBytes(new Uint8Array([20 + (i >> 16), i >> 8, i, i % 7])), 32),
  );
  const since = performance.now();
  assertEquals(mergePrefixes(prefixes).length, 100_000);
  // A tenth of it on an idle machine; something quadratic would take minutes.
  assert(performance.now() - since < 3_000);
});
