/**
 * Errors about datagrams that a client never sent, and errors that meet datagrams which they are not about.
 */
import { assertEquals } from "../assert.ts";
import type { ForgedReport } from "../fixtures/udp_forged_main.ts";
import { at, runInWorld, WORLD } from "../fixtures/udp_world_lab.ts";
import { labTest } from "../lab/mod.ts";

for (const family of [4, 6] as const) {
  const { remote, otherRemote } = WORLD[family];

  labTest(
    `udp forged: IPv${family}: errors concern the remote that they quote, if the client wrote to it`,
    async () => {
      const { heard, sent, arrived, dropped } = await runInWorld<ForgedReport>(
        "udp_forged_main.ts",
        `${family}`,
      );
      const told = (to: string) => [
        { code: "ECONNREFUSED", to, info: 0, quoted: "quoted" },
        { code: "EHOSTUNREACH", to, info: 0, quoted: "quoted" },
        { code: "EMSGSIZE", to, info: 1_300, quoted: "quoted" },
      ];
      const other = told(at(otherRemote, 9_000));
      assertEquals(heard, [...told(at(remote, 9_000)), ...other, ...other]);
      assertEquals([sent, dropped], [heard.length, 0]);
      assertEquals(arrived, ["0", "1", "2", "3", "4", "5"]);
    },
  );
}
