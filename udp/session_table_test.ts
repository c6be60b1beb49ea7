import fc from "fast-check";
import { AF_INET, AF_INET6, encodeSockaddr } from "../ffi/mod.ts";
import { parseEndpoint } from "../net/mod.ts";
import { assertEquals } from "../tests/assert.ts";
import { type EndpointKey, endpointKey, SessionTable } from "./session_table.ts";

/** A sockaddr as the table sees it: words somewhere in memory. */
function sockaddrWords(text: string): Int32Array {
  const words = new Int32Array(7);
  encodeSockaddr(parseEndpoint(text)!, new Uint8Array(words.buffer));
  return words;
}

Deno.test("session table: a key is family, port and address, and nothing else of the sockaddr", () => {
  const v4 = endpointKey(sockaddrWords("192.0.2.7:258"), 0);
  assertEquals(v4.familyPort, AF_INET | 0x0201 << 16);
  assertEquals(v4.address0 >>> 0, 0x070200c0);
  assertEquals([v4.address1, v4.address2, v4.address3], [0, 0, 0]);
  const words = sockaddrWords("[2001:db8::9]:1");
  const plain = endpointKey(words, 0);
  assertEquals(plain.familyPort & 0xffff, AF_INET6);
  words[1] = 0x1234;
  words[6] = 3;
  assertEquals(endpointKey(words, 0), plain, "flow label and scope");
});

Deno.test("session table: does what a map would do, through any order of adding and removing", () => {
  const endpoint = fc.tuple(
    fc.constantFrom("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"),
    fc.integer({ min: 1, max: 400 }),
  ).map(([ip, port]) => ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`);
  const steps = fc.array(fc.tuple(fc.constantFrom("toggle", "toggle", "find"), endpoint), {
    maxLength: 1500,
  });
  fc.assert(
    fc.property(steps, fc.integer(), (steps, seed) => {
      const table = new SessionTable<EndpointKey & { text: string }>(seed);
      const model = new Map<string, EndpointKey & { text: string }>();
      for (const [step, text] of steps) {
        const words = sockaddrWords(text), known = model.get(text);
        assertEquals(table.find(words, 0), known);
        if (step === "find") continue;
        if (known === undefined) {
          const session = { ...endpointKey(words, 0), text };
          table.add(session);
          model.set(text, session);
        } else {
          table.remove(known);
          model.delete(text);
        }
        assertEquals(table.size, model.size);
      }
      for (const [text, session] of model) {
        assertEquals(table.get(endpointKey(sockaddrWords(text), 0)), session);
        const other = { ...session };
        table.replace(other);
        model.set(text, other);
      }
      assertEquals(table.size, model.size);
      assertEquals([...table].map(({ text }) => text).sort(), [...model.keys()].sort());
      for (const text of model.keys()) {
        assertEquals(table.find(sockaddrWords(text), 0) === model.get(text), true, text);
      }
    }),
    { numRuns: 60 },
  );
});
