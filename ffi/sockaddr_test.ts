import fc from "fast-check";
import { addressFromBytes, type Endpoint, formatEndpoint, parseEndpoint, unmapV4 } from "../net/mod.ts";
import { assertEquals } from "../tests/assert.ts";
import {
  decodeSockaddr,
  encodeSockaddr,
  isLoopbackDestination,
  setSockaddrPort,
  sockaddrFamily,
  sockaddrLength,
  sockaddrPort,
  unmapSockaddr,
} from "./sockaddr.ts";

Deno.test("sockaddr_in: family in host order, port and address in network order", () => {
  const bytes = new Uint8Array(28).fill(0xee);
  assertEquals(encodeSockaddr(parseEndpoint("192.0.2.7:443")!, bytes), 16);
  assertEquals([...bytes.subarray(0, 16)], [2, 0, 1, 187, 192, 0, 2, 7, 0, 0, 0, 0, 0, 0, 0, 0]);
  assertEquals([sockaddrFamily(bytes), sockaddrPort(bytes), sockaddrLength(bytes)], [2, 443, 16]);
  const before = [...bytes];
  unmapSockaddr(bytes);
  assertEquals([...bytes], before);
});

Deno.test("sockaddr_in6: flow label and scope are zero", () => {
  const bytes = new Uint8Array(28).fill(0xee);
  assertEquals(encodeSockaddr(parseEndpoint("[2001:db8::9]:65535")!, bytes), 28);
  assertEquals([...bytes.subarray(0, 12)], [10, 0, 255, 255, 0, 0, 0, 0, 0x20, 1, 0x0d, 0xb8]);
  assertEquals([...bytes.subarray(22)], [0, 9, 0, 0, 0, 0]);
  assertEquals([sockaddrFamily(bytes), sockaddrPort(bytes), sockaddrLength(bytes)], [10, 65535, 28]);
});

Deno.test("sockaddr: a v4-mapped address is IPv4", () => {
  const bytes = new Uint8Array(28);
  encodeSockaddr(parseEndpoint("[::ffff:192.0.2.7]:80")!, bytes);
  assertEquals(formatEndpoint(decodeSockaddr(bytes)!), "192.0.2.7:80");
  unmapSockaddr(bytes);
  assertEquals([...bytes.subarray(0, 16)], [2, 0, 0, 80, 192, 0, 2, 7, 0, 0, 0, 0, 0, 0, 0, 0]);
  encodeSockaddr(parseEndpoint("[100::ffff:c000:207]:80")!, bytes);
  unmapSockaddr(bytes);
  assertEquals(formatEndpoint(decodeSockaddr(bytes)!), "[100::ffff:c000:207]:80");
});

Deno.test("sockaddr: a port can be changed, and what was never written has no endpoint", () => {
  const bytes = new Uint8Array(28);
  assertEquals(decodeSockaddr(bytes), undefined);
  encodeSockaddr(parseEndpoint("192.0.2.7:443")!, bytes);
  setSockaddrPort(bytes, 40_000);
  assertEquals(formatEndpoint(decodeSockaddr(bytes)!), "192.0.2.7:40000");
});

Deno.test("sockaddr: every endpoint comes back", () => {
  const endpoint: fc.Arbitrary<Endpoint> = fc.record({
    address: fc.oneof(
      fc.uint8Array({ minLength: 4, maxLength: 4 }),
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
    ).map(addressFromBytes),
    port: fc.nat(65535),
  });
  fc.assert(fc.property(endpoint, (endpoint) => {
    const bytes = new Uint8Array(28).fill(0xee);
    assertEquals(encodeSockaddr(endpoint, bytes), sockaddrLength(bytes));
    assertEquals(decodeSockaddr(bytes), { address: unmapV4(endpoint.address), port: endpoint.port });
  }));
});

Deno.test("sockaddr: what is sent to a loopback or unspecified address stays here", () => {
  const words = new Int32Array(9);
  const isLoopback = (address: string) => {
    encodeSockaddr(parseEndpoint(address)!, new Uint8Array(words.buffer, 8));
    return isLoopbackDestination(words, 2);
  };
  const loopback = ["0.0.0.0", "0.255.0.1", "127.0.0.1", "127.255.255.254", "[::]", "[::1]"];
  const mapped = ["[::ffff:127.0.0.1]", "[::ffff:0.0.0.0]"];
  for (const address of [...loopback, ...mapped]) assertEquals(isLoopback(`${address}:80`), true, address);
  const others = ["128.0.0.1", "1.0.0.0", "192.0.2.127", "255.255.255.255", "[::2]", "[::7f00:1]", "[::1:0]"];
  const further = ["[::ffff:128.0.0.1]", "[::ffff:ffff:7f00:1]", "[0:0:1::1]", "[0:1::1]", "[2001:db8::1]"];
  for (const address of [...others, ...further]) assertEquals(isLoopback(`${address}:80`), false, address);
});
