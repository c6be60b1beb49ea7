import { archOf, Arena } from "../ffi/mod.ts";
import { assert, assertEquals } from "../tests/assert.ts";
import { FakeKernel } from "../tests/fake_kernel.ts";
import { Loopback } from "../tests/loopback.ts";
import { PIPE_BYTES, PipePool } from "./pipe_pool.ts";

function setUp(maxPipes: number, prepare: (kernel: FakeKernel) => void = () => {}) {
  const kernel = new FakeKernel(archOf());
  prepare(kernel);
  return { kernel, pool: new PipePool(kernel, new Arena(64), maxPipes, () => {}) };
}

Deno.test("pipe pool: none until somebody asks, and no more than the limit", () => {
  const { kernel, pool } = setUp(3);
  assertEquals([pool.count, kernel.openDescriptors], [0, 0]);
  assertEquals([pool.hasSpare(), pool.hasSpare(), pool.count], [true, true, 1]);
  const lent = [1, 2, 3].map((count) => {
    const pipe = pool.borrow();
    assert(pipe !== null);
    assertEquals(pool.count, count);
    return pipe;
  });
  assertEquals([pool.hasSpare(), pool.borrow(), pool.count], [false, null, 3]);
  assertEquals(new Set(lent.flatMap(({ readEnd, writeEnd }) => [readEnd, writeEnd])).size, 6);
  pool.giveBack(lent[1]!);
  assertEquals(pool.borrow(), lent[1]);
  for (const pipe of lent) pool.giveBack(pipe);
  pool.close();
  assertEquals([pool.count, kernel.openDescriptors], [0, 0]);
});

Deno.test("pipe pool: the first few are large, as far as the kernel allows, and every change is told", () => {
  const kernel = new FakeKernel(archOf());
  let told = 0;
  const pool = new PipePool(kernel, new Arena(64), 100, (change) => told += change);
  const lent = Array.from({ length: 20 }, () => pool.borrow()!);
  assertEquals([told, lent.filter(({ isLarge }) => isLarge).length], [20, 12]);
  // A large one that is closed makes room for another.
  pool.discard(lent.shift()!);
  assertEquals(pool.borrow()!.isLarge, true);
  assertEquals(told, pool.count);
  kernel.largestPipeBytes = 65536;
  pool.discard(lent.shift()!);
  assertEquals(pool.borrow()!.isLarge, false);
});

Deno.test("pipe pool: no more than a few free pipes stay open", () => {
  const { kernel, pool } = setUp(100);
  const lent = Array.from({ length: 50 }, () => pool.borrow()!);
  assertEquals(pool.count, 50);
  for (const pipe of lent) pool.giveBack(pipe);
  assertEquals([pool.count, kernel.openDescriptors], [16, 32]);
});

Deno.test("pipe pool: without descriptors there is nothing to lend, until there are some again", () => {
  const { kernel, pool } = setUp(10, (kernel) => kernel.outOfDescriptors = true);
  assertEquals([pool.hasSpare(), pool.borrow(), pool.count], [false, null, 0]);
  kernel.outOfDescriptors = false;
  assertEquals([pool.hasSpare(), pool.borrow() !== null, pool.count], [true, true, 1]);
});

Deno.test("pipe pool: a pipe that is too small is closed at once", () => {
  const { kernel, pool } = setUp(10, (kernel) => kernel.pipeBytes = kernel.largestPipeBytes = 8192);
  assertEquals([pool.hasSpare(), pool.borrow(), pool.count, kernel.openDescriptors], [false, null, 0, 0]);
});

Deno.test("pipe pool: a discarded pipe is closed, and another may take its place", () => {
  const { kernel, pool } = setUp(1);
  const pipe = pool.borrow()!;
  assertEquals(pool.hasSpare(), false);
  pool.discard(pipe);
  assertEquals([pool.count, kernel.openDescriptors], [0, 0]);
  assertEquals(pool.hasSpare(), true);
});

Deno.test("pipe pool: the kernel's own pipes hold what a half pipe keeps", () => {
  using loopback = new Loopback();
  const { sys, arena } = loopback;
  const pool = new PipePool(sys, arena, 2, () => {});
  const pipe = pool.borrow();
  assert(pipe !== null, "fs.pipe-user-pages-soft has been passed, or there are no descriptors");
  const buffer = arena.allocate(PIPE_BYTES);
  assertEquals(sys.write(pipe.writeEnd, buffer.pointer, PIPE_BYTES), PIPE_BYTES);
  pool.discard(pipe);
  pool.close();
  assertEquals(pool.count, 0);
});
