import { assert, assertEquals } from "../tests/assert.ts";
import { buildPlan } from "./build_plan.ts";
import { checkPlan } from "./check_plan.ts";
import { DEFAULT_KERNEL_NUMBERS, type InterceptIntent, type Rule } from "./plan.ts";

const INTENT: InterceptIntent = {
  tcp: "tproxy",
  udp: "off",
  udpPorts: [],
  udpWorkers: 1,
  from: ["lan0"],
  local: false,
  port: 7870,
  source: "own",
  otherInterfaces: [],
  ...DEFAULT_KERNEL_NUMBERS,
};

function* protocols(): Generator<InterceptIntent> {
  for (const tcp of ["tproxy", "redirect", "off"] as const) {
    yield { ...INTENT, tcp };
    for (const udpWorkers of [1, 2, 256]) {
      for (const udpPorts of [[], [{ first: 53, last: 53 }]]) {
        yield { ...INTENT, tcp, udp: "tproxy", udpWorkers, udpPorts };
      }
    }
  }
}

function* intents(): Generator<InterceptIntent> {
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

/** Rules that give a flow to us: in inner chains whoever sends a packet there decides, so those rules count. */
function takes({ verdict }: Rule): boolean {
  switch (verdict.kind) {
    case "intercept":
      return verdict.remember;
    case "goto":
      return verdict.chain === "udp_steer" || verdict.chain.startsWith("udp_worker_");
    default:
      return verdict.kind === "tproxy" || verdict.kind === "redirect";
  }
}

Deno.test("buildPlan: nothing takes a flow while draining, and only first packets are ever taken", () => {
  for (const intent of intents()) {
    for (const chain of buildPlan(intent).chains) {
      const beforeFirst = new Set<string>();
      for (const rule of chain.rules) {
        const isOpen = rule.matches.some((match) =>
          (match.kind === "mark" && match.of === "flow") || match.kind === "incoming"
        );
        if (takes(rule) && !isOpen) {
          assertEquals(rule.during, "intercept");
          const isNew = rule.matches.some((match) => match.kind === "flowNew");
          assert(isNew || rule.matches.some((match) => match.kind === "tcpFirst"), rule.id);
          // Conntrack calls a flow new until it is answered.
          assertEquals(beforeFirst.has("flowSeen"), isNew);
        }
        if (rule.verdict.kind === "pass") rule.matches.forEach(({ kind }) => beforeFirst.add(kind));
      }
    }
  }
});

Deno.test("buildPlan: routes only where packets are marked", () => {
  const marked = (changes: Partial<InterceptIntent>) =>
    buildPlan({ ...INTENT, ...changes }).ipRules.filter(({ family }) => family === 4).map(({ incoming }) =>
      incoming
    );
  assertEquals(marked({}), ["lan0"]);
  assertEquals(marked({ local: true }), ["lan0", "lo"]);
  assertEquals(marked({ source: "keep", otherInterfaces: ["wan0"] }), ["lan0", "wan0"]);
  assertEquals(marked({ tcp: "redirect", local: true }), []);
  assertEquals(marked({ tcp: "redirect", source: "keep", otherInterfaces: ["wan0"] }), ["lan0", "wan0"]);
  assertEquals(marked({ from: [], local: true, source: "keep", otherInterfaces: ["wan0"] }), ["lo"]);
  assertEquals(marked({ tcp: "off" }), []);
  assertEquals(marked({ tcp: "off", udp: "tproxy", local: true }), ["lan0", "lo"]);
  assertEquals(marked({ tcp: "redirect", udp: "tproxy" }), ["lan0"]);
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
