import { assertEquals } from "../tests/assert.ts";
import { intentWith } from "../tests/fixtures/intents.ts";
import { ARRIVING, GATEWAY } from "../tests/fixtures/packets.ts";
import { buildPlan } from "../nft/build_plan.ts";
import { evaluate } from "../nft/evaluate.ts";
import type { Packet } from "../nft/packet.ts";
import { compare } from "./compare.ts";

function rules(...names: readonly string[]) {
  return names.map((name) => {
    const [chain = "", rule = ""] = name.split("/");
    return { chain, rule };
  });
}

Deno.test("compare: the same rules and the same end agree, whatever the order", () => {
  const plan = buildPlan(intentWith({ from: ["lan0"] }));
  const predicted = evaluate(plan, ARRIVING, GATEWAY);
  const met = rules("tcp_in_take/take", "tproxy_in/new", "tcp_in_new/chosen");
  const seen = compare(plan, predicted, { backend: "nft", rules: met, fate: "delivered" });
  assertEquals([seen.agrees, seen.decidedBy], [true, { chain: "tcp_in_take", rule: "take" }]);
  assertEquals(compare(plan, predicted, { backend: "nft", rules: met, fate: "left" }).agrees, false);
});

Deno.test("compare: both deciding rules are named, and what was met too much or too little", () => {
  const plan = buildPlan(intentWith({ from: ["lan0"] }));
  const predicted = evaluate(plan, ARRIVING, GATEWAY);
  const met = rules("tproxy_in/new", "tcp_in_new/here");
  const { agrees, text } = compare(plan, predicted, { backend: "iptables", rules: met, fate: "left" });
  assertEquals(agrees, false);
  assertEquals(text, [
    "the kernel does not agree (iptables): tcp_in_new/here decided, where tcp_in_take/take was predicted",
    "not met: tcp_in_new/chosen, tcp_in_take/take",
    "met as well: tcp_in_new/here",
    "the packet was sent on its way; predicted: delivered to this host",
  ]);
});

Deno.test("compare: without a listener iptables drops by the TPROXY rule itself, nft by the one after it", () => {
  const plan = buildPlan(intentWith({ from: ["lan0"], onProxyDown: "closed" }));
  const predicted = evaluate(plan, ARRIVING, { ...GATEWAY, proxy: "down" });
  const met = rules("tproxy_in/new", "tcp_in_new/chosen", "tcp_in_take/take");
  const agrees = (backend: "nft" | "iptables", names: typeof met) =>
    compare(plan, predicted, { backend, rules: names, fate: "lost" }).agrees;
  assertEquals([agrees("iptables", met), agrees("nft", met)], [true, false]);
  assertEquals(agrees("nft", [...met, ...rules("tcp_in_take/closed")]), true);
});

Deno.test("compare: any worker will do", () => {
  const plan = buildPlan(intentWith({ from: ["lan0"], tcp: "off", udp: "tproxy", udpWorkers: 2 }));
  const packet: Packet = { ...ARRIVING, protocol: "udp", tcpFirst: false };
  const predicted = evaluate(plan, packet, GATEWAY);
  const steps = predicted.trail.filter((step) => step.kind === "rule");
  const other = steps.map(({ chain, rule }) => ({
    chain: chain === "udp_worker_0" ? "udp_worker_1" : chain,
    rule,
  }));
  assertEquals(compare(plan, predicted, { backend: "nft", rules: other, fate: "delivered" }).agrees, true);
});
