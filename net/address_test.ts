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
