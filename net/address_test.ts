import { isIP } from "node:net";
import fc from "fast-check";
import { assertEquals } from "../tests/assert.ts";
import { addressBytes, addressFromBytes, parseAddress, unmapV4 } from "./address.ts";

Deno.test("parseAddress: canonical text (RFC 5952)", () => {
  const cases: [string, string | undefined][] = [
    ["192.0.2.1", "192.0.2.1"],
    ["0.0.0.0", "0.0.0.0"],
    ["192.0.2.256", undefined],
    ["192.0.2.01", undefined],
    ["192.0.2", undefined],
    ["", undefined],
    ["::", "::"],
    ["::1", "::1"],
    ["2001:DB8:0:0:0:0:0:1", "2001:db8::1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
    ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
    ["::ffff:192.0.2.1", "::ffff:192.0.2.1"],
    ["::ffff:c000:201", "::ffff:192.0.2.1"],
    ["64:ff9b::192.0.2.33", "64:ff9b::c000:221"],
    ["1:2:3:4:5:6:7:8:9", undefined],
    ["1:2:3:4:5:6:7", undefined],
    ["1::2::3", undefined],
    ["::1:2:3:4:5:6:7:8", undefined],
    [":1", undefined],
    ["1:", undefined],
    ["fe80::1%eth0", undefined],
    ["192.0.2.1::", undefined],
    ["12345::", undefined],
  ];
  for (const [text, wanted] of cases) assertEquals(parseAddress(text)?.text, wanted, text);
});

Deno.test("addressBytes and addressFromBytes undo each other", () => {
  for (const text of ["198.51.100.7", "::", "2001:db8::1", "ff02::1:2", "::ffff:192.0.2.1", "1::"]) {
    assertEquals(addressFromBytes(addressBytes(parseAddress(text)!)).text, text);
  }
});

Deno.test("unmapV4: only v4-mapped addresses change", () => {
  assertEquals(unmapV4(parseAddress("::ffff:192.0.2.1")!), { family: 4, text: "192.0.2.1" });
  assertEquals(unmapV4(parseAddress("::192.0.2.1")!).family, 6);
  assertEquals(unmapV4(parseAddress("2001:db8::1")!).text, "2001:db8::1");
});

Deno.test("address: bytes and text undo each other, as Node's own parser reads them", () => {
  const bytes = fc.oneof(
    fc.uint8Array({ minLength: 4, maxLength: 4 }),
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
    // Runs of zeros, which random bytes hardly have.
    fc.array(fc.constantFrom(0, 0, 0, 1, 255), { minLength: 16, maxLength: 16 }).map((each) =>
      Uint8Array.from(each)
    ),
  );
  fc.assert(fc.property(bytes, (bytes) => {
    const address = addressFromBytes(bytes);
    assertEquals(isIP(address.text), address.family);
    assertEquals(addressBytes(address), bytes);
    assertEquals(parseAddress(address.text), address);
    assertEquals(parseAddress(address.text.toUpperCase()), address);
  }));
});

Deno.test("parseAddress: takes what Node's own parser takes, zones aside", () => {
  const text = fc.oneof(
    fc.string({ unit: fc.constantFrom(..."0123456789abcdefABCDEF:."), maxLength: 40 }),
    fc.array(fc.constantFrom("0", "1", "db8", "ffff", "", "192.0.2.1", "00001", "g"), { maxLength: 9 }).map((
      each,
    ) => each.join(":")),
  );
  fc.assert(fc.property(text, (text) => assertEquals(parseAddress(text)?.family ?? 0, isIP(text), text)), {
    numRuns: 2000,
  });
});
