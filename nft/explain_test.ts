import { assert, assertEquals, assertStringIncludes } from "../tests/assert.ts";
import { type IntentChanges, intentWith } from "../tests/fixtures/intents.ts";
import { ARRIVING, GATEWAY } from "../tests/fixtures/packets.ts";
import { buildPlan } from "./build_plan.ts";
import { evaluate } from "./evaluate.ts";
import { explain, renderExplanation } from "./explain.ts";
import { OPEN_FLOW, type Packet, type PacketHost } from "./packet.ts";

function explained(changes: IntentChanges, packet: Packet = ARRIVING, host: PacketHost = GATEWAY) {
  const plan = buildPlan(intentWith(changes));
  return explain(plan, packet, host, evaluate(plan, packet, host));
}

Deno.test("explain: says step by step what takes a connection, and which rule it was", () => {
  const text = renderExplanation(explained({ from: ["lan0"] }));
  assertEquals(text.split("\n"), [
    "tcp 198.51.100.7:5555 → 192.0.2.1:443: the first packet of a flow, coming in by lan0 from 02:00:5e:10:00:01",
    "",
    "  1. prerouting tproxy_in/new (a new connection): the rules of tcp_in_new decide",
    "  2. prerouting tcp_in_new/chosen (what is left): the rules of tcp_in_take decide",
    "  3. prerouting tcp_in_take/take (to the listener, or on its way when there is none): marked and handed to " +
    "the listener on port 7870, its addresses as they are",
    "  4. its mark has it routed by table 7873: delivered to this host",
    "",
    "taken by TPROXY, on port 7870: decided by tcp_in_take/take, to the listener, or on its way when there is none.",
  ]);
});

Deno.test("explain: names the interfaces of a chain that is not asked, and the chain where rules end", () => {
  const elsewhere = explained({ from: ["lan0", "lan1"] }, {
    ...ARRIVING,
    way: { kind: "arriving", interface: "wan0", mac: "" },
  });
  assert(elsewhere.packet.endsWith("coming in by wan0"), elsewhere.packet);
  assertStringIncludes(elsewhere.steps[0]!, "it is for what comes in by lan0, lan1, not by wan0");
  assertEquals(elsewhere.because, "no chain is asked about it");
  const select = { tcpPorts: { include: [{ first: 80, last: 80 }], exclude: [] } };
  const notIncluded = explained({ from: ["lan0"], select });
  assertStringIncludes(
    notIncluded.steps.at(-1)!,
    "prerouting tcp_in_port: none of its rules is about this packet",
  );
  assertEquals([notIncluded.outcome, notIncluded.because], ["passes untouched", "no rule decides about it"]);
});

Deno.test("explain: without a proxy: the rules that are gone, the rule that drops", () => {
  const down: PacketHost = { ...GATEWAY, proxy: "down" };
  assertEquals(explained({ from: ["lan0"] }, ARRIVING, down).because, "there are no rules");
  const closed = explained({ from: ["lan0"], onProxyDown: "closed" }, ARRIVING, down);
  assertStringIncludes(closed.packet, "while no proxy listens");
  assertStringIncludes(closed.steps.at(-2)!, "there is no listener on port 7870, so the next rule is asked");
  assertEquals([closed.outcome, closed.because], [
    "dropped",
    "decided by tcp_in_take/closed, there is no listener",
  ]);
});

Deno.test("explain: who sends, with which mark, and by which way round", () => {
  const sent: Packet = {
    ...ARRIVING,
    mark: 0x10,
    way: { kind: "sent", interface: "wan0", owner: { uid: 1000, gid: 100, cgroup: "user.slice" } },
  };
  const foreign = explained({ local: true }, sent);
  assertStringIncludes(foreign.packet, "sent here by uid 1000, gid 100, cgroup user.slice, to leave by wan0");
  assertStringIncludes(foreign.packet, "marked 0x10");
  assertStringIncludes(foreign.because, "tcp_out_new/foreign");
  const taken = explained({ local: true, udp: "tproxy", udpWorkers: 2 }, {
    ...sent,
    mark: 0,
    protocol: "udp",
  });
  assertStringIncludes(taken.steps.join("\n"), "so it is routed again: out by lo, and in again there");
  assertStringIncludes(taken.steps.join("\n"), "a hash of its sender chooses one of 2 workers");
  assertEquals(taken.outcome, "taken by TPROXY, on one of the ports 7870, 7871");
});

Deno.test("explain: later packets: of a socket, of a redirected flow, of nobody", () => {
  const later: Packet = { ...ARRIVING, tcpFirst: false, flow: OPEN_FLOW };
  const socket = { transparent: true, wildcard: false, mark: 0 };
  const followed = explained({ from: ["lan0"] }, { ...later, socket });
  assertStringIncludes(followed.packet, "a later packet of a flow that a transparent socket here belongs to");
  assertEquals(followed.outcome, "taken by the socket that it belongs to");
  const flow = { ...OPEN_FLOW, redirectedTo: 7870 };
  const redirect = { tcp: "redirect", from: ["lan0"] } as const;
  assertStringIncludes(explained(redirect, { ...later, flow, socket }).because, "conntrack rewrites");
  const lost = explained(redirect, { ...later, flow });
  assertEquals([lost.outcome, lost.because], [
    "dropped",
    "delivered to this host, where no socket takes it",
  ]);
});
