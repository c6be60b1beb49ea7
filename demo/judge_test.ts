import { assertEquals } from "../tests/assert.ts";
import { type Expectation, type Flow, judge, type Observation } from "./judge.ts";
import type { EndsReport } from "./traffic.ts";

const ENDS: EndsReport = {
  client: "192.0.2.2:40000",
  peer: "198.18.0.1:50000",
  bytesUp: 91,
  bytesDown: 20_000_082,
  durationMs: 70,
  checksums: [{ receiver: "client", found: "aa", wanted: "aa" }],
  problems: [],
};
const FLOW: Flow = {
  proto: "tcp",
  client: "192.0.2.2:40000",
  destination: "198.51.100.10:80",
  local: "198.18.0.1:50000",
  bytesUp: 91,
  bytesDown: 20_000_082,
  durationMs: 68,
  end: { reason: "closed", side: "client" },
};
const SEEN: Observation = { protocol: "tcp", dialled: "198.51.100.10:80", ends: ENDS, flow: FLOW };
const OWN: Expectation = { proxy: "own-address", end: "closed" };

Deno.test("judge: finds nothing wrong where all agrees", () => {
  const kept = "192.0.2.2:40000";
  const refused = { ...ENDS, peer: undefined };
  const cases: [string, Observation, Expectation][] = [
    ["own address", SEEN, OWN],
    ["kept address", { ...SEEN, ends: { ...ENDS, peer: kept }, flow: { ...FLOW, local: kept } }, {
      proxy: "keeps-address",
      end: "closed",
    }],
    ["no proxy", { ...SEEN, ends: { ...ENDS, peer: kept }, flow: undefined }, {
      proxy: "none",
      end: "closed",
    }],
    ["refused", { ...SEEN, ends: refused, flow: { ...FLOW, end: { reason: "refused", side: "upstream" } } }, {
      proxy: "own-address",
      end: "refused",
    }],
  ];
  for (const [name, seen, wanted] of cases) assertEquals(judge(seen, wanted), [], name);
});

Deno.test("judge: names each thing that is wrong, and only that", () => {
  const cases: [string, Observation, Expectation][] = [
    [
      "flow.client: 192.0.2.2:40001 found, 192.0.2.2:40000 wanted (the client's own socket)",
      { ...SEEN, flow: { ...FLOW, client: "192.0.2.2:40001" } },
      OWN,
    ],
    [
      "flow.destination: 198.51.100.10:81 found, 198.51.100.10:80 wanted (what was dialled)",
      { ...SEEN, flow: { ...FLOW, destination: "198.51.100.10:81" } },
      OWN,
    ],
    [
      "server's peer: 198.18.0.1:50000 found, 198.18.0.1:50001 wanted (flow.local)",
      { ...SEEN, flow: { ...FLOW, local: "198.18.0.1:50001" } },
      OWN,
    ],
    [
      "server's peer: none found, 198.18.0.1:50000 wanted (flow.local)",
      { ...SEEN, ends: { ...ENDS, peer: undefined } },
      OWN,
    ],
    [
      "flow.datagramsDown: 2 found, 1 wanted (what the client received)",
      {
        ...SEEN,
        ends: { ...ENDS, datagrams: { up: 1, down: 1 } },
        flow: { ...FLOW, datagramsUp: 1, datagramsDown: 2 },
      },
      OWN,
    ],
    [
      "flow.datagramsUp: none found, 1 wanted (what the client sent)",
      { ...SEEN, ends: { ...ENDS, datagrams: { up: 1, down: 1 } }, flow: { ...FLOW, datagramsDown: 1 } },
      OWN,
    ],
    [
      "flow.bytesUp: 90 found, 91 wanted (what the client sent)",
      { ...SEEN, flow: { ...FLOW, bytesUp: 90 } },
      OWN,
    ],
    [
      "flow.bytesDown: 20000082 found, 20000081 wanted (what the client received)",
      { ...SEEN, ends: { ...ENDS, bytesDown: 20_000_081 } },
      OWN,
    ],
    ["flow.proto: udp found, tcp wanted (what the client used)", {
      ...SEEN,
      flow: { ...FLOW, proto: "udp" },
    }, OWN],
    [
      "flow.end.reason: reset found, closed wanted (how it had to end)",
      { ...SEEN, flow: { ...FLOW, end: { reason: "reset", side: "client" } } },
      OWN,
    ],
    [
      "sha256 of what the client received: ab found, aa wanted (what was sent)",
      { ...SEEN, ends: { ...ENDS, checksums: [{ receiver: "client", found: "ab", wanted: "aa" }] } },
      OWN,
    ],
    ["proxy: no flow event for this connection", { ...SEEN, flow: undefined }, OWN],
    ["client: curl: (7) no", { ...SEEN, ends: { ...ENDS, problems: ["client: curl: (7) no"] } }, OWN],
    [
      "flow.local: 198.18.0.1:50000 found, 192.0.2.2:40000 wanted (the client's own socket)",
      SEEN,
      { proxy: "keeps-address", end: "closed" },
    ],
    [
      "flow.local: 192.0.2.2:40000 found, an address of the gateway wanted",
      { ...SEEN, ends: { ...ENDS, peer: ENDS.client }, flow: { ...FLOW, local: "192.0.2.2:40000" } },
      OWN,
    ],
    [
      "server's peer: 198.18.0.1:50000 found, 192.0.2.2:40000 wanted (the client)",
      { ...SEEN, flow: undefined },
      { proxy: "none", end: "closed" },
    ],
    [
      "flow.end.side: client found, upstream wanted (who refused)",
      {
        ...SEEN,
        ends: { ...ENDS, peer: undefined },
        flow: { ...FLOW, end: { reason: "refused", side: "client" } },
      },
      { proxy: "own-address", end: "refused" },
    ],
    [
      "server's peer: 198.18.0.1:50000 found, none wanted (nobody listens)",
      { ...SEEN, flow: { ...FLOW, end: { reason: "refused", side: "upstream" } } },
      { proxy: "own-address", end: "refused" },
    ],
  ];
  for (const [sentence, seen, wanted] of cases) assertEquals(judge(seen, wanted), [sentence]);
});

Deno.test("judge: a client without a socket agrees with nothing", () => {
  const seen = { ...SEEN, ends: { ...ENDS, client: undefined, peer: undefined }, flow: undefined };
  assertEquals(judge(seen, { proxy: "none", end: "closed" }), [
    "client: had no socket of its own to compare with",
  ]);
});
