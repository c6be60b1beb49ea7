import { assert, assertEquals } from "../tests/assert.ts";
import {
  MAX_WAITING,
  MAX_WAITING_BYTES,
  MAX_WORKER_BYTES,
  OBJECT_BYTES,
  type WaitingDatagram,
  WaitingDatagrams,
} from "./waiting_datagrams.ts";

function datagram(length: number, trafficClass = 0): WaitingDatagram {
  return {
    destination: new Uint8Array(28),
    payload: new Uint8Array(length),
    trafficClass,
    dontFragment: false,
  };
}

Deno.test("waiting datagrams: as many as there may be, in order, and then room again", () => {
  const all = { bytes: 0 };
  const waiting = new WaitingDatagrams(all);
  for (let i = 0; i < MAX_WAITING; i++) {
    assert(waiting.hasRoom(10));
    waiting.push(datagram(10, i));
  }
  assert(!waiting.hasRoom(0));
  assertEquals(all.bytes, (OBJECT_BYTES + 10) * MAX_WAITING);
  assertEquals(waiting.drain().map(({ trafficClass }) => trafficClass), [...Array(MAX_WAITING).keys()]);
  assertEquals([all.bytes, waiting.drain().length, waiting.hasRoom(10)], [0, 0, true]);
});

Deno.test("waiting datagrams: bytes are bounded for one session, and for all", () => {
  const all = { bytes: 0 };
  const waiting = new WaitingDatagrams(all);
  const half = MAX_WAITING_BYTES / 2;
  waiting.push(datagram(half));
  assertEquals([waiting.hasRoom(half), waiting.hasRoom(half + 1)], [true, false]);
  all.bytes = MAX_WORKER_BYTES - OBJECT_BYTES - 5;
  const other = new WaitingDatagrams(all);
  assertEquals([other.hasRoom(5), other.hasRoom(6)], [true, false]);
  waiting.drain();
  assertEquals([all.bytes, other.hasRoom(6)], [MAX_WORKER_BYTES - 2 * OBJECT_BYTES - 5 - half, true]);
});

Deno.test("waiting datagrams: empty ones are bounded too", () => {
  const all = { bytes: 0 };
  let waiting = 0;
  for (let session = 0; session < 100; session++) {
    const queue = new WaitingDatagrams(all);
    for (; queue.hasRoom(0); waiting++) queue.push(datagram(0));
  }
  assertEquals(waiting, MAX_WORKER_BYTES / OBJECT_BYTES);
});
