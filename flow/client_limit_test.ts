import { encodeSockaddr } from "../ffi/mod.ts";
import { parseEndpoint } from "../net/mod.ts";
import { assert, assertEquals, assertThrows } from "../tests/assert.ts";
import { ClientLimit, giveBackShare, REFUSED, UNCOUNTED } from "./client_limit.ts";

const SEED = 0x5eed;

function client(text: string): Uint8Array {
  const bytes = new Uint8Array(28);
  encodeSockaddr(parseEndpoint(text)!, bytes);
  return bytes;
}

function counts(memory: SharedArrayBuffer): number {
  return new Int32Array(memory).reduce((sum, cell, i) => i % 2 === 1 ? sum + cell : sum, 0);
}

Deno.test("client limit: by address, whatever the port", () => {
  const memory = new SharedArrayBuffer(8 * 64);
  const limit = new ClientLimit(memory, 2, SEED);
  const slots = [limit.acquire(client("192.0.2.1:1000")), limit.acquire(client("192.0.2.1:2000"))];
  assertEquals(limit.acquire(client("192.0.2.1:3000")), REFUSED);
  assert(limit.acquire(client("192.0.2.2:1000")) >= 0);
  limit.release(slots[0]!);
  assert(limit.acquire(client("192.0.2.1:3000")) >= 0);
  assertEquals(limit.acquire(client("192.0.2.1:4000")), REFUSED);
  assertEquals(counts(memory), 3);
});

Deno.test("client limit: another address of its /64 does not help a client", () => {
  const limit = new ClientLimit(new SharedArrayBuffer(8 * 64), 1, SEED);
  assert(limit.acquire(client("[2001:db8:0:1::1]:1")) >= 0);
  assertEquals(limit.acquire(client("[2001:db8:0:1:a:b:c:d]:1")), REFUSED);
  assert(limit.acquire(client("[2001:db8:0:2::1]:1")) >= 0);
});

Deno.test("client limit: giving back REFUSED or UNCOUNTED is nothing", () => {
  const memory = new SharedArrayBuffer(8 * 4);
  const limit = new ClientLimit(memory, 1, SEED);
  limit.release(REFUSED);
  limit.release(UNCOUNTED);
  assert(new Int32Array(memory).every((cell) => cell === 0));
});

Deno.test("client limit: in a full table the idle give way, and who finds no place is not counted", () => {
  const memory = new SharedArrayBuffer(8 * 4);
  const limit = new ClientLimit(memory, 1, SEED);
  const slots = [1, 2, 3, 4].map((i) => limit.acquire(client(`192.0.2.${i}:1`)));
  assertEquals([...slots].sort(), [0, 1, 2, 3]);
  assertEquals(limit.acquire(client("192.0.2.5:1")), UNCOUNTED);
  limit.release(slots[2]!);
  assertEquals(limit.acquire(client("192.0.2.5:1")), slots[2]);
  assertEquals(limit.acquire(client("192.0.2.5:2")), REFUSED);
  assertEquals(counts(memory), 4);
});

/** Has another worker do something between the look of the next take-over at a place and its exchange. */
function beforeNextExchange(act: () => void): Disposable {
  const original = Atomics.compareExchange;
  const restore = () => Atomics.compareExchange = original;
  Atomics.compareExchange = ((...args: Parameters<typeof original>) => {
    restore();
    act();
    return original(...args);
  }) as typeof original;
  return { [Symbol.dispose]: restore };
}

Deno.test("client limit: a place whose client comes back while it is taken over refuses nobody", () => {
  const memory = new SharedArrayBuffer(8);
  const [ours, theirs] = [new ClientLimit(memory, 1, SEED), new ClientLimit(memory, 1, SEED)];
  ours.release(ours.acquire(client("192.0.2.1:1")));
  let back = UNCOUNTED;
  using _race = beforeNextExchange(() => back = theirs.acquire(client("192.0.2.1:2")));
  // Its first connection: the one that is counted in its place is the other client's.
  assertEquals([ours.acquire(client("192.0.2.2:1")), back], [UNCOUNTED, 0]);
  assertEquals(counts(memory), 1);
  theirs.release(back);
  assertEquals(counts(memory), 0);
});

Deno.test("client limit: two workers that take one place over for one client count together", () => {
  const memory = new SharedArrayBuffer(8);
  const [ours, theirs] = [new ClientLimit(memory, 1, SEED), new ClientLimit(memory, 1, SEED)];
  ours.release(ours.acquire(client("192.0.2.1:1")));
  let other = UNCOUNTED;
  using _race = beforeNextExchange(() => other = theirs.acquire(client("192.0.2.2:2")));
  assertEquals([ours.acquire(client("192.0.2.2:1")), other], [REFUSED, 0]);
  assertEquals(counts(memory), 1);
});

Deno.test("client limit: the table's size is a power of two", () => {
  assertThrows(() => new ClientLimit(new SharedArrayBuffer(8 * 3), 1, SEED), RangeError, "3 pairs found");
  assertThrows(() => new ClientLimit(new SharedArrayBuffer(0), 1, SEED), RangeError);
});

/**
 * Opens and closes connections of some clients at random, and answers the most that one client ever had at once,
 * counted over all threads by the threads themselves in `held`.
 */
const HAMMER = `
  import { ClientLimit } from ${JSON.stringify(new URL("./client_limit.ts", import.meta.url).href)};
  onmessage = ({ data: { memory, held, clients, limit, rounds, seed } }) => {
    const table = new ClientLimit(memory, limit, ${SEED});
    const inUse = new Int32Array(held);
    const open = [];
    let state = seed, most = 0;
    const random = (below) => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) % below;
    const close = () => {
      const [slot, client] = open.splice(random(open.length), 1)[0];
      Atomics.sub(inUse, client, 1);
      table.release(slot);
    };
    for (let i = 0; i < rounds; i++) {
      const client = (random(1 << 20) >> 4) % clients;
      const slot = table.acquire(Uint8Array.of(2, 0, 0, 0, 192, 0, 2, client));
      if (slot >= 0) {
        most = Math.max(most, Atomics.add(inUse, client, 1) + 1);
        open.push([slot, client]);
      }
      while (open.length > 40 || (open.length > 0 && random(2) === 0)) close();
    }
    while (open.length > 0) close();
    postMessage(most);
  };
`;

async function hammer(
  pairs: number,
  clients: number,
  limit: number,
): Promise<{ left: number; most: number }> {
  const memory = new SharedArrayBuffer(8 * pairs), held = new SharedArrayBuffer(4 * 256);
  const url = `data:text/javascript,${encodeURIComponent(HAMMER)}`;
  const workers = [1, 2].map(() => new Worker(url, { type: "module" }));
  const results = workers.map((worker, i) =>
    new Promise<number>((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = (event) => reject(new Error(event.message));
      worker.postMessage({ memory, held, clients, limit, rounds: 200_000, seed: i + 1 });
    })
  );
  try {
    const most = Math.max(...await Promise.all(results));
    return { left: counts(memory), most };
  } finally {
    for (const worker of workers) worker.terminate();
  }
}

Deno.test("client limit: two threads at once never exceed it, and leave nothing behind", async () => {
  const { left, most } = await hammer(64, 8, 5);
  assertEquals([left, most], [0, 5]);
});

Deno.test("client limit: two threads that fight for places leave nothing behind", async () => {
  // More clients than places: who has none is let through uncounted, and a place may change hands.
  const { left } = await hammer(4, 40, 2);
  assertEquals(left, 0);
});

Deno.test("client limit: what a worker that is no more had counted is given back, and nothing else", () => {
  const memory = new SharedArrayBuffer(8 * 64), share = new SharedArrayBuffer(4 * 64);
  const dead = new ClientLimit(memory, 3, SEED, share);
  const living = new ClientLimit(memory, 3, SEED);
  const slots = ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1"].map((text) => dead.acquire(client(text)));
  dead.release(slots[0]!);
  living.acquire(client("192.0.2.1:3"));
  living.acquire(client("192.0.2.1:4"));
  assertEquals([dead.acquire(client("192.0.2.1:5")), counts(memory)], [REFUSED, 4]);
  giveBackShare(memory, share);
  assertEquals(counts(memory), 2);
  giveBackShare(memory, share);
  assertEquals(counts(memory), 2);
});
