import { encodeSockaddr } from "../ffi/mod.ts";
import { formatEndpoint, parseEndpoint } from "../net/mod.ts";
import { assertEquals, assertThrows } from "../tests/assert.ts";
import {
  END_REASONS,
  END_SIDES,
  type FlowEnd,
  type FlowRecord,
  flowRingBytes,
  FlowRingReader,
  FlowRingWriter,
  IPPROTO_TCP,
  IPPROTO_UDP,
  NO_ROUTE,
  routeWord,
} from "./flow_ring.ts";

function sockaddr(text: string): Uint8Array {
  const bytes = new Uint8Array(28);
  encodeSockaddr(parseEndpoint(text)!, bytes);
  return bytes;
}

const CLIENT = sockaddr("192.0.2.7:40000"), DESTINATION = sockaddr("[2001:db8::1]:443");
const CLOSED: FlowEnd = { reason: "closed", side: "client" };

const TCP = { protocol: IPPROTO_TCP, direction: undefined } as const;
const DIRECTIONS = ["inbound", undefined, "outbound"] as const;

function setUp(records: number) {
  const memory = new SharedArrayBuffer(flowRingBytes(records));
  const writer = new FlowRingWriter(memory), reader = new FlowRingReader(memory);
  const write = (bytesUp: number) =>
    writer.write(TCP, CLIENT, DESTINATION, undefined, bytesUp, 0, 0, 0, 0, CLOSED, NO_ROUTE);
  const drain = () => [...reader.drain()].map(({ bytesUp }) => bytesUp);
  return { memory, writer, reader, write, drain };
}

Deno.test("flow ring: every field of a record comes back", () => {
  const { writer, reader } = setUp(64);
  const wanted: FlowRecord[] = [];
  for (const [i, reason] of END_REASONS.entries()) {
    const side = END_SIDES[i % END_SIDES.length]!;
    const isTcp = i % 2 === 0, local = i % 3 === 0 ? undefined : `192.0.2.${i}:65535`;
    writer.write(
      { protocol: isTcp ? IPPROTO_TCP : IPPROTO_UDP, direction: DIRECTIONS[i % 3] },
      i % 2 === 0 ? CLIENT : DESTINATION,
      DESTINATION,
      local === undefined ? undefined : sockaddr(local),
      2 ** 53 - 1 - i,
      i,
      isTcp ? 0 : 2 ** 40 + i,
      isTcp ? 0 : 3 * i,
      1234.5,
      { reason, side },
      i % 4 === 0 ? NO_ROUTE : routeWord(65_535 - i, 254 - i),
    );
    wanted.push({
      protocol: isTcp ? "tcp" : "udp",
      direction: DIRECTIONS[i % 3],
      client: parseEndpoint(i % 2 === 0 ? "192.0.2.7:40000" : "[2001:db8::1]:443")!,
      destination: parseEndpoint("[2001:db8::1]:443")!,
      local: local === undefined ? undefined : parseEndpoint(local)!,
      bytesUp: 2 ** 53 - 1 - i,
      bytesDown: i,
      datagramsUp: isTcp ? 0 : 2 ** 40 + i,
      datagramsDown: isTcp ? 0 : 3 * i,
      durationMs: 1234.5,
      end: { reason, side },
      route: i % 4 === 0 ? undefined : { generation: 65_535 - i, id: 254 - i },
    });
  }
  assertEquals([...reader.drain()], wanted);
});

Deno.test("flow ring: a v4-mapped address is IPv4, and nothing of an earlier record shows through", () => {
  const { writer, reader } = setUp(1);
  writer.write(TCP, DESTINATION, DESTINATION, DESTINATION, 1, 1, 1, 1, 1, CLOSED, routeWord(1, 1));
  assertEquals([...reader.drain()].length, 1);
  writer.write(TCP, sockaddr("[::ffff:192.0.2.9]:1"), CLIENT, undefined, 1, 1, 1, 1, 1, CLOSED, NO_ROUTE);
  const [record] = [...reader.drain()];
  assertEquals(formatEndpoint(record!.client), "192.0.2.9:1");
  assertEquals(formatEndpoint(record!.destination), "192.0.2.7:40000");
  assertEquals([record!.local, record!.route], [undefined, undefined]);
});

Deno.test("flow ring: a full ring drops the newest and keeps what it has", () => {
  const { write, drain } = setUp(4);
  assertEquals([1, 2, 3, 4, 5, 6].map(write), [
    ...["written", "written", "written", "written"] as const,
    ...["dropped", "dropped"] as const,
  ]);
  assertEquals(drain(), [1, 2, 3, 4]);
  assertEquals(write(7), "wake");
  assertEquals(drain(), [7]);
});

Deno.test("flow ring: only the first record after a drain wakes the reader", () => {
  const { write, drain } = setUp(8);
  assertEquals(write(1), "written");
  assertEquals(drain(), [1]);
  assertEquals([write(2), write(3)], ["wake", "written"]);
  assertEquals(drain(), [2, 3]);
  assertEquals(drain(), []);
  assertEquals(write(4), "wake");
});

Deno.test("flow ring: a reader that stops half-way is not asleep", () => {
  const { write, reader, drain } = setUp(8);
  [1, 2, 3].forEach(write);
  for (const { bytesUp } of reader.drain()) {
    assertEquals(bytesUp, 1);
    break;
  }
  assertEquals(write(4), "written");
  assertEquals(drain(), [2, 3, 4]);
});

Deno.test("flow ring: the indexes run over 2^31 and 2^32", () => {
  for (const start of [2 ** 31 - 3, -3]) {
    const { memory, write, drain } = setUp(4);
    const indexes = new Int32Array(memory, 0, 2);
    indexes.fill(start);
    for (let round = 0; round < 5; round++) {
      const records = [1, 2, 3, 4].map((i) => 10 * round + i);
      for (const each of records) write(each);
      assertEquals(write(-1), "dropped");
      assertEquals(drain(), records);
    }
    assertEquals(indexes[0], (start + 20) | 0);
  }
});

Deno.test("flow ring: the number of records is a power of two", () => {
  assertThrows(
    () => new FlowRingWriter(new SharedArrayBuffer(flowRingBytes(3))),
    RangeError,
    "3 records found",
  );
  assertThrows(() => new FlowRingReader(new SharedArrayBuffer(flowRingBytes(0))), RangeError);
});

Deno.test("flow ring: two threads, every record once and in order, and no wake-up is missed", async () => {
  const memory = new SharedArrayBuffer(flowRingBytes(16));
  const records = 50_000;
  const source = `
    import { FlowRingWriter } from ${JSON.stringify(new URL("./flow_ring.ts", import.meta.url).href)};
    onmessage = ({ data: { memory, records } }) => {
      const writer = new FlowRingWriter(memory);
      const address = Uint8Array.of(2, 0, 0, 80, 192, 0, 2, 1);
      let dropped = 0;
      for (let i = 0; i < records; i++) {
        const client = Uint8Array.of(2, 0, i >> 8, i, 192, 0, 2, 1);
        const end = { reason: "closed", side: "client" };
        const outcome = writer.write({ protocol: 6, direction: undefined }, client, address, undefined, i, -i, 3 * i, -3 * i, 2 * i, end, i & 0xffffff);
        if (outcome === "dropped") dropped++;
        else if (outcome === "wake") postMessage("records");
      }
      postMessage({ dropped });
    };
  `;
  const worker = new Worker(`data:text/javascript,${encodeURIComponent(source)}`, { type: "module" });
  const reader = new FlowRingReader(memory);
  let seen = 0, last = -1, dropped = 0;
  const take = () => {
    for (const { client, bytesUp, bytesDown, datagramsUp, datagramsDown, durationMs } of reader.drain()) {
      // A torn record would have parts of two.
      assertEquals([client.port, bytesDown, durationMs], [bytesUp & 0xffff, -bytesUp, 2 * bytesUp]);
      assertEquals([datagramsUp, datagramsDown], [3 * bytesUp, -3 * bytesUp]);
      assertEquals(bytesUp > last, true);
      last = bytesUp;
      seen++;
    }
  };
  take();
  await new Promise<void>((resolve, reject) => {
    worker.onerror = (event) => reject(new Error(event.message));
    worker.onmessage = ({ data }) => {
      try {
        if (data === "records") return take();
        dropped = data.dropped;
        resolve();
      } catch (error) {
        reject(error);
      }
    };
    worker.postMessage({ memory, records });
  });
  worker.terminate();
  // Nothing is left that no message announced: drain only what the last wake-up would have found.
  const before = seen;
  take();
  assertEquals([seen + dropped, seen - before], [records, 0]);
});
