import { assert, assertEquals, assertRejects } from "../tests/assert.ts";
import { Loopback } from "../tests/loopback.ts";
import { AF_INET, O_CLOEXEC, SOCK_CLOEXEC, SOCK_STREAM } from "./constants.ts";
import { closeNoted, noteDescriptors } from "./descriptor_book.ts";

const MOST = 4096;

function noted(memory: SharedArrayBuffer): number[] {
  return [...new Uint8Array(memory)].flatMap((byte, fd) => byte === 1 ? [fd] : []);
}

Deno.test("noteDescriptors: everything that is opened, until it is closed", () => {
  using loopback = new Loopback();
  const memory = new SharedArrayBuffer(MOST);
  const sys = noteDescriptors(loopback.sys, memory);
  const ends = loopback.arena.allocate(8);
  const path = loopback.arena.allocate(16);
  new TextEncoder().encodeInto("/dev/null\0", path.bytes);
  assertEquals(sys.pipe2(ends.pointer, O_CLOEXEC), 0);
  const fds = [
    sys.socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
    sys.open(path.pointer, O_CLOEXEC, 0),
    sys.epoll_create1(0),
    ...ends.words.slice(0, 2),
  ];
  assert(fds.every((fd) => fd > 2), fds.join());
  assertEquals(noted(memory), fds.toSorted((a, b) => a - b));
  // What fails is none.
  assert(sys.accept4(fds[0]!, null, null, 0) < 0);
  for (const fd of fds) assertEquals(sys.close(fd), 0);
  assertEquals(noted(memory), []);
});

Deno.test("closeNoted: what a thread has left behind is closed, its connections by a reset", async () => {
  using loopback = new Loopback();
  const memory = new SharedArrayBuffer(MOST);
  const { arena } = loopback;
  const sys = noteDescriptors(loopback.sys, memory);
  const listener = sys.socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assertEquals([sys.listen(listener, 8)], [0]);
  const address = arena.allocate(16), length = arena.allocate(4);
  length.words[0] = 16;
  sys.getsockname(listener, address.pointer, length.pointer);
  const port = address.bytes[2]! << 8 | address.bytes[3]!;
  using client = await Deno.connect({ hostname: "127.0.0.1", port });
  assert(sys.accept4(listener, null, null, SOCK_CLOEXEC) > 2);
  assertEquals(closeNoted(loopback.sys, arena, memory), 2);
  assertEquals(noted(memory), []);
  await assertRejects(() => client.read(new Uint8Array(1)), Deno.errors.ConnectionReset);
  await assertRejects(() => Deno.connect({ hostname: "127.0.0.1", port }), Deno.errors.ConnectionRefused);
  assertEquals(closeNoted(loopback.sys, arena, memory), 0);
});
