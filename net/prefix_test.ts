import fc from "fast-check";
import { assert, assertEquals } from "../tests/assert.ts";
import { addressBytes, addressFromBytes, parseAddress } from "./address.ts";
import { parsePrefix, prefixContains, prefixOf } from "./prefix.ts";

const address = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }),
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
).map(addressFromBytes);

Deno.test("parsePrefix: canonical text, host bits cleared", () => {
  const cases: [string, string | undefined][] = [
    ["192.0.2.0/24", "192.0.2.0/24"],
    ["192.0.2.77/24", "192.0.2.0/24"],
    ["192.0.2.77", "192.0.2.77/32"],
    ["192.0.2.255/25", "192.0.2.128/25"],
    ["203.0.113.9/0", "0.0.0.0/0"],
    ["2001:DB8::1/64", "2001:db8::/64"],
    ["2001:db8::1", "2001:db8::1/128"],
    ["2001:db8:ffff::/33", "2001:db8:8000::/33"],
    ["::/0", "::/0"],
    ["192.0.2.0/33", undefined],
    ["2001:db8::/129", undefined],
    ["192.0.2.0/024", undefined],
    ["192.0.2.0/", undefined],
    ["192.0.2.0/-1", undefined],
    ["192.0.2.0/24/8", undefined],
    ["192.0.2/24", undefined],
    ["/24", undefined],
    ["", undefined],
  ];
  for (const [text, wanted] of cases) assertEquals(parsePrefix(text)?.text, wanted, text);
});

Deno.test("prefixContains: by family and leading bits", () => {
  const cases: [string, string, boolean][] = [
    ["192.0.2.0/24", "192.0.2.255", true],
    ["192.0.2.0/24", "192.0.3.0", false],
    ["192.0.2.128/25", "192.0.2.127", false],
    ["0.0.0.0/0", "203.0.113.1", true],
    ["0.0.0.0/0", "2001:db8::1", false],
    ["::/0", "192.0.2.1", false],
    ["2001:db8::/33", "2001:db8:7fff::1", true],
    ["2001:db8::/33", "2001:db8:8000::1", false],
    ["192.0.2.1/32", "192.0.2.1", true],
  ];
  for (const [prefix, address, wanted] of cases) {
    assertEquals(
      prefixContains(parsePrefix(prefix)!, parseAddress(address)!),
      wanted,
      `${address} in ${prefix}`,
    );
  }
});

Deno.test("prefix: text and value undo each other, whatever the bits", () => {
  fc.assert(fc.property(address, fc.nat(128), (address, length) => {
    const prefix = prefixOf(address, Math.min(length, address.family === 4 ? 32 : 128));
    assertEquals(parsePrefix(prefix.text), prefix);
  }));
});

Deno.test("prefixContains: exactly the addresses that share the leading bits", () => {
  fc.assert(fc.property(address, fc.nat(127), fc.nat(127), (address, length, bit) => {
    const bits = address.family === 4 ? 32 : 128;
    const prefix = prefixOf(address, length % (bits + 1));
    assert(prefixContains(prefix, address));
    const flipped = addressBytes(address);
    const at = bit % bits;
    flipped[at >> 3] = flipped[at >> 3]! ^ (0x80 >> (at & 7));
    assertEquals(prefixContains(prefix, addressFromBytes(flipped)), at >= prefix.length);
  }));
});
