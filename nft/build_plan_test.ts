import { assert, assertEquals } from "../tests/assert.ts";
import { buildPlan } from "./build_plan.ts";
import { checkPlan } from "./check_plan.ts";
import { DEFAULT_KERNEL_NUMBERS, type InterceptIntent } from "./plan.ts";

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

function* intents(): Generator<InterceptIntent> {
  for (const tcp of ["tproxy", "redirect", "off"] as const) {
    for (const source of ["own", "keep"] as const) {
      for (const from of [[], ["lan0"], ["lan0", "lan1"]]) {
        for (const local of [false, true]) {
          if (from.length > 0 || local) {
            yield { ...INTENT, tcp, source, from, local, otherInterfaces: source === "keep" ? ["wan0"] : [] };
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

Deno.test("buildPlan: nothing takes a flow while draining, and only first packets are ever taken", () => {
  for (const intent of intents()) {
    for (const rule of buildPlan(intent).chains.flatMap((chain) => chain.rules)) {
      const { verdict } = rule;
      const takes = verdict.kind === "tproxy" || verdict.kind === "redirect" ||
        (verdict.kind === "intercept" && verdict.remember);
      if (!takes) continue;
      assertEquals(rule.during, "intercept");
      assert(rule.matches.some((match) => match.kind === "tcpFirst"), rule.id);
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
});
