/**
 * Datagrams that the kernel says are not whole: counted, told, and not passed on, while those beside them are.
 */
import { assertEquals } from "../assert.ts";
import type { HeadersReport } from "../fixtures/udp_headers_main.ts";
import { runInWorld } from "../fixtures/udp_world_lab.ts";
import { labTest } from "../lab/mod.ts";

for (const family of [4, 6] as const) {
  labTest(
    `udp headers: IPv${family}: what is cut off, or goes nobody knows where, is not passed on`,
    async () => {
      const report = await runInWorld<HeadersReport>("udp_headers_main.ts", `${family}`);
      assertEquals(report, {
        remoteGot: ["up 0", "up 5", "last"],
        clientGot: ["down 1", "down 2", "down 3", "down 5", "last"],
        // Truncated, of which control data, and without a destination.
        countedUp: [2, 1, 2, 0, 0],
        countedDown: [4, 1, 2, 0, 0],
        warnings: [
          "udp-truncated: a datagram was longer than any can be",
          "udp-error: a datagram came without its original destination",
          "udp-error: a datagram came without its original destination",
          "udp-truncated: a datagram was longer than any can be",
        ],
      });
    },
  );
}
