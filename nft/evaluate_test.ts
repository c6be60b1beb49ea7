import { assertEquals, assertNotEquals } from "../tests/assert.ts";
import { type IntentChanges, intentWith } from "../tests/fixtures/intents.ts";
import { ARRIVING, GATEWAY } from "../tests/fixtures/packets.ts";
import { buildPlan } from "./build_plan.ts";
import { evaluate } from "./evaluate.ts";
import { FIRST_OF_FLOW, OPEN_FLOW, type Packet, type PacketHost, type Sent } from "./packet.ts";

const DOWN: PacketHost = { ...GATEWAY, proxy: "down" };
const MARKS = intentWith().marks;

const SENT: Packet = { ...ARRIVING, way: sentBy(1000), source: "198.51.100.1" };
const LATER: Partial<Packet> = { tcpFirst: false, flow: OPEN_FLOW };
const OUR_SOCKET = { transparent: true, wildcard: false, mark: 0 };

function sentBy(uid: number, name = "wan0"): Sent {
  return { kind: "sent", interface: name, owner: { uid, gid: uid, cgroup: "user.slice/app" } };
}

/** Verdict, way of taking, and `chain/rule` that decided. */
function outcome(changes: IntentChanges, packet: Packet, host: PacketHost = GATEWAY) {
  const { verdict, how, decidedBy } = evaluate(buildPlan(intentWith(changes)), packet, host);
  return [
    typeof verdict === "string" ? verdict : `taken ${verdict.taken.join()}`.trim(),
    how,
    decidedBy === null ? null : `${decidedBy.chain}/${decidedBy.rule}`,
  ];
}

Deno.test("evaluate: a forwarded connection goes to the TPROXY listener, and is marked and delivered", () => {
  const found = evaluate(buildPlan(intentWith({ from: ["lan0"] })), ARRIVING, GATEWAY);
  assertEquals(found.verdict, { taken: [7870] });
  assertEquals([found.how, found.mark, found.flowMark], ["tproxy", MARKS.intercept, 0]);
  assertEquals(found.trail.at(-1), { kind: "delivered", why: "marked" });
});

Deno.test("evaluate: other interfaces, own addresses, broadcasts and anycast are left alone", () => {
  const gateway = { from: ["lan0"] };
  assertEquals(
    outcome(gateway, { ...ARRIVING, way: { kind: "arriving", interface: "lan1", mac: "" } })[0],
    "pass",
  );
  for (const destination of ["198.51.100.1", "198.51.100.255", "127.0.0.1", "224.0.0.251", "0.0.0.0"]) {
    assertEquals(outcome(gateway, { ...ARRIVING, destination }), ["pass", null, "tcp_in_new/here"]);
  }
  for (const destination of ["2001:db8:1::1", "2001:db8:1::", "::1", "ff02::1"]) {
    const packet: Packet = { ...ARRIVING, family: 6, source: "2001:db8:1::7", destination };
    assertEquals(outcome(gateway, packet), ["pass", null, "tcp_in_new/here"]);
  }
  const host: PacketHost = { ...GATEWAY, forwards: false };
  const anycast: Packet = { ...ARRIVING, family: 6, source: "2001:db8:1::7", destination: "2001:db8:1::" };
  assertEquals(outcome(gateway, anycast, host)[0], "taken 7870");
});

Deno.test("evaluate: later packets follow their socket, others' listeners and old connections stay", () => {
  const gateway = { from: ["lan0"] };
  assertEquals(outcome(gateway, { ...ARRIVING, ...LATER, socket: OUR_SOCKET }), [
    "taken",
    "socket",
    "tproxy_in/follow",
  ]);
  assertEquals(outcome(gateway, { ...ARRIVING, ...LATER }), ["pass", null, null]);
  const listener = { ...OUR_SOCKET, wildcard: true };
  assertEquals(outcome(gateway, { ...ARRIVING, ...LATER, socket: listener }), ["pass", null, null]);
});

Deno.test("evaluate: without a proxy an open plan is gone, a closed one drops what it would have taken", () => {
  const taken = (onProxyDown: "open" | "closed") => ({ from: ["lan0"], onProxyDown });
  assertEquals(evaluate(buildPlan(intentWith(taken("open"))), ARRIVING, DOWN).trail, [{ kind: "rulesGone" }]);
  assertEquals(outcome(taken("open"), ARRIVING, DOWN), ["pass", null, null]);
  const closed = evaluate(buildPlan(intentWith(taken("closed"))), ARRIVING, DOWN);
  assertEquals([closed.verdict, closed.decidedBy?.rule, closed.mark], ["drop", "closed", 0]);
  const done = closed.trail.flatMap((step) => step.kind === "rule" ? [`${step.rule} ${step.done}`] : []);
  assertEquals(done.slice(-2), ["take false", "closed true"]);
  const here = { ...ARRIVING, destination: "198.51.100.1" };
  assertEquals(outcome(taken("closed"), here, DOWN), ["pass", null, "tcp_in_new/here"]);
});

Deno.test("evaluate: packets of a taken connection whose socket is gone are lost in a closed plan alone", () => {
  const packet: Packet = { ...ARRIVING, ...LATER, flow: { ...OPEN_FLOW, mark: MARKS.intercept } };
  assertEquals(outcome({ from: ["lan0"], onProxyDown: "closed" }, packet), [
    "drop",
    null,
    "tproxy_in/lost",
  ]);
  assertEquals(outcome({ from: ["lan0"] }, packet), ["pass", null, null]);
});

Deno.test("evaluate: this host's own connection goes round by lo, with both bits of the mark", () => {
  const found = evaluate(buildPlan(intentWith({ local: true })), SENT, GATEWAY);
  assertEquals([found.verdict, found.how], [{ taken: [7870] }, "tproxy"]);
  assertEquals(found.mark, MARKS.intercept + MARKS.fromHere);
  assertEquals(found.flowMark, MARKS.intercept);
  assertEquals(found.trail.map((step) => step.kind === "rule" ? `${step.hook} ${step.rule}` : step.kind), [
    "output new",
    "output chosen",
    "output take",
    "loopback",
    "prerouting own",
    "prerouting take",
    "delivered",
  ]);
});

Deno.test("evaluate: our own sockets' packets pass, whoever else marks keeps its mark", () => {
  const local = { local: true };
  assertEquals(outcome(local, { ...SENT, mark: MARKS.bypass }), ["pass", null, "tproxy_out/bypass"]);
  const foreign = evaluate(buildPlan(intentWith(local)), { ...SENT, mark: 0xca6c }, GATEWAY);
  assertEquals([foreign.verdict, foreign.decidedBy?.rule, foreign.mark], ["pass", "foreign", 0xca6c]);
  const forwarded = evaluate(
    buildPlan(intentWith({ from: ["lan0"] })),
    { ...ARRIVING, mark: 0xca6c },
    GATEWAY,
  );
  assertEquals([forwarded.verdict, forwarded.mark], [{ taken: [7870] }, MARKS.intercept + 0xca6c]);
  assertEquals(outcome(local, { ...SENT, way: sentBy(1000, "lo"), destination: "198.51.100.1" })[0], "pass");
});

Deno.test("evaluate: NAT is asked for a flow's first packet alone, and later ones are translated without it", () => {
  const redirect = { tcp: "redirect", from: ["lan0"], local: true } as const;
  assertEquals(outcome(redirect, ARRIVING), ["taken 7870", "redirect", "tcp_in_take/take"]);
  assertEquals(outcome(redirect, SENT), ["taken 7870", "redirect", "tcp_out_take/take"]);
  assertEquals(outcome(redirect, { ...ARRIVING, ...LATER }), ["pass", null, null]);
  const open: Partial<Packet> = { tcpFirst: false, flow: { ...OPEN_FLOW, redirectedTo: 7870 } };
  const socket = { transparent: false, wildcard: false, mark: 0 };
  assertEquals(outcome(redirect, { ...ARRIVING, ...open, socket }), ["taken 7870", "redirect", null]);
  assertEquals(outcome(redirect, { ...ARRIVING, ...open, socket: null }), ["drop", null, null]);
  assertEquals(
    outcome(redirect, {
      ...ARRIVING,
      ...open,
      flow: { ...OPEN_FLOW, redirectedTo: 7870, direction: "reply" },
    })[0],
    "pass",
  );
  assertEquals(outcome(redirect, { ...ARRIVING, flow: { tracking: "untracked" } })[0], "pass");
});

Deno.test("evaluate: a closed REDIRECT drops at input, and only while nobody listens", () => {
  const closed = { tcp: "redirect", from: ["lan0"], local: true, onProxyDown: "closed" } as const;
  for (const packet of [ARRIVING, SENT]) {
    assertEquals(outcome(closed, packet, DOWN), ["drop", null, "redirect_closed/closed-tcp"]);
    assertEquals(outcome(closed, packet)[0], "taken 7870");
  }
  assertEquals(outcome(closed, { ...ARRIVING, destination: "198.51.100.1" }, DOWN)[0], "pass");
});

Deno.test("evaluate: datagrams: the workers' ports, what the mark says, and whose flow it is", () => {
  const udp = { udp: "tproxy", udpWorkers: 3, from: ["lan0"], local: true } as const;
  const plan = buildPlan(intentWith(udp));
  const datagram: Packet = { ...ARRIVING, protocol: "udp", tcpFirst: false };
  const found = evaluate(plan, datagram, GATEWAY);
  assertEquals([found.verdict, found.how], [{ taken: [7870, 7871, 7872] }, "tproxy"]);
  assertEquals([found.mark, found.flowMark], [MARKS.intercept + MARKS.dontFragment, MARKS.intercept]);
  const step = found.trail.findLast((step) => step.kind === "rule");
  assertEquals(step?.kind === "rule" && step.oneOf, ["udp_worker_0", "udp_worker_1", "udp_worker_2"]);
  assertEquals(evaluate(plan, { ...datagram, dontFragment: false }, GATEWAY).mark, MARKS.intercept);
  const seen = { ...FIRST_OF_FLOW, seen: true };
  assertEquals(evaluate(plan, { ...datagram, flow: seen }, GATEWAY).verdict, "pass");
  const ours = { ...seen, mark: MARKS.intercept };
  assertEquals(evaluate(plan, { ...datagram, flow: ours }, GATEWAY).verdict, { taken: [7870, 7871, 7872] });
  assertEquals(
    evaluate(plan, { ...datagram, flow: { ...ours, direction: "reply" } }, GATEWAY).verdict,
    "pass",
  );
  assertEquals(evaluate(plan, { ...datagram, flow: { tracking: "invalid" } }, GATEWAY).verdict, "pass");
  // What this host sends has been seen when it comes in again by lo: its entry is confirmed as it leaves.
  assertEquals(
    evaluate(plan, { ...datagram, way: sentBy(1000), source: "198.51.100.1" }, GATEWAY).how,
    "tproxy",
  );
});

Deno.test("evaluate: our answers to UDP clients are kept from conntrack before it looks", () => {
  const packet: Packet = { ...SENT, protocol: "udp", tcpFirst: false, mark: MARKS.reply };
  const found = evaluate(
    buildPlan(intentWith({ udp: "tproxy", from: ["lan0"], local: true })),
    packet,
    GATEWAY,
  );
  assertEquals([found.verdict, found.untracked, found.flowMark], ["pass", true, null]);
});

Deno.test("evaluate: source keep: zones, and answers that our socket takes", () => {
  const keep = { from: ["lan0"], source: "keep", otherInterfaces: ["wan0"] } as const;
  const plan = buildPlan(intentWith(keep));
  const zone = evaluate(plan, { ...SENT, mark: MARKS.bypass }, GATEWAY);
  assertEquals([zone.verdict, zone.zone], ["pass", 7873]);
  const answer: Packet = {
    ...ARRIVING,
    ...LATER,
    way: { kind: "arriving", interface: "wan0", mac: "" },
    source: "192.0.2.1",
    destination: "198.51.100.7",
    socket: { ...OUR_SOCKET, mark: MARKS.bypass },
  };
  assertEquals(outcome(keep, answer), ["taken", "socket", "keep_answers/answer"]);
  assertEquals(outcome(keep, { ...answer, protocol: "icmp" }), ["taken", "socket", "keep_answers/error"]);
  assertEquals(outcome(keep, { ...answer, socket: OUR_SOCKET })[0], "pass");
});

Deno.test("evaluate: selectors ask for sets, ports, cards, users, cgroups and marks", () => {
  const { select: none } = intentWith();
  const rules = (select: Partial<typeof none>) => ({ from: ["lan0"], local: true, select });
  const chosen = (select: Partial<typeof none>, packet: Packet) =>
    outcome(rules(select), packet)[1] === "tproxy";
  const only = <T>(...include: T[]) => ({ include, exclude: [] });
  const but = <T>(...exclude: T[]) => ({ include: [], exclude });

  const prefixes = ["192.0.2.0/30", "203.0.113.0/24", "2001:db8:9::/48"];
  assertEquals(chosen({ destinations: only(...prefixes) }, ARRIVING), true);
  assertEquals(chosen({ destinations: only(...prefixes) }, { ...ARRIVING, destination: "192.0.2.4" }), false);
  assertEquals(chosen({ destinations: but(...prefixes) }, ARRIVING), false);
  assertEquals(chosen({ destinations: but(...prefixes) }, { ...ARRIVING, destination: "192.0.2.4" }), true);
  assertEquals(chosen({ sources: but("198.51.100.0/29") }, ARRIVING), false);
  assertEquals(chosen({ tcpPorts: only({ first: 440, last: 443 }) }, ARRIVING), true);
  assertEquals(chosen({ tcpPorts: but({ first: 440, last: 443 }) }, ARRIVING), false);
  assertEquals(chosen({ macs: but("02:00:5e:10:00:01") }, ARRIVING), false);
  assertEquals(chosen({ macs: only("02:00:5e:10:00:02") }, ARRIVING), false);
  assertEquals(chosen({ uids: but({ first: 1000, last: 1000 }) }, SENT), false);
  assertEquals(chosen({ uids: only({ first: 0, last: 999 }) }, SENT), false);
  assertEquals(chosen({ gids: only({ first: 1000, last: 1001 }) }, SENT), true);
  assertEquals(chosen({ cgroups: but("user.slice") }, SENT), false);
  assertEquals(chosen({ cgroups: but("user.slice/app") }, SENT), false);
  assertEquals(chosen({ cgroups: but("user.slice/ap") }, SENT), true);
  assertEquals(chosen({ outgoing: but("wan0") }, SENT), false);
  assertEquals(chosen({ marks: but({ value: 0x10, mask: 0xf0 }) }, { ...ARRIVING, mark: 0x13 }), false);
  assertEquals(chosen({ marks: only({ value: 0x10, mask: 0xf0 }) }, { ...SENT, mark: 0x13 }), true);
});

Deno.test("evaluate: a pod: inbound, outbound, its own service's address, DNS", () => {
  const pod = { tcp: "redirect", port: 15001, sidecar: { dns: { port: 15053, servers: [] } } } as const;
  const inbound: Packet = { ...ARRIVING, destination: "198.51.100.1", destinationPort: 8080 };
  assertEquals(outcome(pod, inbound), ["taken 15006", "redirect", "side_in_take/take"]);
  assertEquals(outcome(pod, SENT), ["taken 15001", "redirect", "tcp_out_take/take"]);
  const toSelf: Packet = { ...SENT, way: sentBy(1337, "lo"), destination: "198.51.100.1" };
  assertEquals(outcome(pod, { ...toSelf, mark: MARKS.reply })[0], "taken 15006");
  assertEquals(outcome(pod, { ...toSelf, mark: MARKS.bypass })[0], "pass");
  assertEquals(outcome(pod, { ...toSelf, destination: "127.0.0.1" })[0], "pass");
  const query: Packet = { ...SENT, protocol: "udp", tcpFirst: false, destinationPort: 53 };
  assertEquals(outcome(pod, query), ["taken 15053", "redirect", "side_nat_out/dns-udp-1"]);
  const own = evaluate(buildPlan(intentWith(pod)), { ...query, mark: MARKS.bypass }, GATEWAY);
  assertEquals([own.verdict, own.decidedBy?.rule], ["pass", "bypass"]);
  assertNotEquals(own.zone, evaluate(buildPlan(intentWith(pod)), query, GATEWAY).zone);
});

Deno.test("evaluate: a pod's inbound TPROXY, and packets that conntrack cannot place", () => {
  const pod = { tcp: "redirect", port: 15001, sidecar: { inbound: "tproxy", dropInvalid: true } } as const;
  const inbound: Packet = { ...ARRIVING, destination: "198.51.100.1", destinationPort: 8080 };
  assertEquals(outcome(pod, inbound), ["taken 15006", "tproxy", "side_in_take/take"]);
  assertEquals(outcome(pod, { ...inbound, ...LATER, socket: OUR_SOCKET })[1], "socket");
  assertEquals(outcome(pod, { ...inbound, ...LATER, flow: { tracking: "invalid" } }), [
    "drop",
    null,
    "side_valid/invalid",
  ]);
  const toSelf: Packet = { ...SENT, way: sentBy(1337, "lo"), destination: "198.51.100.1", mark: MARKS.reply };
  assertEquals(outcome(pod, toSelf), ["taken 15006", "tproxy", "side_in_take/take"]);
});
