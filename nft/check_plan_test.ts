import { assertEquals } from "../tests/assert.ts";
import { buildPlan } from "./build_plan.ts";
import { checkPlan } from "./check_plan.ts";
import { DEFAULT_KERNEL_NUMBERS, type InterceptIntent, type Plan } from "./plan.ts";

const INTENT: InterceptIntent = {
  tcp: "tproxy",
  udp: "off",
  udpPorts: [],
  udpWorkers: 1,
  from: ["lan0"],
  local: true,
  port: 7870,
  source: "own",
  otherInterfaces: [],
  ...DEFAULT_KERNEL_NUMBERS,
};
const { marks } = INTENT;

Deno.test("checkPlan: each wrong value names its option", () => {
  const cases: [Partial<InterceptIntent>, string[]][] = [
    [{ from: [], local: false }, ["--from"]],
    [{ from: [], local: false, tcp: "off" }, []],
    [{ port: 0 }, ["--port"]],
    [{ port: 65536 }, ["--port"]],
    [{ from: ["lo"] }, ["--from"]],
    [{ from: ["lan0", "lan0"] }, ["--from"]],
    [{ from: ['a"b'] }, ["--from"]],
    [{ from: ["lan*"] }, ["--from"]],
    [{ from: ["sixteen-letters0"] }, ["--from"]],
    [{ from: [""] }, ["--from"]],
    [{ otherInterfaces: ["a b"] }, ["otherInterfaces"]],
    [{ marks: { ...marks, intercept: 0x04000000 } }, ["marks.intercept"]],
    [{ marks: { ...marks, reply: 0x04000000 } }, ["marks.reply"]],
    [{ marks: { ...marks, reply: marks.intercept } }, ["marks.reply"]],
    [{ marks: { ...marks, dontFragment: 0x01000000 } }, ["marks.dontFragment"]],
    [{ marks: { ...marks, dontFragment: 0x0c000000 } }, ["marks.dontFragment"]],
    [{ marks: { ...marks, dontFragment: 0x80000000 } }, []],
    [{ tcp: "off", udp: "tproxy", from: [], local: false }, ["--from"]],
    [{ tcp: "off", udp: "tproxy", port: 0 }, ["--port"]],
    [{ udp: "tproxy", udpWorkers: 0 }, ["--workers"]],
    [{ udp: "tproxy", udpWorkers: 257 }, ["--workers"]],
    [{ udp: "tproxy", udpWorkers: 2, port: 65535 }, ["--port"]],
    [{ udp: "tproxy", udpWorkers: 2, port: 65534 }, []],
    [{ udpWorkers: 2, port: 65535 }, []],
    [{ udpPorts: [{ first: 0, last: 1 }] }, ["--udp-ports"]],
    [{ udpPorts: [{ first: 1, last: 65536 }] }, ["--udp-ports"]],
    [{ udpPorts: [{ first: 2, last: 1 }] }, ["--udp-ports"]],
    [{ udpPorts: [{ first: 1000, last: 2000 }, { first: 53, last: 53 }] }, []],
    [{ udpPorts: [{ first: 1000, last: 2000 }, { first: 53, last: 1000 }] }, ["--udp-ports"]],
    [{ marks: { ...marks, bypass: 0 } }, ["marks.bypass"]],
    [{ marks: { ...marks, bypass: marks.intercept } }, ["marks.bypass"]],
    [{
      marks: {
        intercept: 0x80000000,
        bypass: 0x40000000,
        reply: 0xc0000000,
        mask: 0xc0000000,
        dontFragment: 0x20000000,
      },
    }, []],
    [{ routeTable: 254 }, ["routeTable"]],
    [{ routeTable: 0 }, ["routeTable"]],
    [{ routeProtocol: 4 }, ["routeProtocol"]],
    [{ rulePreference: 32766 }, ["rulePreference"]],
    [{ tableName: "a b" }, ["tableName"]],
    [{ tableName: "" }, ["tableName"]],
  ];
  for (const [changes, options] of cases) {
    const issues = checkPlan(buildPlan({ ...INTENT, ...changes }));
    assertEquals(issues.map(({ option }) => option), options, JSON.stringify(changes));
    for (const { option, message } of issues) assertEquals(message.startsWith(`${option}: `), true, message);
  }
});

Deno.test("checkPlan: a plan that would loop, or mark what is not routed, is refused", () => {
  const plan = buildPlan(INTENT);
  const withoutBypass: Plan = {
    ...plan,
    chains: plan.chains.map((chain) => ({
      ...chain,
      rules: chain.rules.filter(({ id }) => id !== "bypass"),
    })),
  };
  assertEquals(checkPlan(withoutBypass).map(({ option }) => option), ["tproxy_output"]);
  const withoutRule: Plan = { ...plan, ipRules: plan.ipRules.filter(({ incoming }) => incoming !== "lan0") };
  assertEquals(checkPlan(withoutRule).map(({ option }) => option), ["tproxy_prerouting"]);
  assertEquals(checkPlan({ ...plan, routes: [] }).length, 3);
});

Deno.test("checkPlan: the same for UDP, whose rules are in chains that others lead to", () => {
  const plan = buildPlan({ ...INTENT, tcp: "off", udp: "tproxy", udpWorkers: 2 });
  assertEquals(checkPlan(plan), []);
  const without = (id: string): Plan => ({
    ...plan,
    chains: plan.chains.map((chain) => ({ ...chain, rules: chain.rules.filter((rule) => rule.id !== id) })),
  });
  const options = (changed: Plan) => checkPlan(changed).map(({ option }) => option);
  assertEquals(options(without("bypass")), ["tproxy_output"]);
  // Its rules are the mark's in two chains: let pass, and not tracked.
  assertEquals(options(without("reply")), ["tproxy_output", "marks.reply"]);
  assertEquals(options({ ...plan, routes: [] }), [
    "tproxy_prerouting",
    "tproxy_prerouting",
    "tproxy_output",
  ]);
  const last = plan.chains.at(-1)!;
  assertEquals(options({ ...plan, chains: plan.chains.slice(0, -1) }), [
    "udp_steer/spread-4",
    "udp_steer/spread-6",
  ]);
  // A chain that leads to an earlier one would never end.
  const loop = {
    ...last,
    rules: [{ ...last.rules[0]!, verdict: { kind: "goto", chain: "udp_steer" } as const }],
  };
  assertEquals(options({ ...plan, chains: [...plan.chains.slice(0, -1), loop] }), ["udp_worker_1/whole-4"]);
});

Deno.test("checkPlan: names must be unique and reasons fit the kernel's comment", () => {
  const plan = buildPlan({ ...INTENT, local: false });
  const [chain] = plan.chains;
  const [rule] = chain!.rules;
  const withRules = (
    rules: typeof chain extends undefined ? never : NonNullable<typeof chain>["rules"],
  ): Plan => ({
    ...plan,
    chains: [{ ...chain!, rules }],
  });
  assertEquals(checkPlan(withRules([rule!, rule!])).length, 1);
  assertEquals(checkPlan({ ...plan, chains: [chain!, chain!] }).length, 1);
  assertEquals(checkPlan(withRules([{ ...rule!, why: "x".repeat(200) }])).length, 1);
  assertEquals(checkPlan(withRules([{ ...rule!, why: 'a "quote"' }])).length, 1);
});
