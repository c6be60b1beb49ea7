/**
 * Who gets an answer, and from which socket, when there are more remotes than there may be sockets to answer from.
 */
import { assertEquals } from "../assert.ts";
import type { AnswersReport } from "../fixtures/udp_answers_main.ts";
import { at, runInWorld, WORLD } from "../fixtures/udp_world_lab.ts";
import { labTest } from "../lab/mod.ts";

for (const family of [4, 6] as const) {
  const { remote, otherRemote } = WORLD[family];

  labTest(
    `udp answers: IPv${family}: two reply sockets serve six remotes, each client gets its own`,
    async () => {
      const report = await runInWorld<AnswersReport>("udp_answers_main.ts", `${family}`);
      const wanted = (client: number, count: number) =>
        Array.from({ length: count }, (_, i) => `${client}/${i} ${at(remote, 30_000 + i)}`);
      assertEquals(report.got.map((texts) => texts.toSorted()), [wanted(0, 6), wanted(1, 4)]);
      const crowd = Array.from({ length: 12 }, (_, i) => [`crowd/${i} ${at(remote, 30_000)}`]);
      assertEquals(report.crowdGot, crowd);
      assertEquals(report.gotLate, [`late ${at(remote, 30_001)}`]);
      assertEquals(report.mostReplySockets, 2);
      assertEquals(report.open, {
        // One was given up.
        "atOnce": 1,
        "after 50 s": 1,
        "after 90 s, one used at 50 s": 1,
        "after 140 s": 0,
      });
      assertEquals(report.shared, {
        seenFrom: [at(otherRemote, 40_123)],
        answered: 1,
        raw: 0,
        stranger: "EADDRINUSE",
        strangerThatShares: "EADDRINUSE",
        nextSeenFrom: [at(otherRemote, 40_123)],
        nextStranger: "EADDRINUSE",
      });
      assertEquals(report.warnings, []);
    },
  );
}
