import fc from "fast-check";
import { AF_INET, AF_INET6, encodeSockaddr } from "../ffi/mod.ts";
import { parseEndpoint } from "../net/mod.ts";
import { assertEquals, assertLessOrEqual } from "../tests/assert.ts";
import {
  concernsClient,
  encodeIcmp4,
  encodeIcmp6,
  ICMP_ERROR_MAX_BYTES,
  type QuotedDatagram,
} from "./icmp_error.ts";

function sockaddr(endpoint: string): Uint8Array {
  const bytes = new Uint8Array(28);
  encodeSockaddr(parseEndpoint(endpoint)!, bytes);
  return bytes;
}

function about(
  client: string,
  remote: string,
  length: number,
  sentLength: number,
  offset = 0,
): QuotedDatagram {
  return { client: sockaddr(client), remote: sockaddr(remote), offset, length, sentLength };
}

function hex(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The one's complement sum, as slowly and plainly as it can be written: 0 when a checksum within it is right. */
function remainder(...parts: Uint8Array[]): number {
  const bytes = parts.flatMap((part) => [...part]);
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += bytes[i]! * 256 + (bytes[i + 1] ?? 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return 0xffff - sum;
}

// The packets below were put together field by field, checksums included, by a program in another language.

Deno.test("icmp_error: an IPv4 port unreachable, byte for byte", () => {
  const into = new Uint8Array(ICMP_ERROR_MAX_BYTES).fill(0xaa);
  const memory = Uint8Array.of(99, 99, 1, 2, 3, 4, 5, 99);
  const length = encodeIcmp4(
    into,
    { type: 3, code: 3, info: 0 },
    about("192.0.2.2:40000", "203.0.113.5:53", 5, 5, 2),
    memory,
    sockaddr("198.51.100.10:0"),
  );
  assertEquals(
    hex(into.subarray(0, length)),
    "45c0003d0000000040010000c633640ac0000202" + "0303577400000000" +
      "450000210000000040117cc4c0000202cb007105" + "9c400035000d0000" + "0102030405",
  );
});

Deno.test("icmp_error: an IPv4 fragmentation needed has the MTU, quotes don't-fragment, leaves its source open", () => {
  const into = new Uint8Array(ICMP_ERROR_MAX_BYTES).fill(0xaa);
  const length = encodeIcmp4(
    into,
    { type: 3, code: 4, info: 1400 },
    about("192.0.2.2:40000", "203.0.113.5:27015", 2, 1472),
    Uint8Array.of(0xff, 0xfe),
    undefined,
  );
  assertEquals(
    hex(into.subarray(0, length)),
    "45c0003a000000004001000000000000c0000202" + "0304ebf400000578" +
      "450005dc0000400040113709c0000202cb007105" + "9c40698705c80000" + "fffe",
  );
});

Deno.test("icmp_error: an IPv6 port unreachable, byte for byte", () => {
  const into = new Uint8Array(ICMP_ERROR_MAX_BYTES).fill(0xaa);
  const length = encodeIcmp6(
    into,
    { type: 1, code: 4, info: 7 },
    about("[2001:db8:1::2]:40000", "[2001:db8:100::10]:53", 5, 5),
    Uint8Array.of(1, 2, 3, 4, 5),
    sockaddr("[2001:db8:100::10]:0"),
  );
  assertEquals(
    hex(into.subarray(0, length)),
    "60000000003d3a40" + "20010db8010000000000000000000010" + "20010db8000100000000000000000002" +
      "01042ea400000000" +
      "60000000000d1140" + "20010db8000100000000000000000002" + "20010db8010000000000000000000010" +
      "9c400035000d0000" + "0102030405",
  );
});

Deno.test("icmp_error: an IPv6 packet too big, byte for byte", () => {
  const into = new Uint8Array(ICMP_ERROR_MAX_BYTES).fill(0xaa);
  const length = encodeIcmp6(
    into,
    { type: 2, code: 0, info: 1400 },
    about("[2001:db8:1::2]:40000", "[2001:db8:113::5]:27015", 2, 1452),
    Uint8Array.of(0xff, 0xfe),
    sockaddr("[2001:db8:1::1]:0"),
  );
  assertEquals(
    hex(into.subarray(0, length)),
    "60000000003a3a40" + "20010db8000100000000000000000001" + "20010db8000100000000000000000002" +
      "0200bd9f00000578" +
      "6000000005b41140" + "20010db8000100000000000000000002" + "20010db8011300000000000000000005" +
      "9c40698705b40000" + "fffe",
  );
});

Deno.test("icmp_error: any payload is quoted as far as it fits, and every checksum is right", () => {
  const memory = new Uint8Array(65_535);
  for (let i = 0; i < memory.length; i++) memory[i] = i * 7919 >> 3;
  const into = new Uint8Array(ICMP_ERROR_MAX_BYTES);
  fc.assert(fc.property(fc.nat(65_507), fc.nat(65_507), fc.nat(255), (sentLength, known, code) => {
    const length = Math.min(sentLength, known);
    const error = { type: 3, code, info: 1280 };

    const about4 = about("192.0.2.2:40000", "203.0.113.5:53", length, sentLength, 11);
    const total4 = encodeIcmp4(into, error, about4, memory, sockaddr("198.51.100.10:0"));
    assertEquals(total4, Math.min(576, 56 + length));
    assertEquals(into[2]! << 8 | into[3]!, total4);
    assertEquals(remainder(into.subarray(20, total4)), 0);
    assertEquals(remainder(into.subarray(28, 48)), 0);
    assertEquals(into[30]! << 8 | into[31]!, 28 + sentLength);
    assertEquals(hex(into.subarray(56, total4)), hex(memory.subarray(11, 11 + total4 - 56)));

    const about6 = about("[2001:db8:1::2]:40000", "[2001:db8:113::5]:53", length, sentLength, 11);
    const total6 = encodeIcmp6(into, error, about6, memory, sockaddr("[2001:db8::1]:0"));
    assertEquals(total6, Math.min(1280, 96 + length));
    assertLessOrEqual(total6, into.length);
    assertEquals(into[4]! << 8 | into[5]!, total6 - 40);
    const pseudo = Uint8Array.of(0, 0, (total6 - 40) >> 8, total6 - 40, 0, 0, 0, 58);
    assertEquals(remainder(into.subarray(8, 40), pseudo, into.subarray(40, total6)), 0);
    assertEquals(into[52]! << 8 | into[53]!, 8 + sentLength);
    assertEquals(hex(into.subarray(96, total6)), hex(memory.subarray(11, 11 + total6 - 96)));
  }));
});

Deno.test("icmp_error: a client is told of what does not arrive, and of nothing else", () => {
  const told = (family: number, type: number) =>
    Array.from({ length: 256 }, (_, code) => code).filter((code) =>
      concernsClient(family, { type, code, info: 0 })
    );
  assertEquals(told(AF_INET, 3), [0, 1, 2, 3, 4, 9, 10, 13]);
  // Source quench, redirect, time exceeded; local errors have type 0.
  for (const type of [0, 4, 5, 11]) assertEquals(told(AF_INET, type), []);
  assertEquals(told(AF_INET6, 1), [0, 1, 2, 3, 4, 5, 6]);
  assertEquals(told(AF_INET6, 2)[0], 0);
  for (const type of [0, 3, 128, 137]) assertEquals(told(AF_INET6, type), []);
});
