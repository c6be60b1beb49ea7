/**
 * Datagrams whose way a policy chooses: each flow is asked for once, live ones keep their way, and what is blocked is told
 * as its route says.
 */
import { assertEquals } from "../assert.ts";
import type { PolicyReport } from "../fixtures/udp_policy_main.ts";
import { at, runInWorld, WORLD } from "../fixtures/udp_world_lab.ts";
import { labTest } from "../lab/mod.ts";

for (const family of [4, 6] as const) {
  const { clients: [client], remote, otherRemote } = WORLD[family];

  labTest(`udp policy: IPv${family}: ways are chosen by flow, kept, and blocked as is said`, async () => {
    const report = await runInWorld<PolicyReport>("udp_policy_main.ts", `${family}`);
    assertEquals(report.chosen, {
      direct: true,
      relayed: true,
      asked: [1, 1],
      answers: [`relayed ${at(otherRemote, 30_000)}`, `straight ${at(remote, 30_000)}`],
      sessions: 2,
      // This host's own, the codepoint of the datagram, and root.
      facts: [0, 10, 0],
    });
    assertEquals(report.exchanged, [
      "later: as before",
      "live: as before",
      "new: relayed",
      "then live: relayed",
      "same way: same session",
    ]);
    // What had come before the kernel was asked to tell is for the router of then. Over IPv6 it tells of that too.
    assertEquals(report.queued, family === 4 ? [0] : [0, 0]);
    const refused = `ECONNREFUSED ${at(remote, 30_004)} blocked`;
    const prohibited = `${family === 4 ? "EHOSTUNREACH" : "EACCES"} ${at(remote, 30_004)} blocked`;
    assertEquals(report.blocked, {
      reset: [[refused, refused, refused, `by ${remote}`], 3, ["blocked/proxy by reset"]],
      // This host's address towards the client is the client's own here.
      icmp: [[prohibited, prohibited, prohibited, `by ${client}`], 3, ["blocked/proxy by icmp"]],
      drop: [[], 3, ["blocked/proxy by drop"]],
    });
    assertEquals(report.tos, [46 << 2 | 1, 10 << 2 | 1]);
    // The first session has the client's port, the second one cannot have it as well.
    assertEquals(report.twoWays, [true, false]);
    assertEquals(report.busySibling, [["direct idle-timeout"], 1]);
    const header = family === 4 ? 28 : 52;
    assertEquals(report.proxyProtocol, {
      headers: [[header, true], [header, true]],
      texts: ["one", "two"],
      answers: [`answer ${at(remote, 30_008)}`],
    });
    assertEquals(report.shortage, [[`${at(client, 20_350)} limit`], 1, 1, 0]);
    assertEquals(report.noInterface, [1, 0]);
  });
}
