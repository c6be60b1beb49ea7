import { assertEquals, assertMatch, assertStringIncludes } from "../tests/assert.ts";
import { type CounterName, sumCounters } from "../dataplane/stats.ts";
import { describeEvent, formatBytes, formatMs } from "./event_text.ts";
import type { AppEvent } from "./events.ts";
import { type LogOptions, openLog } from "./log.ts";

const FLOW: AppEvent = {
  event: "flow",
  proto: "tcp",
  client: "192.0.2.7:41234",
  destination: "[2001:db8::1]:443",
  local: "198.51.100.1:50000",
  bytesUp: 81,
  bytesDown: 1536,
  durationMs: 12.5,
  end: { reason: "closed", side: "upstream" },
};

function logged(options: Omit<LogOptions, "write">, ...events: AppEvent[]): string[] {
  const lines: string[] = [];
  using log = openLog({ ...options, write: (line) => lines.push(line) });
  for (const event of events) log.emit(event);
  return lines;
}

Deno.test("json: one object a line, with time, level, event and the event's fields", () => {
  const [line = ""] = logged({ format: "json", level: "info" }, FLOW);
  const { time, level, ...fields } = JSON.parse(line);
  assertEquals(new Date(time).toISOString(), time);
  assertEquals(level, "info");
  assertEquals(fields, { ...FLOW });
});

Deno.test("json: line breaks and quotes in a message stay inside the line", () => {
  const [line = ""] = logged({ format: "json", level: "info" }, {
    event: "error",
    code: "x",
    message: 'a\n"b" {c}',
  });
  assertEquals(line.includes("\n"), false);
  assertEquals(JSON.parse(line).message, 'a\n"b" {c}');
});

Deno.test("text: time, level, words; one line", () => {
  const lines = logged(
    { format: "text", level: "info" },
    FLOW,
    { event: "warning", code: "x", message: "first\n  second {third}", hint: "do this", worker: 1 },
  );
  assertMatch(
    lines[0]!,
    /^\d\d:\d\d:\d\d\.\d{3} info +flow: tcp 192\.0\.2\.7:41234 -> \[2001:db8::1\]:443 from /,
  );
  assertMatch(lines[1]!, /^\S+ warn +first second \{third\} \(worker 1\); do this$/);
});

Deno.test("level: events below it are not shown", () => {
  const events: AppEvent[] = [
    { event: "starting", pid: 1, workers: 1 },
    { event: "worker-restarted", worker: 0, downMs: 1 },
    { event: "warning", code: "x", message: "m" },
    { event: "error", code: "x", message: "m" },
  ];
  const count = (level: LogOptions["level"]) => logged({ format: "json", level }, ...events).length;
  assertEquals([count("debug"), count("info"), count("warn"), count("error")], [4, 3, 2, 1]);
});

Deno.test("describeEvent: a death while stopping promises no return", () => {
  const died: AppEvent = { event: "worker-died", worker: 1, message: "recv: EIO", hint: "look" };
  assertEquals(describeEvent(died), "worker 1 died: recv: EIO; look");
  assertStringIncludes(describeEvent({ ...died, restartMs: 100 }), "again in 100 ms");
});

Deno.test("formatBytes, formatMs: units that people read", () => {
  assertEquals([0, 1023, 1024, 1536, 2 ** 30].map(formatBytes), [
    "0 B",
    "1023 B",
    "1.0 KiB",
    "1.5 KiB",
    "1.0 GiB",
  ]);
  assertEquals([0.4, 999, 1500, 30_000, 240_000, 7_440_000].map(formatMs), [
    "0 ms",
    "999 ms",
    "1.5 s",
    "30 s",
    "4 min",
    "2 h 4 min",
  ]);
});

Deno.test("describeEvent: with nothing open a drain promises no wait", () => {
  const draining = (openConnections: number, openSessions: number) =>
    describeEvent({ event: "draining", timeoutMs: 30_000, openConnections, openSessions });
  assertEquals(draining(0, 0), "draining: nothing is open");
  assertStringIncludes(draining(1, 0), ": 1 connection open, 30");
  assertStringIncludes(draining(0, 2), ": 2 sessions open, 30");
  assertStringIncludes(draining(3, 1), ": 3 connections and 1 session open, 30");
});

const READY: AppEvent = {
  event: "ready",
  pid: 7,
  mode: "tproxy",
  udp: "tproxy",
  source: "own",
  listeners: ["[::]:7870", "0.0.0.0:7870"],
  udpListeners: ["[::]:7870", "0.0.0.0:7870", "[::]:7871", "0.0.0.0:7871"],
  workers: 2,
  rules: "fake rules",
  maxConnections: 100,
  maxSessions: 200,
  startMs: 50,
};

Deno.test("describeEvent: ready tells TCP and UDP, each where it is carried", () => {
  assertEquals(
    describeEvent(READY),
    "ready: TCP (tproxy) on [::]:7870, 0.0.0.0:7870; UDP on [::]:7870-7871, 0.0.0.0:7870-7871; fake rules; " +
      "2 workers, 100 connections and 200 sessions at most, pid 7, 50 ms",
  );
  assertEquals(
    describeEvent({ ...READY, mode: "redirect", udp: "off", udpListeners: [], source: "keep" }),
    "ready: TCP (redirect) on [::]:7870, 0.0.0.0:7870; client addresses kept; fake rules; " +
      "2 workers, 100 connections at most, pid 7, 50 ms",
  );
  assertEquals(
    describeEvent({ ...READY, mode: "off", listeners: [], workers: 1, udpListeners: ["0.0.0.0:7870"] }),
    "ready: UDP on 0.0.0.0:7870; fake rules; 1 worker, 200 sessions at most, pid 7, 50 ms",
  );
});

Deno.test("describeEvent: a sidecar's ready tells each of its listeners", () => {
  const pod = { ...READY, mode: "off", udp: "off", source: "keep", listeners: ["0.0.0.0:15006"] } as const;
  const inbound = { direction: "inbound", mode: "tproxy", port: 15006, dns: false } as const;
  const dns = { direction: "outbound", mode: "redirect", port: 15053, dns: true } as const;
  assertEquals(
    describeEvent({ ...pod, legs: [inbound, dns] }),
    "ready: inbound TCP (tproxy) on port 15006; DNS (redirect) on port 15053; client addresses kept; fake rules; " +
      "2 workers, 100 connections at most, pid 7, 50 ms",
  );
});

Deno.test("describeEvent: a UDP flow and the totals tell datagrams, TCP alone does not", () => {
  const flow = describeEvent({ ...FLOW, proto: "udp", datagramsUp: 1, datagramsDown: 3 });
  assertStringIncludes(flow, ": 1 datagram (81 B) up, 3 datagrams (1.5 KiB) down, 13 ms, closed by upstream");
  assertStringIncludes(describeEvent(FLOW), ": 81 B up, 1.5 KiB down, 13 ms, ");
  const stopped = (counters: Partial<Record<CounterName, number>>) =>
    describeEvent({
      event: "stopped",
      upMs: 1500,
      forced: false,
      totals: { ...sumCounters([]), tcpFinished: 1, tcpBytesUp: 10, ...counters },
    });
  assertEquals(stopped({}), "stopped after 1.5 s: 1 connection carried, 0 not connected, 10 B up, 0 B down");
  assertStringIncludes(
    stopped({
      udpSessionsOpened: 2,
      udpDatagramsUp: 5,
      udpBytesUp: 2048,
      udpDatagramsDown: 1,
      udpBytesDown: 9,
    }),
    "10 B up, 0 B down; 2 sessions, 5 datagrams (2.0 KiB) up, 1 datagram (9 B) down",
  );
});
