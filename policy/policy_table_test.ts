import fc from "fast-check";
import { encodeSockaddr } from "../ffi/mod.ts";
import {
  addressFromBytes,
  type Endpoint,
  type IpAddress,
  parseAddress,
  parseAddressBytes,
  parsePrefix,
  prefixContains,
} from "../net/mod.ts";
import { assertEquals, assertThrows } from "../tests/assert.ts";
import {
  type AskedFacts,
  type AskedFlow,
  compilePolicy,
  explainPolicy,
  NO_FILTERS,
  type PolicyRule,
  PolicyTable,
} from "./mod.ts";

type Fact = "interfaceIndex" | "dscp" | "uid";

interface SomeFlow extends Readonly<Record<Fact, number>> {
  readonly network: "tcp" | "udp";
  readonly client: Endpoint;
  readonly destination: Endpoint;
}

const ANYTHING: PolicyRule = {
  ...NO_FILTERS,
  to: 0,
};

/** What a table says of a flow, and what it had to ask for that. */
interface Decision {
  readonly rule: number;
  readonly route: number;
  readonly asked: readonly Fact[];
}

function decide(table: PolicyTable, flow: SomeFlow): Decision {
  const bytes = new Uint8Array(96);
  encodeSockaddr(flow.client, bytes.subarray(4, 32));
  encodeSockaddr(flow.destination, bytes.subarray(40, 68));
  const words = new Int32Array(bytes.buffer);
  const network = flow.network === "tcp" ? 6 : 17;
  const asked: Fact[] = [];
  const rule = table.ruleOf(network, words, 1, 10, recording(flow, asked));
  return { rule, route: table.choose(network, words, 1, 10, recording(flow, [])), asked: asked.sort() };
}

function recording(flow: SomeFlow, asked: Fact[]): AskedFacts {
  const ask = (fact: Fact) => () => {
    asked.push(fact);
    return flow[fact];
  };
  return { interfaceIndex: ask("interfaceIndex"), dscp: ask("dscp"), uid: ask("uid") };
}

/** One rule after the other; a fact is asked when all that is known by then leaves a rule undecided. */
function decideInOrder(rules: readonly PolicyRule[], flow: SomeFlow): Decision {
  const asked = new Set<Fact>();
  const rule = rules.findIndex((rule) => {
    const inside = (list: readonly string[] | undefined, { address }: Endpoint) =>
      list === undefined || list.some((text) => prefixContains(parsePrefix(text)!, address));
    const within = (list: readonly { first: number; last: number }[] | undefined, number: number) =>
      list === undefined || list.some(({ first, last }) => first <= number && number <= last);
    if (rule.network !== undefined && rule.network !== flow.network) return false;
    if (!inside(rule.destinations, flow.destination) || !inside(rule.sources, flow.client)) return false;
    if (!within(rule.destinationPorts, flow.destination.port)) return false;
    if (!within(rule.sourcePorts, flow.client.port)) return false;
    const filters: [Fact, boolean | undefined][] = [
      [
        "interfaceIndex",
        rule.interfaces && flow.interfaceIndex > 0 && rule.interfaces.includes(flow.interfaceIndex),
      ],
      ["dscp", rule.dscp?.includes(flow.dscp)],
      ["uid", rule.uids && within(rule.uids, flow.uid)],
    ];
    if (filters.some(([fact, holds]) => holds === false && asked.has(fact))) return false;
    return filters.every(([fact, holds]) => {
      if (holds === undefined) return true;
      asked.add(fact);
      return holds;
    });
  });
  return { rule, route: rule < 0 ? -1 : rules[rule]!.to, asked: [...asked].sort() };
}

function asked({ network, client, destination, interfaceIndex, uid, dscp }: SomeFlow): AskedFlow {
  const known = (fact: number, from: number) => fact < from ? undefined : fact;
  return {
    network,
    ...{ source: client, destination },
    interface: known(interfaceIndex, 1),
    uid: known(uid, 0),
    dscp: known(dscp, 0),
  };
}

// Few and close together, so that they hold one another, touch, and are hit at their edges.
const v4Text = fc.tuple(
  fc.constantFrom(0, 10, 192, 255),
  fc.constantFrom(0, 1, 127, 128, 255),
  fc.nat(3),
  fc.nat(255),
)
  .map((bytes) => bytes.join("."));
const v6Text = fc.tuple(
  fc.constantFrom("0", "2001:db8", "2001:db9", "ffff:ffff"),
  fc.constantFrom("0:0", "1:0", "1:ffff", "ffff:ffff"),
  fc.constantFrom("0:0:0:0", "0:0:0:1", "8000:0:0:0", "ffff:ffff:ffff:ffff"),
).map(([high, middle, low]) => parseAddress(`${high === "0" ? "0:0" : high}:${middle}:${low}`)!.text);
const prefix = fc.oneof(
  fc.tuple(v4Text, fc.oneof(fc.constantFrom(0, 1, 8, 15, 16, 17, 24, 31, 32), fc.nat(32))),
  fc.tuple(
    v6Text,
    fc.oneof(fc.constantFrom(0, 1, 31, 32, 33, 48, 63, 64, 65, 96, 97, 127, 128), fc.nat(128)),
  ),
).map(([address, length]) => parsePrefix(`${address}/${length}`)!.text);
const prefixes = fc.array(prefix, { maxLength: 12 });
const range = (most: number) =>
  fc.tuple(fc.integer({ min: 1, max: most }), fc.integer({ min: 1, max: most }))
    .map(([a, b]) => ({ first: Math.min(a, b), last: Math.max(a, b) }));
const ports = fc.array(fc.oneof(range(6), range(65_535)), { maxLength: 4 });
const maybe = <T>(given: fc.Arbitrary<T>) => fc.option(given, { nil: undefined });

const rule: fc.Arbitrary<PolicyRule> = fc.record({
  network: fc.constantFrom("tcp", "udp", undefined, undefined),
  destinations: maybe(prefixes),
  destinationPorts: maybe(ports),
  sources: maybe(prefixes),
  sourcePorts: maybe(ports),
  interfaces: maybe(fc.array(fc.nat(3), { maxLength: 3 })),
  uids: maybe(fc.array(range(4), { maxLength: 2 })),
  dscp: maybe(fc.array(fc.nat(3), { maxLength: 3 })),
  to: fc.nat(254),
});
// Most filters of most rules of a real policy say nothing; then more of them are in one group.
const plainRule: fc.Arbitrary<PolicyRule> = fc.record({
  network: fc.constantFrom("tcp" as const, undefined),
  destinations: fc.oneof({ weight: 4, arbitrary: prefixes }, {
    weight: 1,
    arbitrary: fc.constant(undefined),
  }),
  sources: fc.constantFrom(undefined, ["192.0.0.0/10"], []),
  uids: fc.constantFrom(undefined, [{ first: 0, last: 2 }]),
  to: fc.nat(254),
}).map((some) => ({ ...ANYTHING, ...some }));

const endpoint = (text: fc.Arbitrary<string>): fc.Arbitrary<Endpoint> =>
  fc.record({
    address: text.map((one) => parseAddress(one)!),
    port: fc.oneof(fc.integer({ min: 1, max: 7 }), fc.integer({ min: 1, max: 65_535 })),
  });
const flow: fc.Arbitrary<SomeFlow> = fc.constantFrom(v4Text, v6Text).chain((text) =>
  fc.record({
    network: fc.constantFrom("tcp" as const, "udp" as const),
    client: endpoint(text),
    destination: endpoint(text),
    interfaceIndex: fc.nat(3),
    dscp: fc.integer({ min: -1, max: 3 }),
    uid: fc.integer({ min: -1, max: 5 }),
  })
);

Deno.test("PolicyTable: decides, and asks for, what a reading of the rules in order does", () => {
  const policies = fc.oneof(fc.array(rule, { maxLength: 12 }), fc.array(plainRule, { maxLength: 40 }));
  fc.assert(
    fc.property(policies, fc.array(flow, { minLength: 1, maxLength: 20 }), (rules, flows) => {
      const table = new PolicyTable(compilePolicy(rules));
      for (const one of flows) {
        const decision = decide(table, one);
        assertEquals(decision, decideInOrder(rules, one));
        assertEquals(explainPolicy(rules, asked(one)).rule ?? -1, decision.rule);
      }
    }),
    { numRuns: 3_000 },
  );
});

Deno.test("PolicyTable: hundreds of prefixes, some of them crowded together, at all their edges", () => {
  const random = xorshift(0x2545_f491);
  for (const family of [4, 6] as const) {
    for (let turn = 0; turn < 4; turn++) {
      const texts = Array.from({ length: 200 }, (_, i) => {
        const bytes = new Uint8Array(family === 4 ? 4 : 16);
        // A third anywhere, a third in one corner, a third apart in the last bits alone.
        const random16 = () => random() & 0xffff;
        const free = i % 3 === 0 ? bytes.length : i % 3 === 1 ? bytes.length / 2 : 1;
        for (let at = bytes.length - free; at < bytes.length; at++) bytes[at] = random16();
        const bits = 8 * bytes.length;
        return parsePrefix(`${addressFromBytes(bytes).text}/${bits - random() % (turn < 2 ? 8 * free : 9)}`)!
          .text;
      });
      const rules = texts.map((text, i): PolicyRule => ({ ...ANYTHING, destinations: [text], to: i % 255 }));
      const table = new PolicyTable(compilePolicy(rules));
      const wanted = new Map(texts.map((text) => [text, parsePrefix(text)!]));
      for (const text of texts) {
        for (const address of edgesOf(text)) {
          const rule = texts.findIndex((one) => prefixContains(wanted.get(one)!, address));
          const client = here(family === 4 ? "192.0.2.1" : "2001:db8::1", 1);
          const found = decide(table, { ...FLOW, client, destination: { address, port: 1 } });
          assertEquals(found.rule, rule, `${address.text} in ${turn}`);
        }
      }
    }
  }
});

/** First and last address of a prefix, and those beside it. */
function edgesOf(text: string): IpAddress[] {
  const [address, length] = text.split("/");
  const bytes = parseAddressBytes(address!)!, bits = BigInt(8 * bytes.length);
  const first = bytes.reduce((sum, byte) => sum << 8n | BigInt(byte), 0n);
  const last = first | (1n << bits - BigInt(length!)) - 1n;
  return [first - 1n, first, last, last + 1n].filter((at) => at >= 0n && at < 1n << bits).map((at) =>
    addressFromBytes(bytes.map((_, i) => Number(at >> BigInt(8 * (bytes.length - 1 - i)) & 0xffn)))
  );
}

function xorshift(state: number): () => number {
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

const here = (address: string, port: number): Endpoint => ({ address: parseAddress(address)!, port });
const FLOW: SomeFlow = {
  network: "tcp",
  client: here("192.0.2.1", 40_000),
  destination: here("203.0.113.7", 443),
  interfaceIndex: 2,
  dscp: 0,
  uid: 1000,
};

Deno.test("PolicyTable: no rule, a rule about everything, a rule about nothing", () => {
  const ruleOf = (...rules: Partial<PolicyRule>[]) =>
    decide(new PolicyTable(compilePolicy(rules.map((one) => ({ ...ANYTHING, ...one })))), FLOW).rule;
  assertEquals(ruleOf(), -1);
  assertEquals(ruleOf({}), 0);
  assertEquals(ruleOf({ destinations: [] }, { sources: [] }, { destinationPorts: [] }, { uids: [] }), -1);
  assertEquals(ruleOf({ interfaces: [] }, { destinations: [], sources: ["0.0.0.0/0"] }, {}), 2);
  // IPv4 is no part of ::ffff:0:0/96.
  assertEquals(ruleOf({ destinations: ["::/0", "::ffff:0:0/96"] }), -1);
});

Deno.test("PolicyTable: the first of nested prefixes decides, in whatever order they are", () => {
  const rules = ["203.0.113.0/24", "0.0.0.0/0", "203.0.113.7/32", "203.0.112.0/23"];
  for (let turn = 0; turn < rules.length; turn++) {
    const turned = [...rules.slice(turn), ...rules.slice(0, turn)];
    const table = new PolicyTable(
      compilePolicy(turned.map((text, i) => ({ ...ANYTHING, destinations: [text], to: i }))),
    );
    assertEquals(decide(table, FLOW).route, 0);
    const elsewhere = { ...FLOW, destination: here("198.51.100.1", 443) };
    assertEquals(decide(table, elsewhere).route, turned.indexOf("0.0.0.0/0"));
  }
});

Deno.test("PolicyTable: what is unknown is named by no filter, not even by one that names all numbers", () => {
  const all = [{ first: 0, last: 0xffff_fffe }];
  const table = new PolicyTable(
    compilePolicy([{ ...ANYTHING, uids: all }, { ...ANYTHING, interfaces: [0] }]),
  );
  assertEquals(decide(table, { ...FLOW, uid: -1, interfaceIndex: 0 }).rule, -1);
  assertEquals(decide(table, { ...FLOW, uid: 0xffff_fffe }).rule, 0);
});

Deno.test("PolicyTable: 255 routes among 100,000 prefixes", () => {
  const rules = Array.from({ length: 100_000 }, (_, i): PolicyRule => ({
    ...ANYTHING,
    destinations: [`10.${i >> 16}.${i >> 8 & 0xff}.${i & 0xff}/32`],
    to: i % 255,
  }));
  const table = new PolicyTable(compilePolicy(rules));
  for (const i of [0, 1, 254, 255, 65_535, 65_536, 99_999]) {
    const address = `10.${i >> 16}.${i >> 8 & 0xff}.${i & 0xff}`;
    const found = decide(table, { ...FLOW, destination: here(address, 1) });
    assertEquals(found, { rule: i, route: i % 255, asked: [] });
  }
  assertEquals(decide(table, { ...FLOW, destination: here("10.2.0.0", 1) }).rule, -1);
});

Deno.test("compilePolicy: refuses what is no prefix and no route", () => {
  assertThrows(
    () => compilePolicy([{ ...ANYTHING, destinations: ["192.0.2.0/33"] }]),
    RangeError,
    "192.0.2.0/33",
  );
  assertThrows(() => compilePolicy([{ ...ANYTHING, to: 255 }]), RangeError, "255");
  assertThrows(() => compilePolicy([{ ...ANYTHING, to: -1 }]), RangeError, "-1");
});
