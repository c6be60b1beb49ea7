import fc from "fast-check";
import { decodeSockaddr, encodeSockaddr } from "../ffi/mod.ts";
import { formatEndpoint, parseEndpoint } from "../net/mod.ts";
import { assertEquals } from "../tests/assert.ts";
import { LastDestination } from "./last_destination.ts";

const ENDPOINTS = [
  "192.0.2.1:53",
  "192.0.2.1:54",
  "192.0.2.2:53",
  "[2001:db8::1]:53",
  "[2001:db8::1]:54",
  "[2001:db8:0:1::1]:53",
  "[2001:db8::1:0:1]:53",
  "[2001:db8::2]:53",
];

function wordsOf(endpoint: string): Int32Array {
  const words = new Int32Array(8);
  encodeSockaddr(parseEndpoint(endpoint)!, new Uint8Array(words.buffer, 4));
  return words;
}

Deno.test("last destination: is the one that was set last, whole, and no other", () => {
  fc.assert(fc.property(fc.array(fc.constantFrom(...ENDPOINTS), { maxLength: 20 }), (all) => {
    const last = new LastDestination();
    let wanted: string | undefined;
    for (const endpoint of [...all, undefined]) {
      for (const other of ENDPOINTS) assertEquals(last.is(wordsOf(other), 1), other === wanted, other);
      if (endpoint !== undefined) last.set(wordsOf(endpoint), 1);
      if (endpoint !== undefined) wanted = endpoint;
    }
    if (wanted === undefined) return;
    const words = new Int32Array(8).fill(-1);
    last.write(words, 1);
    assertEquals(formatEndpoint(decodeSockaddr(new Uint8Array(words.buffer, 4))!), wanted);
  }));
});
