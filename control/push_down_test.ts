import fc from "fast-check";
import {
  BUILT_IN_UPSTREAMS,
  type ConfigIssue,
  defaultRunConfig,
  NO_RULE_FILTERS,
  type RunConfig,
} from "../config/mod.ts";
import { parseAddress } from "../net/mod.ts";
import { countPolicyRules } from "../nft/build_policy.ts";
import { evaluate } from "../nft/evaluate.ts";
import { buildPlan, checkPlan } from "../nft/mod.ts";
import { FIRST_OF_FLOW, type Packet, type PacketHost } from "../nft/packet.ts";
import { type AskedFlow, explainPolicy, NO_FILTERS, type PolicyRule } from "../policy/mod.ts";
import { assert, assertEquals } from "../tests/assert.ts";
import { intentWith } from "../tests/fixtures/intents.ts";
import { MOST_KERNEL_RULES, pushDown, type PushDownContext, resolvePushDown } from "./push_down.ts";

const DIRECT = 0, ELSEWHERE = 1;
const INTERFACES = ["", "lo", "lan0", "lan1"];
const CONTEXT: PushDownContext = {
  notPlain: (route) => route === DIRECT ? undefined : "proxy is another way than direct",
  interfaceName: (index) => INTERFACES[index],
  answersDns: false,
};
const ANYTHING: PolicyRule = {
  ...NO_FILTERS,
  to: DIRECT,
};

function pushed(rules: readonly Partial<PolicyRule>[], change: Partial<PushDownContext> = {}) {
  return pushDown(rules.map((rule) => ({ ...ANYTHING, ...rule })), { ...CONTEXT, ...change });
}

const V4 = ["203.0.113.1", "203.0.113.77", "198.51.100.5"], V6 = ["2001:db8:9::1", "2001:db8:9:1::1"];
const CLIENTS = ["192.0.2.2", "192.0.2.77", "2001:db8:1::2", "2001:db8:1:1::2"];
const maybe = <T>(given: fc.Arbitrary<T>) => fc.option(given, { nil: undefined, freq: 1 });
const listOf = (...texts: string[]) => maybe(fc.uniqueArray(fc.constantFrom(...texts), { maxLength: 6 }));
const ports = maybe(fc.array(
  fc.tuple(fc.integer({ min: 1, max: 4 }), fc.nat(2)).map(([first, more]) => ({ first, last: first + more })),
  { maxLength: 2 },
));
const rule: fc.Arbitrary<PolicyRule> = fc.record({
  network: fc.constantFrom("tcp" as const, "udp" as const, undefined),
  destinations: listOf(
    ...["203.0.113.0/24", "203.0.113.0/26", "203.0.113.1/32", "198.51.100.0/24", "0.0.0.0/0"],
    ...["2001:db8:9::/48", "2001:db8:9::/64", "2001:db8:9::1/128", "::/0"],
  ),
  destinationPorts: ports,
  sources: listOf("192.0.2.0/24", "192.0.2.2/32", "2001:db8:1::/48", "2001:db8:1::/64"),
  sourcePorts: ports,
  interfaces: maybe(fc.uniqueArray(fc.constantFrom(2, 3, 9), { maxLength: 3 })),
  uids: maybe(fc.constantFrom([{ first: 0, last: 999 }], [{ first: 1000, last: 1000 }], [])),
  dscp: fc.constantFrom(undefined, undefined, undefined, [8], []),
  to: fc.constantFrom(DIRECT, ELSEWHERE),
});

interface Sending {
  readonly flow: AskedFlow;
  readonly packet: Packet;
}

const sending: fc.Arbitrary<Sending> = fc.record({
  network: fc.constantFrom("tcp" as const, "udp" as const),
  destination: fc.constantFrom(...V4, ...V6),
  client: fc.nat(1),
  destinationPort: fc.integer({ min: 1, max: 6 }),
  sourcePort: fc.integer({ min: 1, max: 6 }),
  way: fc.constantFrom("lan0" as const, "lan1" as const, 0, 1000),
  dscp: fc.constantFrom(0, 8),
}).map((one): Sending => {
  const { network, destination, destinationPort, sourcePort, way, dscp } = one;
  const { family } = parseAddress(destination)!;
  const source = CLIENTS[one.client + (family === 4 ? 0 : 2)]!;
  const isOwn = typeof way === "number";
  return {
    flow: {
      network,
      source: { address: parseAddress(source)!, port: sourcePort },
      destination: { address: parseAddress(destination)!, port: destinationPort },
      interface: isOwn ? undefined : INTERFACES.indexOf(way),
      uid: isOwn ? way : undefined,
      dscp,
    },
    packet: {
      ...{ family, protocol: network, source, sourcePort, destination, destinationPort },
      tcpFirst: network === "tcp",
      dontFragment: false,
      way: isOwn
        ? { kind: "sent", interface: "wan0", owner: { uid: way, gid: 0, cgroup: "" } }
        : { kind: "arriving", interface: way, mac: "" },
      mark: 0,
      flow: FIRST_OF_FLOW,
      socket: null,
    },
  };
});

const HOST: PacketHost = {
  addresses: ["192.0.2.1/24", "198.18.0.1/24", "2001:db8:1::1/64"],
  forwards: true,
  proxy: "up",
};

Deno.test("pushDown: the kernel lets pass nothing that the policy sends elsewhere, and whatever it can", () => {
  let passed = 0;
  fc.assert(
    fc.property(
      fc.array(rule, { maxLength: 10 }),
      fc.array(sending, { minLength: 8, maxLength: 20 }),
      (rules, all) => {
        const { verdicts, rules: reports } = pushed(rules);
        assertEquals(reports.length, rules.length);
        const plan = buildPlan(
          intentWith({ udp: "tproxy", from: ["lan0", "lan1"], local: true, policy: verdicts }),
        );
        assertEquals(checkPlan(plan), []);
        for (const { flow, packet } of all) {
          const passes = evaluate(plan, packet, HOST).verdict === "pass";
          const { route, rule } = explainPolicy(rules, flow);
          if (passes) assertEquals(route, DIRECT);
          // What is pushed decides, unless what is wider in the kernel than in the policy comes before it.
          const isPushed = rule !== undefined && route === DIRECT && reports[rule]!.isPushed;
          const isExact = rule !== undefined && rules.slice(0, rule).every(({ dscp }) => dscp === undefined);
          if (isPushed && isExact) assert(passes, JSON.stringify(packet));
          if (passes) passed++;
        }
      },
    ),
    { numRuns: 600 },
  );
  assert(passed > 100, `${passed} packets passed`);
});

Deno.test("pushDown: neighbours that differ in prefixes become one, the rest of the policy is not needed", () => {
  const { verdicts, rules } = pushed([
    { destinations: ["203.0.113.0/25"] },
    { destinations: ["203.0.113.128/25", "2001:db8::/32"] },
    { destinations: ["198.51.100.0/24"], to: ELSEWHERE },
    { sources: ["192.0.2.0/24"], interfaces: [2] },
    { destinations: ["192.0.2.0/24"], to: ELSEWHERE },
  ]);
  assertEquals(
    verdicts.map(({ id, verdict, destinations, sources, incoming, why }) => [
      ...[id, verdict, destinations, sources, incoming, why],
    ]),
    [
      ["rule-1", "pass", ["203.0.113.0/24", "2001:db8::/32"], null, null, "rules 1 to 2 of the policy"],
      ["rule-3", "take", ["198.51.100.0/24"], null, null, "rule 3 of the policy"],
      ["rule-4", "pass", null, ["192.0.2.0/24"], ["lan0"], "rule 4 of the policy"],
    ],
  );
  assertEquals(rules.map(({ isPushed }) => isPushed), [true, true, true, true, false]);
  assertEquals(rules[4]!.why, "no direct rule after it is pushed down");
});

Deno.test("pushDown: a codepoint, an interface that is not there, and a rule that covers the others", () => {
  const { verdicts, rules } = pushed([
    { dscp: [8] },
    { interfaces: [9] },
    { dscp: [46], network: "udp", to: ELSEWHERE },
    { destinations: ["203.0.113.0/24"] },
    { dscp: [1], to: ELSEWHERE },
    { destinations: ["198.51.100.0/24"] },
  ]);
  assertEquals(verdicts.map(({ id, verdict, network }) => [id, verdict, network]), [
    ["rule-3", "take", "udp"],
    ["rule-4", "pass", null],
  ]);
  assertEquals(rules.map(({ why }) => why), [
    "rules of the kernel do not ask for a codepoint",
    "it is about nothing that there is",
    "proxy is another way than direct: the kernel sends it here before it asks later rules, whatever its codepoint",
    "the kernel lets it pass",
    "no direct rule after it is pushed down",
    "as the kernel knows it, rule 5 is about everything that is left",
  ]);
});

Deno.test("pushDown: at most so many rules for the kernel", () => {
  const rules = Array.from({ length: 200 }, (_, i) => ({ destinations: [`203.0.113.${i}/32`], to: i & 1 }));
  const { verdicts, rules: reports } = pushed(rules);
  const count = verdicts.reduce((sum, verdict) => sum + countPolicyRules(verdict), 0);
  // The last of them would be a "take" that nothing follows.
  assertEquals([count, verdicts.at(-1)!.verdict], [MOST_KERNEL_RULES - 1, "pass"]);
  assertEquals(reports.filter(({ isPushed }) => isPushed).length, count);
  assert(reports.at(-1)!.why.includes(`${MOST_KERNEL_RULES}`));
  // As many in one rule are a set.
  const apart = rules.filter((_, i) => i % 2 === 0);
  const one = pushed(apart.map(({ destinations }) => ({ destinations })));
  assertEquals(one.verdicts.length, 1);
  assertEquals(countPolicyRules(one.verdicts[0]!), 1);
});

Deno.test("pushDown: queries that we answer ourselves come here before any rule", () => {
  const rules = [{ destinations: ["203.0.113.0/24"] }];
  const [dns, direct] = pushed(rules, { answersDns: true }).verdicts;
  assertEquals([dns!.verdict, dns!.destinationPorts, direct!.verdict], [
    "take",
    [{ first: 53, last: 53 }],
    "pass",
  ]);
  // Nothing passes that they could be kept from.
  assertEquals(pushed([{ to: ELSEWHERE }], { answersDns: true }).verdicts, []);
});

Deno.test("resolvePushDown: only the plain direct way, and only if it is wanted", async () => {
  const rule = {
    ...NO_RULE_FILTERS,
    destinations: ["203.0.113.7"],
  };
  const marked = {
    kind: "direct",
    name: "marked",
    source: null,
    interface: null,
    mark: 1,
    dscp: null,
  } as const;
  const config: RunConfig = {
    ...defaultRunConfig(),
    upstreams: [marked, ...BUILT_IN_UPSTREAMS],
    policy: {
      rules: [{ ...rule, to: "marked", destinations: ["203.0.113.8"] }, { ...rule, to: "direct" }],
      otherwise: "block",
      pushDown: true,
    },
  };
  const issues: ConfigIssue[] = [];
  const { verdicts, rules } = await resolvePushDown(config, issues);
  assertEquals(verdicts.map(({ verdict, destinations }) => [verdict, destinations]), [
    ["take", ["203.0.113.8/32"]],
    ["pass", ["203.0.113.7/32"]],
  ]);
  assert(rules[0]!.why.startsWith("marked sets the mark, which only sockets of ours do"));
  const { policy } = config;
  const off = { ...config, policy: { ...policy, pushDown: false } };
  assertEquals(await resolvePushDown(off, issues), {
    verdicts: [],
    rules: Array(2).fill({ isPushed: false, why: "push-down is off" }),
  });
  const withModule = { ...config, policy: { ...policy, module: "/etc/pellucid/policy.ts" } };
  assertEquals((await resolvePushDown(withModule, issues)).verdicts, []);
  const blocked = { ...config, policy: { ...policy, rules: [{ ...rule, to: "block" }] } };
  assertEquals((await resolvePushDown(blocked, issues)).verdicts, []);
  assertEquals(issues, []);
});
