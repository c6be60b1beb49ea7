import { assertEquals, assertRejects } from "../tests/assert.ts";
import { THIS_HOST } from "./host_lookups.ts";

Deno.test("readSecret: a file, and not what has no end or is no text", async () => {
  const file = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(file, "p\u00e4ss\n");
    assertEquals(await THIS_HOST.readSecret(file), "p\u00e4ss\n");
    await Deno.writeFile(file, Uint8Array.of(0x70, 0xe4, 0x73));
    await assertRejects(() => THIS_HOST.readSecret(file), TypeError, "not UTF-8");
    await Deno.writeFile(file, new Uint8Array(64 * 1024 + 1));
    await assertRejects(() => THIS_HOST.readSecret(file), RangeError, "more than 65536 bytes");
    // Its size is 0, as a pipe's is.
    await assertRejects(() => THIS_HOST.readSecret("/dev/zero"), RangeError, "more than 65536 bytes");
    await assertRejects(() => THIS_HOST.readSecret(`${file}-no`), Deno.errors.NotFound);
  } finally {
    await Deno.remove(file);
  }
});
