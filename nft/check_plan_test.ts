import { assertEquals } from "../tests/assert.ts";
import { buildPlan } from "./build_plan.ts";
import { checkPlan } from "./check_plan.ts";
import { type IntentChanges, intentWith } from "../tests/fixtures/intents.ts";
import type { Plan } from "./plan.ts";

const DEFAULTS = { from: ["lan0"], local: true } as const;
const INTENT = intentWith(DEFAULTS);
const { marks } = INTENT;

Deno.test("checkPlan: each wrong value names its option", () => {
  const cases: [IntentChanges, string[]][] = [
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
    [{ marks: { ...marks, fromHere: 0x01000000 } }, ["marks.fromHere"]],
    [{ marks: { ...marks, fromHere: marks.dontFragment } }, ["marks.fromHere"]],
    [{ tcp: "off", udp: "tproxy", from: [], local: false }, ["--from"]],
    [{ tcp: "off", udp: "tproxy", port: 0 }, ["--port"]],
    [{ udp: "tproxy", udpWorkers: 0 }, ["--workers"]],
    [{ udp: "tproxy", udpWorkers: 257 }, ["--workers"]],
    [{ udp: "tproxy", udpWorkers: 2, port: 65535 }, ["--port"]],
    [{ udp: "tproxy", udpWorkers: 2, port: 65534 }, []],
    [{ udpWorkers: 2, port: 65535 }, []],
    [{ udp: "tproxy", select: { udpPorts: { include: [{ first: 0, last: 1 }], exclude: [] } } }, [
      "--udp-ports",
    ]],
    [{ udp: "tproxy", select: { udpPorts: { include: [{ first: 1, last: 65536 }], exclude: [] } } }, [
      "--udp-ports",
    ]],
    [{ udp: "tproxy", select: { udpPorts: { include: [{ first: 2, last: 1 }], exclude: [] } } }, [
      "--udp-ports",
    ]],
    [{
      udp: "tproxy",
      select: { udpPorts: { include: [{ first: 1000, last: 2000 }, { first: 53, last: 53 }], exclude: [] } },
    }, []],
    [{
      udp: "tproxy",
      select: {
        udpPorts: { include: [{ first: 1000, last: 2000 }, { first: 53, last: 1000 }], exclude: [] },
      },
    }, ["--udp-ports"]],
    [{ marks: { ...marks, bypass: 0 } }, ["marks.bypass"]],
    [{ marks: { ...marks, bypass: marks.intercept } }, ["marks.bypass"]],
    [{
      marks: {
        intercept: 0x80000000,
        bypass: 0x40000000,
        reply: 0xc0000000,
        mask: 0xc0000000,
        dontFragment: 0x20000000,
        fromHere: 0x10000000,
      },
    }, []],
    [{ routeTable: 254 }, ["routeTable"]],
    [{ routeTable: 0 }, ["routeTable"]],
    [{ routeProtocol: 4 }, ["routeProtocol"]],
    [{ rulePreference: 32766 }, ["rulePreference"]],
    [{ tableName: "a b" }, ["tableName"]],
    [{ tableName: "" }, ["tableName"]],
    [{ select: { destinations: { include: ["192.0.2.0/24"], exclude: ["192.0.2.1/24"] } } }, [
      "--exclude-cidr",
    ]],
    [{ select: { sources: { include: ["all"], exclude: [] } } }, ["--include-source"]],
    [{ select: { tcpPorts: { include: [], exclude: [{ first: 0, last: 1 }] } } }, ["--exclude-tcp-ports"]],
    [{ select: { outgoing: { include: ["wan0", "wan0"], exclude: [] } } }, ["--to"]],
    [{ local: false, select: { outgoing: { include: [], exclude: ["wan0"] } } }, ["--to, --exclude-to"]],
    [{ local: false, select: { uids: { include: [{ first: 0, last: 0 }], exclude: [] } } }, [
      "--include-uid, --exclude-uid",
    ]],
    [{ select: { gids: { include: [{ first: 2, last: 1 }], exclude: [] } } }, ["--include-gid"]],
    [{ select: { uids: { include: [], exclude: [{ first: 0, last: 0xffffffff }] } } }, ["--exclude-uid"]],
    [{ select: { cgroups: { include: ["/a"], exclude: ["a/../b", "a b"] } } }, [
      "--include-cgroup",
      "--exclude-cgroup",
      "--exclude-cgroup",
    ]],
    [{ select: { macs: { include: ["02-00-5e-10-00-01"], exclude: ["02:00:5e:10:00:01"] } } }, [
      "--include-mac",
    ]],
    [{ from: [], select: { macs: { include: ["02:00:5e:10:00:01"], exclude: [] } } }, [
      "--include-mac, --exclude-mac",
    ]],
    [{ select: { marks: { include: [{ value: 2, mask: 1 }], exclude: [{ value: 0, mask: 0 }] } } }, [
      "--include-mark",
      "--exclude-mark",
    ]],
    [{ sidecar: {} }, ["--sidecar"]],
    [{ from: [], local: false, sidecar: {} }, []],
    [{ from: [], local: false, tcp: "tproxy", sidecar: {} }, ["--tcp"]],
    [{ from: [], local: false, udp: "tproxy", sidecar: {} }, ["--udp"]],
    [{ from: [], local: false, tcp: "off", sidecar: { inbound: "off" } }, ["--sidecar"]],
    [{ from: [], local: false, source: "keep", sidecar: {} }, ["--source"]],
    [{ from: [], local: false, sidecar: { inboundPort: 15001 } }, ["--inbound-port"]],
    [{ from: [], local: false, sidecar: { dns: { port: 15006, servers: ["192.0.2.5/32"] } } }, [
      "--dns-server",
      "--dns-port",
    ]],
    [
      { from: [], local: false, sidecar: { proxyUids: [{ first: 5, last: 1 }], virtualInterfaces: ["a/b"] } },
      [
        "--virtual-interface",
        "--proxy-uid",
      ],
    ],
  ];
  for (const [changes, options] of cases) {
    const issues = checkPlan(buildPlan(intentWith({ ...DEFAULTS, ...changes })));
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
  assertEquals(checkPlan(withoutBypass).map(({ option }) => option), ["tproxy_out"]);
  const withoutRule: Plan = { ...plan, ipRules: plan.ipRules.filter(({ incoming }) => incoming !== "lan0") };
  assertEquals(checkPlan(withoutRule).map(({ option }) => option), ["tproxy_in"]);
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
  assertEquals(options(without("bypass")), ["tproxy_out"]);
  // Its rules are the mark's in two chains: let pass, and not tracked.
  assertEquals(options(without("reply")), ["tproxy_out", "marks.reply"]);
  assertEquals(options({ ...plan, routes: [] }), [
    "tproxy_in",
    "tproxy_in",
    "tproxy_out",
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
  const chain = plan.chains.find(({ name }) => name === "tcp_in_take");
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

Deno.test("checkPlan: sets, places, and what a closed plan must drop", () => {
  const plan = buildPlan(intentWith({ ...DEFAULTS, udp: "tproxy", onProxyDown: "closed" }));
  assertEquals(checkPlan(plan), []);
  const options = (changed: Plan) => checkPlan(changed).map(({ option }) => option);
  type Rules = Plan["chains"][number]["rules"];
  const withRules = (name: string, change: (rules: Rules) => Rules): Plan => ({
    ...plan,
    chains: plan.chains.map((chain) =>
      chain.name === name ? { ...chain, rules: change(chain.rules) } : chain
    ),
  });
  const dropless = (rules: Rules) => rules.filter(({ verdict }) => verdict.kind !== "drop");
  assertEquals(options(withRules("tcp_in_take", dropless)), ["tcp_in_take"]);
  assertEquals(options(withRules("udp_worker_0", dropless)), ["udp_worker_0"]);
  const asking = (match: Rules[number]["matches"][number]) => (rules: Rules): Rules => [
    ...rules,
    { id: "asking", during: "always", matches: [match], verdict: { kind: "pass" }, why: "for the test" },
  ];
  const set = { kind: "addressSet", side: "source", set: "src_no_4_0" } as const;
  assertEquals(options(withRules("tcp_in_new", asking(set))), ["tcp_in_new/asking"]);
  const owner = { kind: "owner", of: "uid", ids: { first: 0, last: 0 } } as const;
  assertEquals(options(withRules("tcp_out_new", asking(owner))), []);
  assertEquals(options(withRules("tcp_in_new", asking(owner))), ["tproxy_in/asking"]);
  const mac = { kind: "mac", address: "02:00:5e:10:00:01" } as const;
  assertEquals(options(withRules("tproxy_out", asking(mac))), ["tproxy_out/asking"]);
});
