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
