import fc from "fast-check";
import { assertEquals } from "../tests/assert.ts";
import { addressFromBytes, parseAddress } from "./address.ts";
import { formatEndpoint, parseEndpoint } from "./endpoint.ts";

Deno.test("parseEndpoint: brackets for IPv6 and only for it", () => {
  const cases: [string, string | undefined][] = [
    ["192.0.2.1:443", "192.0.2.1:443"],
    ["192.0.2.1:0", "192.0.2.1:0"],
    ["[2001:db8::1]:65535", "[2001:db8::1]:65535"],
    ["[2001:DB8:0::1]:80", "[2001:db8::1]:80"],
    ["[::ffff:192.0.2.1]:80", "[::ffff:192.0.2.1]:80"],
    ["192.0.2.1:65536", undefined],
    ["192.0.2.1:080", undefined],
    ["192.0.2.1:", undefined],
    ["192.0.2.1", undefined],
    ["[192.0.2.1]:80", undefined],
    ["2001:db8::1:80", undefined],
    ["[2001:db8::1]", undefined],
    ["[2001:db8::1]80", undefined],
    ["[]:80", undefined],
    [":80", undefined],
    ["example.com:80", undefined],
    ["192.0.2.1:80 ", undefined],
  ];
  for (const [text, wanted] of cases) {
    const endpoint = parseEndpoint(text);
    assertEquals(endpoint && formatEndpoint(endpoint), wanted, text);
  }
});

Deno.test("endpoint: text and value undo each other", () => {
  const bytes = fc.oneof(
    fc.uint8Array({ minLength: 4, maxLength: 4 }),
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
    // Runs of zeros, which random bytes hardly have.
    fc.array(fc.constantFrom(0, 0, 0, 255), { minLength: 16, maxLength: 16 }).map((each) =>
      Uint8Array.from(each)
    ),
  );
  fc.assert(fc.property(bytes, fc.nat(65535), (bytes, port) => {
    const endpoint = { address: addressFromBytes(bytes), port };
    assertEquals(parseAddress(endpoint.address.text), endpoint.address);
    assertEquals(parseEndpoint(formatEndpoint(endpoint)), endpoint);
  }));
});

Deno.test("parseEndpoint: no text makes it throw, and what it takes it gives back", () => {
  const text = fc.string({ unit: fc.constantFrom(..."0123456789abcdefABCDEF:.[]%/ "), maxLength: 45 });
  fc.assert(fc.property(text, (text) => {
    const endpoint = parseEndpoint(text);
    if (endpoint !== undefined) assertEquals(parseEndpoint(formatEndpoint(endpoint)), endpoint);
  }));
});
