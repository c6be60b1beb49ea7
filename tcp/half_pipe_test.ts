import { archOf, Arena, ECONNRESET, EPIPE } from "../ffi/mod.ts";
import { assertEquals, assertLess } from "../tests/assert.ts";
import { FakeKernel } from "../tests/fake_kernel.ts";
import { FakeSocket } from "../tests/fake_socket.ts";
import { ENDED, HalfPipe, MORE, WAIT } from "./half_pipe.ts";
import { PIPE_BYTES, PipePool } from "./pipe_pool.ts";

/** One half pipe between two simulated sockets. */
function setUp({ sendCapacity = 1_000_000, maxPipes = 4 } = {}) {
  const kernel = new FakeKernel(archOf());
  const arena = new Arena(PIPE_BYTES + 1024);
  const pipes = new PipePool(kernel, arena, maxPipes, () => {});
  const source = new FakeSocket(1_000_000, 1_000_000), sink = new FakeSocket(1_000_000, sendCapacity);
  const half = new HalfPipe(
    { sys: kernel, arena, buffer: arena.allocate(PIPE_BYTES), pipes, one: arena.allocate(4) },
    kernel.install(source),
    kernel.install(sink),
  );
  return { kernel, pipes, source, sink, half };
}

/** Bytes that tell their place. */
function counting(length: number, from = 0): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (from + i) * 7 + ((from + i) >> 8) & 0xff);
}

Deno.test("half pipe: a small message is one recv and one send, and no pipe", () => {
  const { kernel, pipes, source, sink, half } = setUp();
  assertEquals(pipes.hasSpare(), true);
  source.peerSends(counting(100));
  half.readable = true;
  const before = kernel.calls;
  assertEquals(half.pump(), WAIT);
  assertEquals(kernel.calls - before, 2);
  assertEquals(half.readable, false);
  assertEquals(sink.peerReads(Infinity), counting(100));
  assertEquals([half.bytes, pipes.count, kernel.bytesInPipes], [100, 1, 0]);
});

Deno.test("half pipe: with an end of stream announced, a short read is not the last", () => {
  const { source, half } = setUp();
  source.peerSends(counting(100));
  source.peerFinishes();
  half.readable = half.hungUp = true;
  assertEquals(half.pump(), ENDED);
  assertEquals([half.bytes, half.ended], [100, true]);
});

Deno.test("half pipe: what a full sink refuses waits in a pipe, and the source is left alone", () => {
  const { kernel, source, sink, half } = setUp({ sendCapacity: 30 });
  source.peerSends(counting(100));
  half.readable = true;
  assertEquals(half.pump(), WAIT);
  assertEquals([half.blocked, half.bytes, kernel.bytesInPipes], [true, 30, 70]);
  source.peerSends(counting(5, 100));
  const arrived = [...sink.peerReads(Infinity)];
  for (let turn = 0; turn < 10; turn++) {
    half.readable = true;
    half.blocked = false;
    half.pump();
    arrived.push(...sink.peerReads(Infinity));
  }
  assertEquals(arrived, [...counting(105)]);
  assertEquals(kernel.bytesInPipes, 0);
});

Deno.test("half pipe: a second stall uses the pipe of the first", () => {
  const { kernel, pipes, source, sink, half } = setUp({ sendCapacity: 50 });
  for (let i = 0; i < 10; i++) {
    source.peerSends(counting(80));
    half.readable = true;
    half.blocked = false;
    half.pump();
    sink.peerReads(Infinity);
  }
  half.close();
  pipes.close();
  assertEquals([pipes.count, kernel.openDescriptors], [0, 2]);
});

Deno.test("half pipe: a stream is spliced, and the pipe given back when it pauses", () => {
  const { kernel, pipes, source, sink, half } = setUp();
  source.peerSends(counting(300_000));
  half.readable = true;
  assertEquals(half.pump(), WAIT);
  assertEquals(sink.peerReads(Infinity), counting(300_000));
  assertEquals(kernel.bytesInPipes, 0);
  pipes.close();
  assertEquals(kernel.openDescriptors, 2);
});

Deno.test("half pipe: one call moves no more than its share", () => {
  const { source, half } = setUp({ sendCapacity: 10_000_000 });
  half.readable = true;
  for (let i = 0; i < 5; i++) source.peerSends(counting(1_000_000));
  assertEquals(half.pump(), MORE);
  assertLess(half.bytes, 2_000_000);
  assertEquals(half.pump(), MORE);
});

Deno.test("half pipe: without pipes nothing is taken that cannot be handed over", () => {
  const { kernel, source, sink, half } = setUp({ sendCapacity: 30_000, maxPipes: 0 });
  source.peerSends(counting(100_000));
  half.readable = true;
  const arrived: number[] = [];
  for (let turn = 0; turn < 20 && arrived.length < 100_000; turn++) {
    half.blocked = false;
    assertEquals(half.pump(), WAIT);
    assertEquals(source.bytesTaken, sink.bytesGiven);
    arrived.push(...sink.peerReads(Infinity));
  }
  assertEquals(Uint8Array.from(arrived), counting(100_000));
  assertEquals(kernel.openDescriptors, 2);
});

Deno.test("half pipe: splices once pipes can be had again", () => {
  const { kernel, pipes, source, sink, half } = setUp();
  kernel.outOfDescriptors = true;
  const carry = () => {
    source.peerSends(counting(400_000));
    half.readable = true;
    assertEquals(half.pump(), WAIT);
    assertEquals(sink.peerReads(Infinity), counting(400_000));
  };
  carry();
  assertEquals(pipes.count, 0);
  kernel.outOfDescriptors = false;
  carry();
  assertEquals(pipes.count, 1);
});

Deno.test("half pipe: an error names the side that had it", () => {
  const dead = setUp();
  dead.source.peerDies(ECONNRESET);
  dead.half.readable = true;
  assertEquals([dead.half.pump(), dead.half.failedAtSink], [-ECONNRESET, false]);

  const refused = setUp();
  refused.source.peerSends(counting(10));
  refused.sink.peerDies(ECONNRESET);
  refused.sink.takeError();
  refused.half.readable = true;
  assertEquals([refused.half.pump(), refused.half.failedAtSink], [-EPIPE, true]);
});

Deno.test("half pipe: a pipe with bytes in it is not lent again", () => {
  const { kernel, pipes, source, half } = setUp({ sendCapacity: 10 });
  source.peerSends(counting(100));
  half.readable = true;
  half.pump();
  assertEquals(kernel.bytesInPipes, 90);
  half.close();
  assertEquals(kernel.bytesInPipes, 0);
  pipes.close();
  assertEquals(kernel.openDescriptors, 2);
});
