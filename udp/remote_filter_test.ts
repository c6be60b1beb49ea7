import { encodeSockaddr } from "../ffi/mod.ts";
import { parseEndpoint } from "../net/mod.ts";
import { assert, assertEquals } from "../tests/assert.ts";
import { RemoteFilter } from "./remote_filter.ts";

function words(text: string): Int32Array {
  const words = new Int32Array(7);
  encodeSockaddr(parseEndpoint(text)!, new Uint8Array(words.buffer));
  return words;
}

Deno.test("remote filter: by address any port, by address and port that port alone", () => {
  for (
    const [asked, samePlace, elsewhere] of [
      ["192.0.2.1:53", "192.0.2.1:54", "192.0.2.2:53"],
      ["[2001:db8::1]:53", "[2001:db8::1]:54", "[2001:db8::2]:53"],
    ] as const
  ) {
    for (const kind of ["address", "address-port"] as const) {
      const filter = new RemoteFilter(kind);
      assert(!filter.has(words(asked), 0));
      filter.add(words(asked), 0);
      assert(filter.has(words(asked), 0));
      assertEquals(filter.has(words(samePlace), 0), kind === "address");
      assert(!filter.has(words(elsewhere), 0));
    }
  }
});

Deno.test("remote filter: remembers hundreds, and of more than that the latest", () => {
  const filter = new RemoteFilter("address-port");
  const remote = (i: number) => words(`198.18.${i >> 8}.${i & 0xff}:7`);
  for (let i = 0; i < 1000; i++) {
    filter.add(remote(i), 0);
    filter.add(remote(i), 0);
  }
  assertEquals([999, 700, 488].map((i) => filter.has(remote(i), 0)), [true, true, true]);
  assertEquals([0, 487].map((i) => filter.has(remote(i), 0)), [false, false]);
});
