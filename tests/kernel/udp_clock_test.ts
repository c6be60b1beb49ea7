/**
 * After how long sessions end, by a clock that the test turns.
 */
import { assert, assertEquals } from "../assert.ts";
import { type ClockReport, IDLE_TIMEOUT_MS, runInWorld, USED_SECONDS } from "../fixtures/udp_world_lab.ts";
import { labTest } from "../lab/mod.ts";

const SHORT_MS = 10_000;
const USED_MS = USED_SECONDS * 1_000;
/** Timers of seconds are rounded up to whole ones, and set anew where a session was used meanwhile. */
const LATE_MS = 2_000;

for (const family of [4, 6] as const) {
  for (const refresh of ["outbound", "inbound"] as const) {
    labTest(
      `udp clock: IPv${family}: how long sessions last, kept alive by ${refresh} datagrams`,
      async () => {
        const report = await runInWorld<ClockReport>("udp_clock_main.ts", `${family}`, refresh);
        const lastHeard = refresh === "inbound" ? USED_MS : 0;
        const wanted: Record<string, number> = {
          "dns": SHORT_MS,
          "ntp": SHORT_MS,
          "dns and ntp": SHORT_MS,
          "long": IDLE_TIMEOUT_MS,
          "long, then dns": IDLE_TIMEOUT_MS,
          "dns, then long": IDLE_TIMEOUT_MS,
          "dns, heard": lastHeard + SHORT_MS,
          "long, heard": lastHeard + IDLE_TIMEOUT_MS,
          "dns, used": USED_MS + SHORT_MS,
          "long, used": USED_MS + IDLE_TIMEOUT_MS,
        };
        assertEquals(Object.keys(report.endedMs), Object.keys(wanted));
        for (const [name, atMs] of Object.entries(report.endedMs)) {
          const least = wanted[name]!;
          assert(
            atMs !== null && atMs >= least && atMs <= least + LATE_MS,
            `${name}: ${atMs}, ${least} wanted`,
          );
        }
        assertEquals([report.timeouts, report.sessions], [Object.keys(wanted).length, 0]);
      },
    );
  }
}
