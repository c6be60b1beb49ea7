import { assert, assertEquals } from "../tests/assert.ts";
import { buildPlan } from "./build_plan.ts";
import { checkPlan } from "./check_plan.ts";
import { type IntentChanges, intentWith } from "../tests/fixtures/intents.ts";
import type { InterceptIntent } from "./intent.ts";
import type { Chain, Rule } from "./plan.ts";

const DEFAULTS = { from: ["lan0"] } as const;
const INTENT = intentWith(DEFAULTS);

function* protocols(): Generator<InterceptIntent> {
  for (const tcp of ["tproxy", "redirect", "off"] as const) {
    yield { ...INTENT, tcp };
    for (const udpWorkers of [1, 2, 256]) {
      for (const include of [[], [{ first: 53, last: 53 }]]) {
        yield intentWith({
          ...DEFAULTS,
          tcp,
          udp: "tproxy",
          udpWorkers,
          select: { udpPorts: { include, exclude: [] } },
        });
      }
    }
  }
}

function* intents(): Generator<InterceptIntent> {
  for (const onProxyDown of ["open", "closed"] as const) {
    for (const intent of hostIntents()) yield { ...intent, onProxyDown };
    for (const inbound of ["redirect", "tproxy", "off"] as const) {
      for (const tcp of ["redirect", "off"] as const) {
        if (tcp !== "off" || inbound !== "off") yield intentWith({ tcp, onProxyDown, sidecar: { inbound } });
      }
    }
    yield intentWith({ onProxyDown, source: "keep", sidecar: { inbound: "tproxy" } });
    yield intentWith({
      onProxyDown,
      sidecar: { dns: { port: 15053, servers: ["192.0.2.53", "2001:db8::53"] } },
    });
  }
}

function* hostIntents(): Generator<InterceptIntent> {
  for (const intent of protocols()) {
    for (const source of ["own", "keep"] as const) {
      for (const from of [[], ["lan0"], ["lan0", "lan1"]]) {
        for (const local of [false, true]) {
          if (from.length > 0 || local) {
            yield { ...intent, source, from, local, otherInterfaces: source === "keep" ? ["wan0"] : [] };
          }
        }
      }
    }
  }
}

Deno.test("buildPlan: every intent gives a plan that passes its checks and survives JSON", () => {
  for (const intent of intents()) {
    const plan = buildPlan(intent);
    assertEquals(checkPlan(plan), [], JSON.stringify(intent));
    assertEquals(JSON.parse(JSON.stringify(plan)), plan);
  }
});

/** Chains that only rules on first packets lead to. */
function chainsOfFirstPackets(chains: readonly Chain[]): Set<string> {
  const led = new Map<string, boolean>();
  for (const chain of chains) {
    for (const { matches, verdict } of chain.rules) {
      const targets = verdict.kind === "goto"
        ? [verdict.chain]
        : verdict.kind === "spread"
        ? verdict.chains
        : [];
      const isFirst = matches.some(({ kind }) => kind === "tcpFirst" || kind === "flowNew") ||
        led.get(chain.name) === true;
      for (const target of targets) led.set(target, isFirst && led.get(target) !== false);
    }
  }
  return new Set([...led].filter(([, isFirst]) => isFirst).map(([name]) => name));
}

/** Whether the rule gives a flow to us that was not ours before. */
function begins({ verdict }: Rule): boolean {
  return verdict.kind === "tproxy" || verdict.kind === "redirect" ||
    (verdict.kind === "intercept" && verdict.remember);
}

Deno.test("buildPlan: nothing takes a flow while draining, and only first packets are ever taken", () => {
  for (const intent of intents()) {
    const { chains } = buildPlan(intent);
    const first = chainsOfFirstPackets(chains);
    for (const chain of chains) {
      for (const rule of chain.rules.filter(begins)) {
        assertEquals(rule.during, "intercept", `${chain.name}/${rule.id}`);
        // A nat chain sees only first datagrams.
        const isQuery = chain.name === "side_nat_out" && rule.matches.some(({ kind }) => kind === "ports");
        assert(first.has(chain.name) || isQuery, `${chain.name}/${rule.id}`);
      }
    }
  }
});

Deno.test("buildPlan: conntrack calls a flow new until it is answered, so what it has seen is let go first", () => {
  for (const { chains } of [...intents()].map(buildPlan)) {
    for (const { name, rules } of chains) {
      const isNew = rules.findIndex(({ matches }) => matches.some(({ kind }) => kind === "flowNew"));
      if (isNew < 0) continue;
      const seen = rules.findIndex(({ matches }) => matches.some(({ kind }) => kind === "flowSeen"));
      assert(seen >= 0 && seen < isNew && rules[seen]!.verdict.kind === "pass", name);
    }
  }
});

Deno.test("buildPlan: routes only where packets are marked", () => {
  const marked = (changes: IntentChanges) =>
    buildPlan(intentWith({ ...DEFAULTS, ...changes })).ipRules.filter(({ family }) => family === 4).map((
      { incoming },
    ) => incoming);
  assertEquals(marked({}), ["lan0"]);
  assertEquals(marked({ local: true }), ["lan0", "lo"]);
  assertEquals(marked({ source: "keep", otherInterfaces: ["wan0"] }), ["lan0", "wan0"]);
  assertEquals(marked({ tcp: "redirect", local: true }), []);
  assertEquals(marked({ tcp: "redirect", source: "keep", otherInterfaces: ["wan0"] }), ["lan0", "wan0"]);
  assertEquals(marked({ from: [], local: true, source: "keep", otherInterfaces: ["wan0"] }), ["lo"]);
  assertEquals(marked({ tcp: "off" }), []);
  assertEquals(marked({ tcp: "off", udp: "tproxy", local: true }), ["lan0", "lo"]);
  assertEquals(marked({ tcp: "redirect", udp: "tproxy" }), ["lan0"]);
  assertEquals(marked({ from: [], sidecar: {} }), []);
  assertEquals(marked({ from: [], sidecar: { inbound: "tproxy" } }), ["lo"]);
});

Deno.test("buildPlan: worker i has the port that is i above the first", () => {
  const plan = buildPlan({ ...INTENT, udp: "tproxy", udpWorkers: 3 });
  const ports = plan.chains.flatMap(({ name, rules }) =>
    rules.flatMap(({ verdict }) => verdict.kind === "tproxyDatagram" ? [`${name} ${verdict.port}`] : [])
  );
  assertEquals([...new Set(ports)], ["udp_worker_0 7870", "udp_worker_1 7871", "udp_worker_2 7872"]);
  const spread = plan.chains.flatMap(({ rules }) => rules).map(({ verdict }) => verdict)
    .filter((verdict) => verdict.kind === "spread");
  assertEquals(spread.map(({ family, chains }) => [family, ...chains]), [
    [4, "udp_worker_0", "udp_worker_1", "udp_worker_2"],
    [6, "udp_worker_0", "udp_worker_1", "udp_worker_2"],
  ]);
});

Deno.test("buildPlan: an exclusion comes before every inclusion, and inclusions must all hold", () => {
  const plan = buildPlan(intentWith({
    ...DEFAULTS,
    select: {
      destinations: { include: ["198.51.100.0/24"], exclude: ["198.51.100.9/32"] },
      tcpPorts: { include: [{ first: 443, last: 443 }], exclude: [] },
    },
  }));
  const way = (name: string) =>
    plan.chains.find((chain) => chain.name === name)!.rules.map(({ id, verdict }) =>
      verdict.kind === "goto" ? `${id} -> ${verdict.chain}` : `${id}: ${verdict.kind}`
    );
  assertEquals(way("tcp_in_new").slice(-2), ["not-dst: pass", "chosen -> tcp_in_port"]);
  assertEquals(way("tcp_in_port"), ["port -> tcp_in_dst"]);
  assertEquals(way("tcp_in_dst"), ["dst -> tcp_in_take"]);
  assertEquals(way("tcp_in_take"), ["take: tproxy"]);
});

Deno.test("buildPlan: long lists become sets that are named after what they hold", () => {
  const prefixes = Array.from({ length: 9 }, (_, i) => `198.51.100.${2 * i}/32`);
  const sets = (include: readonly string[]) =>
    buildPlan(intentWith({ ...DEFAULTS, local: true, select: { destinations: { include, exclude: [] } } }))
      .sets;
  const [set, ...others] = sets([...prefixes, "2001:db8::/32"]);
  assertEquals(others, []);
  assertEquals(set!.prefixes.length, 9);
  assertEquals(sets(prefixes.toReversed())[0]!.name, set!.name);
  assert(sets(prefixes.slice(1))[0]!.name !== set!.name);
});
