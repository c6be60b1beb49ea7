/**
 * What holds for every plan and every packet, whatever it is like.
 *
 * @module
 */
import fc from "fast-check";
import { assert, assertEquals } from "../tests/assert.ts";
import { intentWith } from "../tests/fixtures/intents.ts";
import { buildPlan } from "./build_plan.ts";
import { checkPlan } from "./check_plan.ts";
import { evaluate } from "./evaluate.ts";
import type { InterceptIntent } from "./intent.ts";
import { FIRST_OF_FLOW, type Flow, type Packet, type PacketHost } from "./packet.ts";
import type { Plan } from "./plan.ts";
import { PrefixLookup } from "./prefix_lookup.ts";

const { marks } = intentWith();
const OWN = { 4: ["198.51.100.1", "192.0.2.1"], 6: ["2001:db8:1::1", "2001:db8:2::1"] } as const;
const FOREIGN = { 4: ["198.51.100.7", "203.0.113.9"], 6: ["2001:db8:1::7", "2001:db8:9::9"] } as const;

const host: fc.Arbitrary<PacketHost> = fc.record({
  addresses: fc.constant([...OWN[4].map((text) => `${text}/24`), ...OWN[6].map((text) => `${text}/64`)]),
  forwards: fc.boolean(),
  proxy: fc.constantFrom("up", "down"),
});

const someMark = fc.constantFrom(
  0,
  0xca6c,
  marks.intercept,
  marks.bypass,
  marks.reply,
  marks.intercept + marks.fromHere,
);

const flow: fc.Arbitrary<Flow> = fc.oneof(
  fc.record({
    tracking: fc.constant("tracked" as const),
    direction: fc.constantFrom("original" as const, "reply" as const),
    seen: fc.boolean(),
    isNew: fc.boolean(),
    mark: someMark,
    redirectedTo: fc.constantFrom(null, 7870, 15001),
  }),
  fc.constant({ tracking: "untracked" } as const),
  fc.constant({ tracking: "invalid" } as const),
);

const names = fc.constantFrom("lan0", "wan0", "lo");
const packet: fc.Arbitrary<Packet> = fc.constantFrom(4 as const, 6 as const).chain((family) => {
  const address = fc.constantFrom(...OWN[family], ...FOREIGN[family]);
  const port = fc.constantFrom(53, 67, 443, 5555, 7870, 15001);
  return fc.record({
    family: fc.constant(family),
    protocol: fc.constantFrom("tcp", "udp", "icmp", "other"),
    source: address,
    sourcePort: port,
    destination: address,
    destinationPort: port,
    tcpFirst: fc.boolean(),
    dontFragment: fc.boolean(),
    way: fc.oneof(
      fc.record({
        kind: fc.constant("arriving" as const),
        interface: names,
        mac: fc.constantFrom("", "02:00:5e:10:00:01"),
      }),
      fc.record({
        kind: fc.constant("sent" as const),
        interface: names,
        owner: fc.option(
          fc.record({
            uid: fc.constantFrom(0, 1000),
            gid: fc.constantFrom(0, 1000),
            cgroup: fc.constantFrom("", "a"),
          }),
        ),
      }),
    ),
    mark: someMark,
    flow,
    socket: fc.option(fc.record({ transparent: fc.boolean(), wildcard: fc.boolean(), mark: someMark })),
  });
});

const onProxyDown = fc.constantFrom("open" as const, "closed" as const);
const hostIntent: fc.Arbitrary<InterceptIntent> = fc.record({
  tcp: fc.constantFrom("tproxy" as const, "redirect" as const, "off" as const),
  udp: fc.constantFrom("tproxy" as const, "off" as const),
  udpWorkers: fc.constantFrom(1, 3),
  from: fc.constantFrom(["lan0"], ["lan0", "wan0"]),
  local: fc.boolean(),
  source: fc.constantFrom("own" as const, "keep" as const),
  onProxyDown,
}).map((changes) => intentWith({ ...changes, otherInterfaces: changes.source === "keep" ? ["wan0"] : [] }));

const sidecarIntent: fc.Arbitrary<InterceptIntent> = fc.record({
  inbound: fc.constantFrom("redirect" as const, "tproxy" as const, "off" as const),
  dns: fc.option(fc.constant({ port: 15053, servers: [] })),
  dropInvalid: fc.boolean(),
  onProxyDown,
}).map(({ onProxyDown, ...sidecar }) => intentWith({ onProxyDown, sidecar }));

const plan = fc.oneof(hostIntent, sidecarIntent).map(buildPlan);
const hostPlan = hostIntent.map(buildPlan);

function isTaken(plan: Plan, packet: Packet, host: PacketHost): boolean {
  return typeof evaluate(plan, packet, host).verdict !== "string";
}

Deno.test("evaluate: every plan has one answer for every packet, and names a rule that it has", () => {
  fc.assert(
    fc.property(plan, packet, host, (plan, packet, host) => {
      const found = evaluate(plan, packet, host);
      assertEquals(found, evaluate(JSON.parse(JSON.stringify(plan)), packet, host));
      assertEquals(found.how === null, typeof found.verdict === "string");
      assert(found.mark >= 0 && found.mark <= 0xffffffff);
      const { decidedBy } = found;
      if (decidedBy !== null) {
        const chain = plan.chains.find(({ name }) => name === decidedBy.chain);
        assert(chain?.rules.some(({ id }) => id === decidedBy.rule));
      }
    }),
    { numRuns: 2000 },
  );
});

Deno.test("evaluate: the plans of these properties are plans that may be applied", () => {
  fc.assert(fc.property(plan, (plan) => assertEquals(checkPlan(plan), [])), { numRuns: 100 });
});

Deno.test("evaluate: bits of the mark that are not ours stay as they were", () => {
  const ours = marks.mask | marks.dontFragment | marks.fromHere;
  fc.assert(
    fc.property(plan, packet, host, (plan, packet, host) => {
      assertEquals(evaluate(plan, packet, host).mark & ~ours, packet.mark & ~ours);
    }),
    { numRuns: 1000 },
  );
});

Deno.test("evaluate: what our own sockets send is never taken", () => {
  fc.assert(
    fc.property(hostPlan, packet, host, (plan, sent, host) => {
      const flow: Flow = sent.flow.tracking === "tracked" ? { ...sent.flow, redirectedTo: null } : sent.flow;
      const way = { kind: "sent", interface: "wan0", owner: null } as const;
      const packet: Packet = { ...sent, way, flow, mark: marks.bypass };
      assertEquals(evaluate(plan, packet, host).verdict, "pass");
    }),
    { numRuns: 1000 },
  );
});

Deno.test("evaluate: nobody's first packet to this host itself is taken or dropped", () => {
  fc.assert(
    fc.property(hostPlan, packet, host, fc.nat(1), (plan, packet, host, i) => {
      const destination = OWN[packet.family][i]!;
      // As the kernel routes it: what is for this host leaves by lo, and nothing but this host sends by lo.
      const way = packet.way.kind === "sent"
        ? { ...packet.way, interface: "lo" }
        : { ...packet.way, interface: "lan0" };
      const first: Packet = { ...packet, destination, way, mark: 0, flow: FIRST_OF_FLOW, socket: null };
      assertEquals(evaluate(plan, first, host).verdict, "pass");
    }),
    { numRuns: 1000 },
  );
});

Deno.test("evaluate: without a proxy nothing is taken by a listener; an open plan drops nothing", () => {
  fc.assert(
    fc.property(plan, packet, host, (plan, packet, host) => {
      const socketless: Packet = { ...packet, socket: null };
      const down: PacketHost = { ...host, proxy: "down" };
      assertEquals(isTaken(plan, socketless, down), false);
      if (plan.intent.onProxyDown === "open") assertEquals(evaluate(plan, packet, down).verdict, "pass");
    }),
    { numRuns: 1000 },
  );
});

Deno.test("evaluate: a closed plan drops first packets without a proxy exactly where it takes them with one", () => {
  fc.assert(
    fc.property(plan, packet, host, (plan, packet, host) => {
      const closed = buildPlan({ ...plan.intent, onProxyDown: "closed" });
      const first: Packet = { ...packet, mark: 0, flow: FIRST_OF_FLOW, socket: null };
      const up = evaluate(closed, first, { ...host, proxy: "up" }).verdict;
      const down = evaluate(closed, first, { ...host, proxy: "down" }).verdict;
      assertEquals(down, typeof up === "string" ? up : "drop");
    }),
    { numRuns: 1000 },
  );
});

Deno.test("PrefixLookup: finds what a search through all prefixes finds", () => {
  const byte = fc.integer({ min: 0, max: 255 });
  const network = fc.tuple(byte, byte, fc.integer({ min: 8, max: 16 }));
  fc.assert(
    fc.property(fc.uniqueArray(byte, { maxLength: 30 }), network, (firsts, [a, b]) => {
      const lookup = new PrefixLookup(firsts.map((first) => `${first}.0.0.0/9`));
      assertEquals(lookup.has({ family: 4, text: `${a}.${b}.0.1` }), firsts.includes(a) && b < 128);
    }),
  );
  const six = new PrefixLookup(["2001:db8::/33", "2001:db8:ffff::1/128", "::/128"]);
  const found = ["2001:db8::1", "2001:db8:8000::", "2001:db8:ffff::1", "2001:db8:ffff::2", "::", "::1"]
    .map((text) => six.has({ family: 6, text }));
  assertEquals(found, [true, false, true, false, true, false]);
});
