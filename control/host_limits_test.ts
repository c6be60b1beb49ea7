import { assertEquals, assertGreaterOrEqual, assertLessOrEqual } from "../tests/assert.ts";
import { parseHardFdLimit, shareFds } from "./fd_budget.ts";
import { parseInterfaceNames } from "./interfaces.ts";
import { hasNetAdmin } from "./preflight.ts";
import { isHangupIgnored } from "./signals.ts";
import { clientTableBytes } from "./worker_configs.ts";

Deno.test("shareFds: connections, pipes and the reserve never exceed the limit", () => {
  for (const hard of [1024, 4096, 20_000, 1_048_576]) {
    for (const workers of [1, 2, 4, 16]) {
      const { maxConnections, maxPipesPerWorker } = shareFds(hard, workers, undefined);
      assertLessOrEqual(
        2 * maxConnections + 2 * maxPipesPerWorker * workers + 256,
        hard,
        `${hard}, ${workers}`,
      );
      assertGreaterOrEqual(maxPipesPerWorker, 1);
    }
  }
});

Deno.test("shareFds: 65,536 connections where descriptors allow, and only a wish is said to be lowered", () => {
  assertEquals(shareFds(1_048_576, 2, undefined).maxConnections, 65_536);
  assertEquals(shareFds(Infinity, 2, 100_000), {
    maxConnections: 100_000,
    maxPipesPerWorker: 512,
    lowered: false,
  });
  assertEquals(shareFds(20_000, 2, undefined).lowered, false);
  assertEquals(shareFds(20_000, 2, 65_536).lowered, true);
  assertEquals(shareFds(20_000, 2, 9_000), { maxConnections: 9_000, maxPipesPerWorker: 312, lowered: false });
});

Deno.test("parseHardFdLimit: the second number of /proc/self/limits", () => {
  const limits = (hard: string) =>
    "Limit                     Soft Limit           Hard Limit           Units     \n" +
    `Max processes             100                  200                  processes \n` +
    `Max open files            1024                 ${hard.padEnd(20)} files     \n`;
  assertEquals(parseHardFdLimit(limits("524288")), 524_288);
  assertEquals(parseHardFdLimit(limits("unlimited")), Infinity);
});

Deno.test("clientTableBytes: eight bytes a slot, a power of two, at most half full", () => {
  assertEquals(clientTableBytes(1), 8 * 1024);
  assertEquals(clientTableBytes(512), 8 * 1024);
  assertEquals(clientTableBytes(513), 8 * 2048);
  assertEquals(clientTableBytes(65_536), 8 * 131_072);
});

Deno.test("hasNetAdmin: bit 12 of the effective set", () => {
  const status = (effective: string) =>
    `CapInh:\tffffffffffffffff\nCapPrm:\tffffffffffffffff\nCapEff:\t${effective}\n`;
  assertEquals(hasNetAdmin(status("000001ffffffffff")), true);
  assertEquals(hasNetAdmin(status("0000000000001000")), true);
  assertEquals(hasNetAdmin(status("0000000000002fff")), false);
  assertEquals(hasNetAdmin(status("0000000000000000")), false);
});

Deno.test("isHangupIgnored: the lowest bit of the ignored set, as under nohup", () => {
  const status = (ignored: string) => `SigBlk:\t0000000000000001\nSigIgn:\t${ignored}\nSigCgt:\t1\n`;
  assertEquals(isHangupIgnored(status("0000000000001001")), true);
  assertEquals(isHangupIgnored(status("0000000000001000")), false);
});

Deno.test("parseInterfaceNames: /proc/net/dev without its two head lines", () => {
  const dev = "Inter-|   Receive                                                |  Transmit\n" +
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes\n" +
    "    lo: 1 2 3\n  eth0:123 4 5\nbr-4f.100: 0 0 0\n";
  assertEquals(parseInterfaceNames(dev), ["lo", "eth0", "br-4f.100"]);
});
