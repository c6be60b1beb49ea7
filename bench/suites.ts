/**
 * The benchmarks there are.
 *
 * @module
 */
import type { Suite } from "./suite.ts";
import { TCP_CONTESTANTS, TCP_REFERENCE } from "./tcp_contestants.ts";
import { startTcpServers, TCP_MEASURES, TCP_TARGETS, verifyTcp } from "./tcp_measures.ts";
import { SOCKS_CONTESTANTS, SOCKS_JUDGED, SOCKS_REFERENCE, SOCKS_SECTIONS } from "./socks_contestants.ts";
import { SOCKS_MEASURES, SOCKS_TARGETS, verifySocks } from "./socks_measures.ts";
import { UDP_CONTESTANTS, UDP_REFERENCE } from "./udp_contestants.ts";
import { UDP_MEASURES, UDP_TARGETS, verifyUdp } from "./udp_measures.ts";

const ONE_WORKER = "one worker; ratios are to the C reference in the same round, and 0.97 is the noise";

/** By the name that `bench` takes. */
export const SUITES: readonly Suite[] = [
  {
    name: "tcp",
    contestants: TCP_CONTESTANTS,
    reference: TCP_REFERENCE,
    measures: TCP_MEASURES,
    targets: TCP_TARGETS,
    targetsAre: ONE_WORKER,
    judged: "pellucid-1",
    idle: "connections",
    full: { rounds: 5, durations: { bulkSeconds: 2, requestSeconds: 2, warmupMs: 2000 } },
    quick: { rounds: 2, durations: { bulkSeconds: 1, requestSeconds: 1, warmupMs: 300 } },
    site: {
      forwards: "nothing",
      intercepts: { tcp: "tproxy", udp: "off" },
      servers: [startTcpServers],
    },
    verify: verifyTcp,
  },
  {
    name: "udp",
    contestants: UDP_CONTESTANTS,
    reference: UDP_REFERENCE,
    measures: UDP_MEASURES,
    targets: UDP_TARGETS,
    targetsAre: ONE_WORKER,
    judged: "pellucid-1",
    idle: "sessions",
    full: { rounds: 3, durations: { bulkSeconds: 1, requestSeconds: 2, warmupMs: 300 } },
    quick: { rounds: 1, durations: { bulkSeconds: 0.3, requestSeconds: 1, warmupMs: 100 } },
    // TCP goes past the relay, but for the measure that says otherwise.
    site: {
      forwards: "all but UDP",
      intercepts: { tcp: "off", udp: "tproxy" },
      servers: [],
    },
    verify: verifyUdp,
  },
  {
    name: "socks",
    contestants: SOCKS_CONTESTANTS,
    reference: SOCKS_REFERENCE,
    sections: SOCKS_SECTIONS,
    measures: SOCKS_MEASURES,
    targets: SOCKS_TARGETS,
    targetsAre: "one worker; each ratio is to whom its row names, in the same turn",
    judged: SOCKS_JUDGED,
    full: { rounds: 2, durations: { bulkSeconds: 0.6, requestSeconds: 0.7, warmupMs: 400 } },
    quick: { rounds: 1, durations: { bulkSeconds: 0.15, requestSeconds: 0.15, warmupMs: 100 } },
    site: {
      forwards: "nothing",
      intercepts: { tcp: "tproxy", udp: "tproxy" },
      servers: [startTcpServers],
    },
    verify: verifySocks,
  },
];
