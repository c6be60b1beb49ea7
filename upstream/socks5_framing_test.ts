import fc from "fast-check";
import { Arena, decodeSockaddr, encodeSockaddr, sockaddrLength } from "../ffi/mod.ts";
import { formatEndpoint, parseEndpoint } from "../net/mod.ts";
import { assert, assertEquals } from "../tests/assert.ts";
import { Socks5Framing } from "./socks5_framing.ts";

const arena = new Arena(4096);
const framing = new Socks5Framing(arena);
const client = arena.allocate(28), destination = arena.allocate(28), source = arena.allocate(28);
const packet = arena.allocate(64);

function header(endpoint: string, at: number): number[] {
  destination.bytes.fill(0xee);
  encodeSockaddr(parseEndpoint(endpoint)!, destination.bytes);
  const length = framing.writeHeader(client.offset, destination.offset, at);
  return [...arena.bytes.slice(at, at + length)];
}

function read(bytes: readonly number[], length = bytes.length): [length: number, source: string | undefined] {
  packet.bytes.fill(0);
  packet.bytes.set(bytes);
  source.bytes.fill(0xee);
  const n = framing.readHeader(packet.offset, length, source.offset);
  return [n, n < 0 ? undefined : formatEndpoint(decodeSockaddr(source.bytes)!)];
}

Deno.test("socks5 framing: headers, at any offset", () => {
  for (const at of [packet.offset, packet.offset + 1]) {
    assertEquals(header("203.0.113.9:443", at), [0, 0, 0, 1, 203, 0, 113, 9, 0x01, 0xbb]);
    assertEquals(header("[2001:db8::9]:443", at), [
      ...[0, 0, 0, 4, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0x01, 0xbb],
    ]);
  }
});

Deno.test("socks5 framing: what is written is read again, in front of any payload", () => {
  const endpoints = fc.record({
    v4: fc.boolean(),
    bytes: fc.uint8Array({ minLength: 16, maxLength: 16 }),
    port: fc.integer({ min: 0, max: 65535 }),
    payload: fc.nat(20),
  });
  fc.assert(fc.property(endpoints, ({ v4, bytes, port, payload }) => {
    // Not a v4-mapped one, which comes back as what it stands for.
    bytes[0] = 0x20;
    const sockaddr = [
      v4 ? 2 : 10,
      0,
      port >> 8,
      port & 255,
      ...v4 ? bytes.slice(0, 4) : [0, 0, 0, 0, ...bytes],
    ];
    destination.bytes.fill(0);
    destination.bytes.set(sockaddr);
    const length = framing.writeHeader(client.offset, destination.offset, packet.offset);
    assertEquals(length, v4 ? 10 : 22);
    source.bytes.fill(0xee);
    assertEquals(framing.readHeader(packet.offset, length + payload, source.offset), length);
    const end = sockaddrLength(destination.bytes);
    assertEquals(source.bytes.slice(0, end), destination.bytes.slice(0, end));
  }));
});

Deno.test("socks5 framing: a v4-mapped source is the IPv4 address", () => {
  const mapped = [0, 0, 0, 4, ...new Array(10).fill(0), 255, 255, 203, 0, 113, 9, 1, 187];
  assertEquals(read(mapped), [22, "203.0.113.9:443"]);
});

Deno.test("socks5 framing: fragments, names, other kinds and what is too short are no headers", () => {
  const v4 = [0, 0, 0, 1, 203, 0, 113, 9, 1, 187];
  assertEquals(read(v4), [10, "203.0.113.9:443"]);
  for (let length = 0; length < 10; length++) assertEquals(read(v4, length)[0], -1);
  const v6 = [0, 0, 0, 4, ...new Array(16).fill(1), 1, 187];
  for (let length = 0; length < 22; length++) assertEquals(read(v6, length)[0], -1);
  assertEquals(read(v6)[0], 22);
  for (
    const start of [[0, 0, 1, 1], [0, 0, 0x80, 1], [1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0, 3], [0, 0, 0, 0]]
  ) {
    assertEquals(read([...start, ...v4.slice(4), ...new Array(20).fill(0)])[0], -1);
  }
});

Deno.test("socks5 framing: any bytes whatever are a header within them, or none", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
    const [length] = read([...bytes]);
    assert(length === -1 || (length > 0 && length <= bytes.length));
  }));
});
