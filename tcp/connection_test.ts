import {
  EADDRNOTAVAIL,
  ECONNREFUSED,
  ECONNRESET,
  EHOSTUNREACH,
  EMFILE,
  ENETUNREACH,
  ENOBUFS,
  EPIPE,
  ETIMEDOUT,
  SO_KEEPALIVE,
  SOL_SOCKET,
  SOL_TCP,
  TCP_KEEPIDLE,
} from "../ffi/mod.ts";
import { assertEquals, assertGreaterOrEqual, assertLessOrEqual } from "../tests/assert.ts";
import {
  CONNECT_TIMEOUT_MS,
  type Flow,
  HALF_CLOSED_TIMEOUT_MS,
  IDLE_TIMEOUT_MS,
  KEEPALIVE_SECONDS,
  RelayWorld,
} from "../tests/relay_world.ts";
import { LARGE_PIPE_BYTES } from "./pipe_pool.ts";
import { type ConnectionEnd, dialFailure } from "../flow/connection_end.ts";
import type { LiveFlow } from "../flow/mod.ts";

/** Runs one flow: before each wait of the loop the next of `acts`; then time passes until the flow has ended. */
function play(...acts: ((flow: Flow) => void)[]): { end: ConnectionEnd; afterMs: number; flow: Flow } {
  return playWith(65536, ...acts);
}

function playWith(
  bufferBytes: number,
  ...acts: ((flow: Flow) => void)[]
): { end: ConnectionEnd; afterMs: number; flow: Flow } {
  const world = new RelayWorld(2);
  const { kernel, reactor } = world;
  const startMs = kernel.nowMs;
  world.openFlow(bufferBytes, bufferBytes);
  const flow = world.flows[0]!;
  kernel.onIdle = (timeoutMs) => {
    if (!flow.isOpen) return reactor.stop();
    const act = acts.shift();
    if (act !== undefined) act(flow);
    else kernel.nowMs += timeoutMs;
  };
  reactor.run();
  const afterMs = flow.endMs - startMs;
  flow.client.read(Infinity, flow.upstream);
  flow.upstream.read(Infinity, flow.client);
  flow.assertEndIsTrue();
  world.assertNothingLeft();
  return { end: flow.end!, afterMs, flow };
}

Deno.test("dialFailure: what the errors of connect mean", () => {
  const cases: [number, ConnectionEnd][] = [
    [ECONNREFUSED, { reason: "refused", side: "upstream" }],
    [ECONNRESET, { reason: "refused", side: "upstream" }],
    [EPIPE, { reason: "refused", side: "upstream" }],
    [EHOSTUNREACH, { reason: "unreachable", side: "upstream" }],
    [ENETUNREACH, { reason: "unreachable", side: "upstream" }],
    [ETIMEDOUT, { reason: "connect-timeout", side: "upstream" }],
    [EMFILE, { reason: "limit", side: "proxy" }],
    [EADDRNOTAVAIL, { reason: "limit", side: "proxy" }],
    [ENOBUFS, { reason: "error", side: "upstream" }],
  ];
  for (const [errno, wanted] of cases) assertEquals(dialFailure(errno), wanted);
});

Deno.test("connection: a destination that refuses resets the client", () => {
  const { end, flow } = play((flow) => flow.upstream.die(ECONNREFUSED));
  assertEquals(end, { reason: "refused", side: "upstream" });
  assertEquals(flow.client.socket.closed, "reset");
});

Deno.test("connection: accepted, finished and reset in one moment is refused", () => {
  const { end } = play((flow) => {
    flow.accept();
    flow.upstream.finish();
    flow.upstream.die(ECONNRESET);
  });
  assertEquals(end, { reason: "refused", side: "upstream" });
});

Deno.test("connection: an upstream that goes takes its connections with it; one that has ended is in nobody's list", () => {
  const live = new Set<LiveFlow>();
  const { end, flow } = play(
    (flow) => {
      flow.connection.joins(live);
      flow.accept();
    },
    () => live.forEach((each) => each.endByUpstream()),
  );
  assertEquals(end, { reason: "upstream-failed", side: "upstream" });
  assertEquals([flow.client.socket.closed, flow.upstream.socket.closed], ["reset", "reset"]);
  assertEquals(live.size, 0);
});

Deno.test("connection: a destination that never answers is given up in time", () => {
  const { end, afterMs } = play();
  assertEquals(end, { reason: "connect-timeout", side: "upstream" });
  assertGreaterOrEqual(afterMs, CONNECT_TIMEOUT_MS);
  assertLessOrEqual(afterMs, CONNECT_TIMEOUT_MS + 1100);
});

Deno.test("connection: each half closes by itself", () => {
  const { end, flow } = play(
    (flow) => flow.accept(),
    ({ client }) => {
      client.send(1000);
      client.finish();
    },
    ({ client, upstream }) => {
      upstream.read(Infinity, client);
      assertEquals(upstream.socket.peerSeesEnd, true);
      assertEquals(client.socket.peerSeesEnd, false);
      upstream.send(50_000);
    },
    ({ client, upstream }) => {
      client.read(Infinity, upstream);
      upstream.finish();
    },
  );
  assertEquals(end.reason, "closed");
  assertEquals([flow.client.received, flow.upstream.received], [50_000, 1000]);
});

Deno.test("connection: a reset goes through in both directions, past bytes that wait", () => {
  for (const side of ["client", "upstream"] as const) {
    const other = side === "client" ? "upstream" : "client";
    const { end, flow } = play(
      (flow) => flow.accept(),
      // The other side reads nothing: its buffers and a pipe fill up.
      (flow) => flow[side].send(400_000),
      (flow) => flow[side].die(ECONNRESET),
    );
    assertEquals(end, { reason: "reset", side });
    assertEquals(flow[other].socket.closed, "reset");
  }
});

Deno.test("connection: a stalled reader stops the sender", () => {
  let taken = 0;
  play(
    (flow) => flow.accept(),
    ({ upstream }) => upstream.send(5_000_000),
    ({ upstream }) => taken = upstream.socket.bytesTaken,
  );
  // The client's send buffer, and a pipe.
  assertLessOrEqual(taken, 65536 + LARGE_PIPE_BYTES);
});

Deno.test("connection: what is put off for fairness is taken up again", () => {
  const { end, flow } = playWith(
    10_000_000,
    (flow) => flow.accept(),
    ({ client, upstream }) => {
      client.send(5_000_000);
      upstream.send(5_000_000);
      client.finish();
      upstream.finish();
    },
  );
  assertEquals(end.reason, "closed");
  assertEquals([flow.client.received, flow.upstream.received], [5_000_000, 5_000_000]);
});

Deno.test("connection: silence ends it, sooner when one half is closed", () => {
  const idle = play((flow) => flow.accept());
  assertEquals(idle.end, { reason: "idle-timeout", side: "proxy" });
  assertLessOrEqual(idle.afterMs, IDLE_TIMEOUT_MS + 1100);
  const halfClosed = play((flow) => flow.accept(), (flow) => flow.client.finish());
  assertEquals(halfClosed.end, { reason: "half-closed-timeout", side: "proxy" });
  assertLessOrEqual(halfClosed.afterMs, HALF_CLOSED_TIMEOUT_MS + 1100);
});

Deno.test("connection: half-closed, a slow reader is waited for as long as it reads", () => {
  // Five timeouts long; in all, less is read than a third of the send buffer, which an event takes.
  const reads = 20;
  const open: boolean[] = [];
  let lastReadMs = 0;
  const { end, flow } = play(
    (flow) => flow.accept(),
    ({ client, upstream }) => {
      client.finish();
      upstream.send(2_000_000);
    },
    ...Array.from({ length: reads }, () => (flow: Flow) => {
      open.push(flow.isOpen);
      flow.client.read(500, flow.upstream);
      lastReadMs = flow.world.kernel.nowMs;
      flow.world.kernel.nowMs += HALF_CLOSED_TIMEOUT_MS / 4;
    }),
  );
  assertEquals(open, Array(reads).fill(true));
  assertEquals(end, { reason: "half-closed-timeout", side: "proxy" });
  // The look that finds nothing taken is a timeout after one that did.
  assertGreaterOrEqual(flow.endMs, lastReadMs + HALF_CLOSED_TIMEOUT_MS);
  assertLessOrEqual(flow.endMs, lastReadMs + 2 * (HALF_CLOSED_TIMEOUT_MS + 1100));
});

Deno.test("connection: half-closed, one that takes nothing is ended at the second look", () => {
  const { end, afterMs } = play(
    (flow) => flow.accept(),
    ({ client, upstream }) => {
      client.finish();
      upstream.send(2_000_000);
    },
  );
  assertEquals(end, { reason: "half-closed-timeout", side: "proxy" });
  assertLessOrEqual(afterMs, 2 * (HALF_CLOSED_TIMEOUT_MS + 1100));
});

Deno.test("connection: only one that has lived as long asks for keepalive probes", () => {
  const old = play((flow) => flow.accept());
  assertEquals(old.flow.upstream.socket.options.get(`${SOL_SOCKET}/${SO_KEEPALIVE}`), 1);
  assertEquals(old.flow.upstream.socket.options.get(`${SOL_TCP}/${TCP_KEEPIDLE}`), KEEPALIVE_SECONDS);
  const brief = play(
    (flow) => flow.accept(),
    ({ client, upstream }) => {
      client.finish();
      upstream.finish();
    },
  );
  assertEquals(brief.end.reason, "closed");
  assertEquals(brief.flow.upstream.socket.options.size, 0);
});

Deno.test("connection: one half that fails in deferred work leaves the other alone", () => {
  const { end } = playWith(
    10_000_000,
    (flow) => flow.accept(),
    ({ client, upstream, world }) => {
      client.send(5_000_000);
      upstream.send(5_000_000);
      // In the same turn, before the connection's own deferred work.
      world.reactor.defer({ onDeferred: () => upstream.die(ECONNRESET) });
    },
  );
  assertEquals(end, { reason: "reset", side: "upstream" });
});
