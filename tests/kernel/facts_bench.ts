/**
 * Costs that shaped the design, to be measured again: `deno bench -A tests/kernel/facts_bench.ts`.
 * docs/kernel-facts.md and docs/architecture.md refer to it.
 *
 * @module
 */
import { Arena, O_CLOEXEC, O_NONBLOCK, openSyscalls } from "../../ffi/mod.ts";

const sys = openSyscalls();
const arena = new Arena(4096);

/** A pipe that is read as it is written to, so that it never fills. */
function openPipe(): { readEnd: number; writeEnd: number } {
  const ends = arena.allocate(8);
  if (sys.pipe2(ends.pointer, O_NONBLOCK | O_CLOEXEC) < 0) throw new Error("no pipe");
  return { readEnd: ends.words[0]!, writeEnd: ends.words[1]! };
}

const bell = openPipe();
const rope = Deno.openSync(`/proc/self/fd/${bell.writeEnd}`, { write: true });
const ring = new Uint8Array(1);
const rings = arena.allocate(64);

Deno.bench("doorbell: ring through /proc/self/fd/N without FFI, and read", { group: "doorbell" }, () => {
  rope.writeSync(ring);
  sys.read(bell.readEnd, rings.pointer, 64);
});
Deno.bench("doorbell: write and read through FFI", { group: "doorbell" }, () => {
  sys.write(bell.writeEnd, rings.pointer, 1);
  sys.read(bell.readEnd, rings.pointer, 64);
});

// labs and toupper do nearly nothing: what is left is the call.
const { symbols } = Deno.dlopen("libc.so.6", {
  // int toupper(int c);
  toupper: { parameters: ["i32"], result: "i32" },
  // long labs(long j); declared as a size_t would be.
  labs: { parameters: ["usize"], result: "i32" },
});
const seven = 7n;

Deno.bench("FFI: an i32 argument", { group: "ffi" }, () => {
  symbols.toupper(7);
});
Deno.bench("FFI: a usize argument given a number", { group: "ffi" }, () => {
  (symbols.labs as unknown as (n: number) => number)(7);
});
Deno.bench("FFI: a usize argument given a bigint constant", { group: "ffi" }, () => {
  symbols.labs(seven);
});

const bytes = new Uint8Array(64);
Deno.bench("Deno.UnsafePointer.of", { group: "ffi" }, () => {
  Deno.UnsafePointer.of(bytes);
});
