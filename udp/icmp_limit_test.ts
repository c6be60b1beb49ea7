import { encodeSockaddr } from "../ffi/mod.ts";
import { parseEndpoint } from "../net/mod.ts";
import { assert, assertEquals, assertLessOrEqual } from "../tests/assert.ts";
import { IcmpLimit } from "./icmp_limit.ts";

function client(endpoint: string): Uint8Array {
  const bytes = new Uint8Array(28);
  return bytes.subarray(0, encodeSockaddr(parseEndpoint(endpoint)!, bytes));
}

/** How many of `count` at once are allowed. */
function taken(limit: IcmpLimit, who: Uint8Array, now: number, count = 1000): number {
  let n = 0;
  for (let i = 0; i < count; i++) if (limit.take(who, now)) n++;
  return n;
}

Deno.test("icmp_limit: one client gets 20 at once, then 100 a second, whatever its ports", () => {
  const limit = new IcmpLimit();
  assertEquals(taken(limit, client("192.0.2.2:1000"), 5000), 20);
  assertEquals(taken(limit, client("192.0.2.2:2000"), 5000), 0);
  let inOneSecond = 0;
  for (let now = 5001; now <= 6000; now++) inOneSecond += taken(limit, client("192.0.2.2:1000"), now, 3);
  assertEquals(inOneSecond, 100);
  assertEquals(taken(limit, client("192.0.2.2:1000"), 60_000), 20);
});

Deno.test("icmp_limit: a client over its limit takes nothing from the others", () => {
  const limit = new IcmpLimit();
  taken(limit, client("[2001:db8::1]:1000"), 1);
  assertEquals(taken(limit, client("[2001:db8::2]:1000"), 1), 20);
  assertEquals(taken(limit, client("192.0.2.7:1000"), 1), 10, "the burst of all is 50");
  for (let now = 2; now < 500; now++) taken(limit, client("[2001:db8::1]:1000"), now);
  assert(limit.take(client("192.0.2.9:1"), 500));
});

Deno.test("icmp_limit: all clients together get 1,000 a second after a burst of 50", () => {
  const limit = new IcmpLimit();
  let all = 0;
  for (let now = 1; now <= 1000; now++) {
    for (let i = 0; i < 250; i++) if (limit.take(client(`198.18.0.${i}:1`), now)) all++;
  }
  // Of 250 clients some share a slot, but there are far more slots in use than are needed for 1,000 a second.
  assertLessOrEqual(all, 1049);
  assert(all > 1000, `${all}`);
});
