import { assert, assertEquals, assertStringIncludes } from "../tests/assert.ts";
import type { FromWorker } from "./protocol.ts";
import { WarningLimiter } from "./warnings.ts";

function setUp() {
  const clock = { now: 5_000_000 };
  const sent: Extract<FromWorker, { kind: "warning" }>[] = [];
  const limiter = new WarningLimiter(clock, (message) => {
    assert(message.kind === "warning");
    sent.push(message);
  });
  return { clock, sent, limiter };
}

Deno.test("warnings: the first is sent at once, with a hint", () => {
  const { sent, limiter } = setUp();
  limiter.warn("fds-exhausted", "EMFILE: no file descriptor for another connection");
  assertEquals(sent.length, 1);
  assertEquals([sent[0]!.event, sent[0]!.message], [
    "fds-exhausted",
    "EMFILE: no file descriptor for another connection",
  ]);
  assertStringIncludes(sent[0]!.hint!, "ulimit");
});

Deno.test("warnings: one of a kind and second, and the next says how many were left out", () => {
  const { clock, sent, limiter } = setUp();
  for (let i = 0; i < 100; i++) {
    limiter.warn("loop", "a connection");
    clock.now += 5;
  }
  assertEquals(sent.length, 1);
  clock.now += 500;
  limiter.warn("loop", "a connection");
  assertEquals(sent.map(({ message }) => message), [
    "a connection",
    "a connection (and 99 more times since the last line)",
  ]);
  clock.now += 1000;
  limiter.warn("loop", "a connection");
  assertEquals(sent[2]!.message, "a connection");
});

Deno.test("warnings: one kind does not hold up another", () => {
  const { sent, limiter } = setUp();
  const kinds = [
    ...["loop", "connection-limit", "client-limit", "fds-exhausted", "accept-error"] as const,
    ...[
      "udp-loop",
      "session-limit",
      "session-client-limit",
      "udp-fds-exhausted",
      "reply-port-taken",
    ] as const,
    ...["icmp-unavailable", "udp-truncated", "udp-error"] as const,
    ...["dns-resolver-down", "dns-limit", "dns-fds-exhausted"] as const,
  ];
  for (const kind of kinds) {
    limiter.warn(kind, "detail");
    limiter.warn(kind, "detail");
  }
  assertEquals(sent.map(({ event }) => event), kinds);
  assert(sent.every(({ hint }) => hint !== undefined && hint.length > 0));
});
