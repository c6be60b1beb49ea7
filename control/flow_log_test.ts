import { assertEquals } from "../tests/assert.ts";
import {
  type FlowDirection,
  flowRingBytes,
  FlowRingWriter,
  IPPROTO_TCP,
  IPPROTO_UDP,
  NO_ROUTE,
  routeWord,
} from "../dataplane/flow_ring.ts";
import type { AppEvent } from "./events.ts";
import { FlowLog } from "./flow_log.ts";
import { RouteNames } from "./route_names.ts";

/** sockaddr_in */
const CLIENT = Uint8Array.of(2, 0, 0xa1, 0x12, 192, 0, 2, 7, 0, 0, 0, 0, 0, 0, 0, 0);
/** sockaddr_in6: 2001:db8::1 port 443 */
const DESTINATION = Uint8Array.of(
  10,
  0,
  1,
  0xbb,
  0,
  0,
  0,
  0,
  0x20,
  1,
  0xd,
  0xb8,
  ...new Array(11).fill(0),
  1,
  0,
  0,
  0,
  0,
);

function write(
  writer: FlowRingWriter,
  bytesUp: number,
  local?: Uint8Array,
  direction?: FlowDirection,
  route = NO_ROUTE,
) {
  return writer.write(
    { protocol: IPPROTO_TCP, direction },
    CLIENT,
    DESTINATION,
    local,
    bytesUp,
    20,
    0,
    0,
    1.23456,
    {
      reason: "reset",
      side: "client",
    },
    route,
  );
}

Deno.test("FlowLog: a worker wakes it for the first record only, and one batch reports them all", async () => {
  const ring = new SharedArrayBuffer(flowRingBytes(8));
  const events: AppEvent[] = [];
  const writer = new FlowRingWriter(ring);
  using log = new FlowLog([ring], new RouteNames(), (event) => events.push(event));
  assertEquals([write(writer, 1), write(writer, 2), write(writer, 3)], ["wake", "written", "written"]);
  log.notify();
  log.notify();
  assertEquals(events.length, 0);
  await new Promise((resolve) => setTimeout(resolve, 80));
  assertEquals(events.map((event) => event.event === "flow" && event.bytesUp), [1, 2, 3]);
  assertEquals(write(writer, 4), "wake");
});

Deno.test("FlowLog: endpoints as text, no local when there was none", () => {
  const ring = new SharedArrayBuffer(flowRingBytes(8));
  const events: AppEvent[] = [];
  const writer = new FlowRingWriter(ring);
  using log = new FlowLog([ring], new RouteNames(), (event) => events.push(event));
  write(writer, 10);
  write(writer, 10, CLIENT, "inbound");
  log.flush();
  const flow: AppEvent = {
    event: "flow",
    proto: "tcp",
    client: "192.0.2.7:41234",
    destination: "[2001:db8::1]:443",
    bytesUp: 10,
    bytesDown: 20,
    durationMs: 1.235,
    end: { reason: "reset", side: "client" },
  };
  assertEquals(events, [flow, { ...flow, direction: "inbound", local: "192.0.2.7:41234" }]);
});

Deno.test("FlowLog: a UDP session tells its datagrams, none of them too", () => {
  const ring = new SharedArrayBuffer(flowRingBytes(8));
  const events: AppEvent[] = [];
  const writer = new FlowRingWriter(ring);
  using log = new FlowLog([ring], new RouteNames(), (event) => events.push(event));
  writer.write(
    { protocol: IPPROTO_UDP, direction: undefined },
    CLIENT,
    DESTINATION,
    CLIENT,
    1200,
    0,
    3,
    0,
    300_000,
    {
      reason: "idle-timeout",
      side: "proxy",
    },
    NO_ROUTE,
  );
  log.flush();
  assertEquals(events, [{
    event: "flow",
    proto: "udp",
    client: "192.0.2.7:41234",
    destination: "[2001:db8::1]:443",
    local: "192.0.2.7:41234",
    bytesUp: 1200,
    bytesDown: 0,
    datagramsUp: 3,
    datagramsDown: 0,
    durationMs: 300_000,
    end: { reason: "idle-timeout", side: "proxy" },
  }]);
});

Deno.test("FlowLog: a flow is told with the upstream that it left by, also when that is called otherwise by now", () => {
  const ring = new SharedArrayBuffer(flowRingBytes(8));
  const events: AppEvent[] = [];
  const names = new RouteNames();
  const writer = new FlowRingWriter(ring);
  using log = new FlowLog([ring], names, (event) => events.push(event));
  const before = names.generationOf(["direct", "office"]), after = names.generationOf(["direct", "home"]);
  for (const word of [routeWord(before, 1), routeWord(after, 1), routeWord(after, 0), NO_ROUTE]) {
    write(writer, 10, undefined, undefined, word);
  }
  log.flush();
  assertEquals(events.map((event) => event.event === "flow" && event.upstream), [
    "office",
    "home",
    "direct",
    undefined,
  ]);
});
