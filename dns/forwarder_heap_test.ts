import { assert, assertGreaterOrEqual } from "../tests/assert.ts";
import type { DnsHeapReport } from "../tests/fixtures/dns_heap_main.ts";

Deno.test("dns: a million queries leave nothing behind for the garbage collector", async () => {
  const fixture = new URL("../tests/fixtures/dns_heap_main.ts", import.meta.url);
  const { code, stdout, stderr } = await new Deno.Command("timeout", {
    args: [
      ...["60", Deno.execPath(), "run", "-A", "--cached-only"],
      // What a query would leave behind could not be collected in time, and would be seen.
      "--v8-flags=--min-semi-space-size=64,--max-semi-space-size=64",
      ...[fixture.href, "200000", "1000000"],
    ],
  }).output();
  assert(code === 0, new TextDecoder().decode(stderr));
  const report = JSON.parse(new TextDecoder().decode(stdout)) as DnsHeapReport;
  assertGreaterOrEqual(report.answers, 1_000_000);
  // The smallest object has 16 bytes. What there is comes from each turn of the loop and from drawing random numbers.
  assert(report.grownBytes < 8 * report.queries, `the heap grew: ${JSON.stringify(report)}`);
});
