/**
 * Datagrams through a SOCKS5 server: what waits for its answer, who answers, what ends an association, and what a client
 * hears of a server that does not relay.
 */
import { assertEquals } from "../assert.ts";
import type { UpstreamReport } from "../fixtures/udp_upstream_main.ts";
import { at, NARROW_MTU, runInWorld, WORLD } from "../fixtures/udp_world_lab.ts";
import { labTest } from "../lab/mod.ts";

const FAILED = "upstream-failed/upstream";

for (const family of [4, 6] as const) {
  const { clients: [client], remote, otherRemote, worker } = WORLD[family];

  labTest(
    `udp upstream: IPv${family}: datagrams wait, are relayed as behind a full cone, and last as long as the server`,
    async () => {
      const report = await runInWorld<UpstreamReport>("udp_upstream_main.ts", `${family}`);
      const header = family === 4 ? 10 : 22;
      const numbers = (first: number) => Array.from({ length: 10 }, (_, i) => `${2 * i + first}`);
      assertEquals(report.carried, {
        before: 0,
        after: [...numbers(0), ...numbers(1)],
        sources: 1,
        sourceIsRelay: true,
        answers: [`answer ${at(remote, 30_000)}`, `unasked ${at(otherRemote, 30_002)}`],
        sessions: 1,
        // Greeting and request in one packet.
        firstReads: [3 + header],
        // Without headers.
        counted: [20, 30, 2, 13],
      });
      assertEquals(report.full, { arrived: 256, dropped: 20, inOrder: true });
      assertEquals(report.merged, {
        up: ["a100", "b100", "c100", "d1"],
        down: [
          `part 0 ${at(remote, 1)}`,
          `part 1 ${at(remote, 1)}`,
          `part 2 ${at(otherRemote, 2)}`,
          `part 3 ${at(remote, 1)}`,
        ],
        bad: 9,
        forged: 0,
      });
      const { flow, ...ends } = report.ends;
      assertEquals(ends, {
        controlClosed: [FAILED, "two", "2 associations"],
        relayGone: [FAILED, "two", "2 associations"],
        oneWay: [FAILED, "two", "2 associations"],
        idle: [true, false],
      });
      assertEquals({ ...flow, local: flow?.local?.replace(/\d+$/, "") }, {
        client: at(client, 20_006),
        destination: at(remote, 30_031),
        local: at(worker, 0).replace(/\d+$/, ""),
        bytes: [3, 6],
        datagrams: [1, 1],
        end: { reason: "idle-timeout", side: "proxy" },
        route: "socks",
      });
      assertEquals(report.filtered, ["answer", "1 filtered"]);
      assertEquals(report.narrow, {
        heard: [`EMSGSIZE ${NARROW_MTU - header} ${at(remote, 30_045)}`],
        arrived: [1_300, 1_380],
      });
      const port = `ECONNREFUSED ${at(remote, 30_050)}`;
      const prohibited = `${family === 4 ? "EHOSTUNREACH" : "EACCES"} ${at(remote, 30_050)}`;
      // The server was asked once for ten datagrams, and once more when it had been left alone for a while.
      assertEquals(report.failures, {
        "refuses": [[port], [FAILED], 12],
        "does not allow": [[prohibited], ["denied/upstream"], 12],
        "another password": [[prohibited], ["upstream-auth/upstream"], 12],
        "is not there": [[port], [FAILED], 2],
        "relay out of reach": [[port], [FAILED], 12],
      });
      assertEquals(report.advertised, { "any address": ["answer"], "its own": ["answer"] });
    },
  );
}
