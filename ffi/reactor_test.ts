import { assert, assertEquals, assertGreaterOrEqual, assertLess } from "../tests/assert.ts";
import { Loopback } from "../tests/loopback.ts";
import { archOf } from "./arch.ts";
import { EPOLLIN, EPOLLOUT, EPOLLRDHUP, MSG_NOSIGNAL } from "./constants.ts";
import { Reactor } from "./reactor.ts";
import { Timer } from "./timer_wheel.ts";

/** fcntl.h; only this test copies descriptors. */
const F_DUPFD = 0;

class Alarm extends Timer {
  constructor(readonly then: () => void) {
    super();
  }
  override onTimer(): void {
    this.then();
  }
}

/** Ends a loop that would otherwise never end: the test then fails instead of hanging. */
function runGuarded(reactor: Reactor, limitMs = 5000): void {
  let expired = false;
  const guard = new Alarm(() => {
    expired = true;
    reactor.stop();
  });
  reactor.timers.schedule(guard, limitMs);
  reactor.run();
  reactor.timers.cancel(guard);
  assert(!expired, `the loop did not end within ${limitMs} ms`);
}

Deno.test("reactor: edge-triggered events reach the handler of their descriptor", () => {
  using loopback = new Loopback();
  const { sys, arena } = loopback;
  const reactor = loopback.openReactor();
  const [dialled, accepted] = loopback.connectedPair();
  const buffer = arena.allocate(16);
  const seen: number[] = [];
  const handler = {
    onEvents(fd: number, events: number): void {
      assertEquals(fd, accepted);
      seen.push(events);
      // Nothing is read: an edge tells of it once.
      if (seen.length === 1) sys.send(dialled, buffer.pointer, 1, MSG_NOSIGNAL);
      else if (seen.length === 2) sys.shutdown(dialled, 1);
      else reactor.stop();
    },
  };
  assertEquals(reactor.add(accepted, EPOLLIN | EPOLLOUT | EPOLLRDHUP, handler), 0);
  runGuarded(reactor);
  assertEquals(seen, [EPOLLOUT, EPOLLIN | EPOLLOUT, EPOLLIN | EPOLLOUT | EPOLLRDHUP]);
});

Deno.test("reactor: a fetched event of a descriptor closed meanwhile is not given to the next owner of its number", () => {
  using loopback = new Loopback();
  const { sys, arena } = loopback;
  const buffer = arena.allocate(16);
  const [readA, writeA] = loopback.pipe(), [readB, writeB] = loopback.pipe();
  const reactor = loopback.openReactor();
  let deliveredToStranger = 0, first = -1;
  const reused: number[] = [];
  // Both pipes are ready in one batch. Whichever comes first closes the other and takes its number.
  const onFirst = (fd: number): void => {
    if (first >= 0) throw new Error(`an event of ${fd}, which was closed`);
    first = fd;
    const other = fd === readA ? readB : readA;
    reactor.forget(other);
    // Takes the number as dup2 would: nobody else in this process can get it in between.
    const before = sys.fcntl(fd, F_DUPFD, 0);
    sys.close(before);
    loopback.close(other);
    for (let tries = 0; tries < 100; tries++) {
      const next = loopback.own(sys.fcntl(writeA, F_DUPFD, other));
      if (next === other) break;
    }
    reused.push(other);
    reactor.add(other, EPOLLOUT, {
      onEvents: (_fd, events) => {
        if ((events & EPOLLIN) !== 0) deliveredToStranger++;
        reactor.stop();
      },
    });
  };
  reactor.add(readA, EPOLLIN, { onEvents: onFirst });
  reactor.add(readB, EPOLLIN, { onEvents: onFirst });
  assertEquals([sys.write(writeA, buffer.pointer, 1), sys.write(writeB, buffer.pointer, 1)], [1, 1]);
  runGuarded(reactor);
  assertEquals([reused.length, deliveredToStranger], [1, 0]);
});

Deno.test("reactor: a descriptor that was removed is silent and may be added again", () => {
  using loopback = new Loopback();
  const { sys, arena } = loopback;
  const buffer = arena.allocate(16);
  const [readEnd, writeEnd] = loopback.pipe();
  const reactor = loopback.openReactor();
  reactor.add(readEnd, EPOLLIN, { onEvents: () => assert(false, "an event of a removed descriptor") });
  reactor.remove(readEnd);
  sys.write(writeEnd, buffer.pointer, 1);
  let events = 0;
  reactor.timers.schedule(
    new Alarm(() => {
      reactor.add(readEnd, EPOLLIN, {
        onEvents: () => {
          events++;
          reactor.stop();
        },
      });
    }),
    100,
  );
  runGuarded(reactor);
  assertEquals(events, 1);
});

Deno.test("reactor: adding what cannot be watched answers the error", () => {
  using loopback = new Loopback();
  const reactor = loopback.openReactor();
  const [readEnd] = loopback.pipe();
  const handler = { onEvents: () => {} };
  assertEquals(reactor.add(-1, EPOLLIN, handler), -9, "EBADF");
  assertEquals(reactor.add(readEnd, EPOLLIN, handler), 0);
  assertEquals(reactor.add(readEnd, EPOLLIN, handler), -17, "EEXIST");
});

Deno.test("reactor: the doorbell is rung by writing to /proc/self/fd/N, from another thread too", async () => {
  using loopback = new Loopback();
  const reactor = loopback.openReactor();
  let rings = 0;
  const doorbell = reactor.openDoorbell(loopback.arena, () => {
    rings++;
    if (rings === 3) reactor.stop();
  });
  loopback.own(doorbell);
  const ring = () => {
    using file = Deno.openSync(`/proc/self/fd/${doorbell}`, { write: true });
    file.writeSync(new Uint8Array(1));
  };
  // Rings before anybody waits are one ring.
  ring();
  ring();
  reactor.defer({ onDeferred: ring });
  const source = `
    const file = Deno.openSync("/proc/self/fd/${doorbell}", { write: true });
    postMessage("open");
    onmessage = () => { setTimeout(() => { file.writeSync(new Uint8Array(64)); file.close(); }, 100); };
  `;
  const worker = new Worker(`data:text/javascript,${encodeURIComponent(source)}`, { type: "module" });
  await new Promise((resolve) => worker.onmessage = resolve);
  worker.postMessage("ring");
  runGuarded(reactor);
  assertEquals(rings, 3);
  worker.terminate();
});

Deno.test("reactor: deferred work comes after the events of its turn, in order, and once", () => {
  using loopback = new Loopback();
  const { sys, arena } = loopback;
  const buffer = arena.allocate(16);
  const reactor = loopback.openReactor();
  const order: string[] = [];
  for (const name of ["a", "b"]) {
    const [readEnd, writeEnd] = loopback.pipe();
    reactor.add(readEnd, EPOLLIN, {
      onEvents: () => {
        order.push(`event ${name}`);
        reactor.defer({ onDeferred: () => order.push(`deferred ${name}`) });
      },
    });
    sys.write(writeEnd, buffer.pointer, 1);
  }
  reactor.defer({
    onDeferred: () => {
      order.push("first");
      // Put off while putting off: the next turn, before which events are looked at.
      reactor.defer({
        onDeferred: () => {
          order.push("second");
          reactor.stop();
        },
      });
    },
  });
  runGuarded(reactor);
  assertEquals(order, ["event a", "event b", "first", "deferred a", "deferred b", "second"]);
});

/** Runs a reactor over a kernel whose epoll_wait is counted; `limit` waits at most. */
function countWaits(loopback: Loopback, prepare: (reactor: Reactor) => void): number[] {
  const timeouts: number[] = [];
  const reactor: Reactor = new Reactor(
    {
      ...loopback.sys,
      epoll_wait: (epoll, events, maxEvents, timeoutMs) => {
        timeouts.push(timeoutMs);
        if (timeoutMs < 0) {
          reactor.stop();
          return 0;
        }
        return loopback.sys.epoll_wait(epoll, events, maxEvents, timeoutMs);
      },
    },
    loopback.arena,
    archOf(),
  );
  prepare(reactor);
  reactor.run();
  reactor.close();
  return timeouts;
}

Deno.test("reactor: with nothing to do it waits without a limit", () => {
  using loopback = new Loopback();
  assertEquals(countWaits(loopback, () => {}), [-1]);
});

Deno.test("reactor: a timer costs one wake-up, although the clock is coarse", () => {
  using loopback = new Loopback();
  let startMs = 0, firedMs = 0;
  const timeouts = countWaits(loopback, (reactor) => {
    startMs = reactor.now;
    reactor.timers.schedule(new Alarm(() => firedMs = reactor.now), 300);
  });
  assertGreaterOrEqual(firedMs - startMs, 300);
  assertLess(firedMs - startMs, 2000);
  // One wait for the timer, one without a limit after it.
  assertEquals(timeouts.length, 2, `${timeouts}`);
});

Deno.test("reactor: what a handler throws comes out of run", () => {
  using loopback = new Loopback();
  const reactor = loopback.openReactor();
  const failure = new Error("a handler's");
  reactor.defer({
    onDeferred: () => {
      throw failure;
    },
  });
  let caught: unknown;
  try {
    reactor.run();
  } catch (error) {
    caught = error;
  }
  assertEquals(caught, failure);
});
