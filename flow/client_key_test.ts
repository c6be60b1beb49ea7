import { encodeSockaddr } from "../ffi/mod.ts";
import { parseEndpoint } from "../net/mod.ts";
import { assert, assertEquals, assertGreater } from "../tests/assert.ts";
import { clientKey } from "./client_key.ts";

const SEED = 0x5eed;

function key(text: string, seed = SEED): number {
  const bytes = new Uint8Array(28);
  encodeSockaddr(parseEndpoint(text)!, bytes);
  return clientKey(bytes, seed);
}

Deno.test("clientKey: an IPv4 address, or the /64 of an IPv6 one", () => {
  const clients = [
    ["192.0.2.1:1000", "192.0.2.1:2000"],
    ["192.0.2.2:1000"],
    ["198.51.100.1:1000"],
    ["[2001:db8:1:2::1]:1", "[2001:db8:1:2:ffff:ffff:ffff:ffff]:2"],
    ["[2001:db8:1:3::1]:1"],
    ["[2001:db8:2:2::1]:1"],
    ["[2001:db9:1:2::1]:1"],
  ].map((client) => new Set(client.map((text) => key(text))));
  for (const keys of clients) assertEquals(keys.size, 1);
  assertEquals(new Set(clients.flatMap((keys) => [...keys])).size, clients.length);
});

Deno.test("clientKey: who shares a key with one seed does not with another", () => {
  const sockaddr = new Uint8Array(28);
  encodeSockaddr(parseEndpoint("[2001:db8::1]:1")!, sockaddr);
  const words = new DataView(sockaddr.buffer);
  const keyOf = (n: number, seed: number) => {
    words.setUint32(8, n);
    words.setUint32(12, Math.imul(n, 0x9e3779b1));
    return clientKey(sockaddr, seed);
  };
  const byKey = new Map<number, number>();
  let shared = 0, stillShared = 0;
  for (let n = 0; n < 300_000; n++) {
    const other = byKey.get(keyOf(n, SEED));
    if (other === undefined) byKey.set(keyOf(n, SEED), n);
    else {
      shared++;
      if (keyOf(n, ~SEED) === keyOf(other, ~SEED)) stillShared++;
    }
  }
  assertGreater(shared, 0);
  assertEquals(stillShared, 0);
});

Deno.test("clientKey: never 0", () => {
  // Scrambling makes 0 of 0 alone.
  assert(key("192.0.2.1:1", 0xc0000201 | 0) !== 0);
});
