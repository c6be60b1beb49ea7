import fc from "fast-check";
import { Arena, encodeSockaddr, SOCKADDR_IN6_BYTES } from "../ffi/mod.ts";
import { parseEndpoint } from "../net/mod.ts";
import { assertEquals, assertLessOrEqual } from "../tests/assert.ts";
import { ProxyProtocolFraming } from "./proxy_protocol.ts";
import { encodeV1, encodeV2 } from "./proxy_protocol_header.ts";

function sockaddr(text: string): Uint8Array {
  const bytes = new Uint8Array(SOCKADDR_IN6_BYTES);
  encodeSockaddr(parseEndpoint(text)!, bytes);
  return bytes;
}

const CLIENT_V4 = sockaddr("198.51.100.1:4000"), TO_V4 = sockaddr("203.0.113.9:443");
const CLIENT_V6 = sockaddr("[2001:db8::1]:4000"), TO_V6 = sockaddr("[2001:db8::9]:443");
// As a dual-stack socket names 198.51.100.1.
const CLIENT_MAPPED = Uint8Array.from(
  [
    10,
    0,
    ...CLIENT_V4.slice(2, 4),
    0,
    0,
    0,
    0,
    ...new Array(10).fill(0),
    255,
    255,
    198,
    51,
    100,
    1,
    0,
    0,
    0,
    0,
  ],
);

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

// doc/proxy-protocol.txt, section 2.2.
const SIGNATURE = "0d0a0d0a000d0a515549540a";

Deno.test("proxy protocol: version 1, as section 2.1 has it", () => {
  assertEquals(text(encodeV1(CLIENT_V4, TO_V4)), "PROXY TCP4 198.51.100.1 203.0.113.9 4000 443\r\n");
  assertEquals(text(encodeV1(CLIENT_V6, TO_V6)), "PROXY TCP6 2001:db8::1 2001:db8::9 4000 443\r\n");
  assertEquals(text(encodeV1(CLIENT_MAPPED, TO_V4)), "PROXY TCP4 198.51.100.1 203.0.113.9 4000 443\r\n");
  assertEquals(text(encodeV1(CLIENT_V4, TO_V6)), "PROXY UNKNOWN\r\n");
  assertEquals(text(encodeV1(CLIENT_V6, TO_V4)), "PROXY UNKNOWN\r\n");
});

Deno.test("proxy protocol: version 1 is never longer than the 107 bytes that receivers have room for", () => {
  const address = fc.uint8Array({ minLength: 16, maxLength: 16 });
  fc.assert(fc.property(address, address, (from, to) => {
    const of = (bytes: Uint8Array) => Uint8Array.from([10, 0, 255, 255, 0, 0, 0, 0, ...bytes, 0, 0, 0, 0]);
    assertLessOrEqual(encodeV1(of(from), of(to)).length, 107);
  }));
});

Deno.test("proxy protocol: version 2, as section 2.2 has it", () => {
  assertEquals(hex(encodeV2(CLIENT_V4, TO_V4)), `${SIGNATURE}2111000cc6336401cb0071090fa001bb`);
  assertEquals(hex(encodeV2(CLIENT_MAPPED, TO_V4)), `${SIGNATURE}2111000cc6336401cb0071090fa001bb`);
  assertEquals(
    hex(encodeV2(CLIENT_V6, TO_V6)),
    `${SIGNATURE}2121002420010db8000000000000000000000001` + "20010db80000000000000000000000090fa001bb",
  );
  assertEquals(hex(encodeV2(CLIENT_V4, TO_V6)), `${SIGNATURE}21000000`);
});

Deno.test("proxy protocol: in front of a datagram it says that it is one", () => {
  const arena = new Arena(1024);
  const framing = new ProxyProtocolFraming(arena);
  const client = arena.allocate(28), destination = arena.allocate(28), header = arena.allocate(64);
  const written = (from: Uint8Array, to: Uint8Array): string => {
    client.bytes.set(from);
    destination.bytes.set(to);
    header.bytes.fill(0xee);
    const length = framing.writeHeader(client.offset, destination.offset, header.offset);
    assertLessOrEqual(length, framing.maxHeaderBytes);
    assertEquals(header.bytes[length], 0xee);
    return hex(header.bytes.slice(0, length));
  };
  assertEquals(written(CLIENT_V4, TO_V4), `${SIGNATURE}2112000cc6336401cb0071090fa001bb`);
  assertEquals(written(CLIENT_V6, TO_V6).slice(24, 32), "21220024");
  assertEquals(written(CLIENT_V6, TO_V4), `${SIGNATURE}21000000`);
});
