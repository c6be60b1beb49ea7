import { assert } from "../assert.ts";
import type { HeapReport } from "../fixtures/udp_heap_main.ts";
import { GATEWAY_LAB, gatewayLab, labTest } from "../lab/mod.ts";

const PORT = 7870;
const WARM_UP = 400_000, DATAGRAMS = 1_000_000;

labTest("udp heap: a million datagrams leave nothing behind for the garbage collector", async () => {
  await using lab = await gatewayLab();
  const gateway = lab.host("gateway");
  const main = new URL("../../mod.ts", import.meta.url).pathname;
  await gateway.output([
    Deno.execPath(),
    ...["run", "-A", "--cached-only", main, "rules", "apply", "--tcp", "off", "--from", "lan0"],
    ...["--workers", "1", "--port", `${PORT}`],
  ]);
  const fixture = new URL("../fixtures/udp_heap_main.ts", import.meta.url).pathname;
  // 64 MiB for young objects: what a datagram would leave behind could not be collected in time, and would be seen.
  await using proxy = gateway.spawn([
    Deno.execPath(),
    ...[
      "run",
      "-A",
      "--cached-only",
      "--v8-flags=--min-semi-space-size=64,--max-semi-space-size=64",
      fixture,
    ],
    ...[`${PORT}`, `${WARM_UP}`, `${DATAGRAMS}`],
  ]);
  await proxy.stdout.waitFor((line) => line === "ready" || undefined, 20_000);
  // Both directions of several flows, as fast as they go: what is lost does not matter here.
  const { v4 } = GATEWAY_LAB.servers;
  // It answers from the address that was asked only if it has no other.
  await using server = lab.host("internet").spawn(["iperf3", "--forceflush", "-s", "-B", v4]);
  await server.stdout.waitFor((line) => line.includes("listening") || undefined, 15_000);
  await using load = lab.host("client").spawn([
    ...["iperf3", "-c", v4, "-u", "-b", "0", "-l", "300", "-P", "8", "--bidir", "-t", "60"],
  ]);
  const report = await proxy.stdout.waitFor(
    (line) => line.startsWith("{") ? JSON.parse(line) as HeapReport : undefined,
    60_000,
  );
  assert(load.running, load.stdout.tail());
  // The smallest object has 16 bytes. What there is comes from the program's own looks, and from code being optimised.
  assert(report.grownBytes < report.datagrams, `the heap grew: ${JSON.stringify(report)}`);
  assert(report.sessions >= 8, JSON.stringify(report));
});
