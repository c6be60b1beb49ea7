/**
 * Datagrams by a group of SOCKS5 servers: a member that stops relaying costs no datagram, and its live sessions as much
 * as is configured.
 */
import { assertEquals } from "../assert.ts";
import type { GroupReport } from "../fixtures/udp_group_main.ts";
import { at, runInWorld, WORLD } from "../fixtures/udp_world_lab.ts";
import { labTest } from "../lab/mod.ts";

for (const family of [4, 6] as const) {
  const { clients: [client], remote } = WORLD[family];

  labTest(`udp group: IPv${family}: another member carries what the first does not`, async () => {
    const { keep, reset } = await runInWorld<Record<"keep" | "reset", GroupReport>>(
      "udp_group_main.ts",
      `${family}`,
    );
    const same: Omit<GroupReport, "ended" | "old"> = {
      newcomer: [["newcomer"], 0, 1],
      allDown: [[`ECONNREFUSED ${at(remote, 30_000)}`], 0],
      back: ["back"],
    };
    assertEquals(keep, { ...same, ended: [], old: [["old"], 1, 0] });
    assertEquals(reset, {
      ...same,
      ended: [`${at(client, 20_001)} upstream-failed/upstream`],
      old: [["old"], 0, 1],
    });
  });
}
