/**
 * Datagrams by an upstream, like all others, leave nothing behind for the garbage collector: neither the header that is put
 * in front nor the one that is read.
 */
import { assert, assertEquals } from "../assert.ts";
import type { RelayedHeapReport } from "../fixtures/udp_relayed_heap_main.ts";
import { Lab, labTest } from "../lab/mod.ts";

labTest("udp heap: by an upstream, hundreds of thousands of datagrams leave nothing behind", async () => {
  await using lab = await Lab.start({ hosts: { worker: { addresses: [] } }, links: [] });
  const fixture = new URL("../fixtures/udp_relayed_heap_main.ts", import.meta.url).pathname;
  const text = await lab.host("worker").output([
    Deno.execPath(),
    "run",
    "-A",
    "--cached-only",
    "--v8-flags=--expose-gc,--min-semi-space-size=64,--max-semi-space-size=64",
    fixture,
  ]);
  const reports = JSON.parse(text) as RelayedHeapReport[];
  assertEquals(reports.length, 6);
  for (const { path, datagrams, grownBytes } of reports) {
    assert(datagrams > 500_000, `${path}: ${datagrams} were carried`);
    // The smallest object has 16 bytes. What there is comes from code being optimised.
    assert(
      grownBytes < datagrams,
      `${path}: the heap grew by ${grownBytes} bytes for ${datagrams} datagrams`,
    );
  }
});
