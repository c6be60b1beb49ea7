import {
  BUILT_IN_UPSTREAMS,
  DEFAULT_SIDECAR,
  defaultRunConfig,
  NO_RULE_FILTERS,
  type PolicyRuleConfig,
  type RunConfig,
} from "../config/mod.ts";
import { checkedPlan, resolveIntent } from "../control/mod.ts";
import { parseEndpoint } from "../net/mod.ts";
import { evaluate } from "../nft/evaluate.ts";
import type { Packet } from "../nft/packet.ts";
import { assertEquals, assertStringIncludes } from "../tests/assert.ts";
import { ARRIVING, GATEWAY } from "../tests/fixtures/packets.ts";
import { explainRouting, inShort, renderRouting } from "./explain_routing.ts";

const SERVER = { credentials: null, timeoutMs: 1000, pipeline: true, udp: true };
const CONFIG: RunConfig = {
  ...defaultRunConfig(),
  from: ["lan0"],
  workers: 1,
  upstreams: [
    ...BUILT_IN_UPSTREAMS,
    // Names that nobody can resolve: what is explained does not depend on them.
    { kind: "socks5", name: "one", server: { host: "one.invalid", port: 1080 }, ...SERVER },
    { kind: "socks5", name: "two", server: { host: "two.invalid", port: 1080 }, ...SERVER },
    { kind: "direct", name: "vpn", source: null, interface: "tun0", mark: 0, dscp: null },
  ],
  groups: [{ kind: "failover", name: "proxies", members: ["one", "two"], check: null, liveFlows: "keep" }],
};
const IN_OTHER_NETWORKS = { ...ARRIVING, destination: "203.0.113.7" };

function rule(to: string, filters: Partial<PolicyRuleConfig> = {}): PolicyRuleConfig {
  return { ...NO_RULE_FILTERS, ...filters, to };
}

const RULES = [
  rule("direct", { destinations: ["192.0.2.0/24"] }),
  rule("block", { network: "tcp", destinationPorts: [{ first: 25, last: 25 }] }),
  rule("vpn", { dscp: [46] }),
];

async function said(change: Partial<RunConfig>, packet: Packet, dscp = 0) {
  const config = { ...CONFIG, policy: { rules: RULES, otherwise: "proxies", pushDown: true }, ...change };
  const evaluation = evaluate(checkedPlan(await resolveIntent(config, ["lan0"])), packet, GATEWAY);
  const placeOf = (key: string) =>
    Promise.resolve(key === "rule[2]" ? { file: "gateway.toml", line: 7, column: 3 } : undefined);
  const routing = await explainRouting({ config, packet, dscp, evaluation, placeOf });
  return routing === undefined ? [] : renderRouting(routing);
}

const KERNEL = [
  "",
  "Rules of the policy in the kernel, 1 of 3:",
  "  rule 1: there, the kernel lets it pass",
  "  rules 2 to 3: not there, no direct rule after it is pushed down",
];

Deno.test("explain: what no rule is about goes to a group, whose members are told in their order", async () => {
  assertEquals(await said({}, IN_OTHER_NETWORKS), [
    "The policy:",
    "  rule 1 does not decide: destination 203.0.113.7 is not in 192.0.2.0/24",
    "  rule 2 does not decide: destination port 443 is not in 25",
    "  rule 3 does not decide: DSCP is 0, 46 wanted",
    "  the default decides: no rule is about it",
    "It leaves by proxies: failover of one, two, not checked, live flows kept:",
    "  1. one: socks5 one.invalid:1080, TCP and UDP",
    "  2. two: socks5 two.invalid:1080, TCP and UDP",
    ...KERNEL,
  ]);
});

Deno.test("explain: a rule of the file is told by its line; ways of each kind", async () => {
  const mail = await said({}, { ...IN_OTHER_NETWORKS, destinationPort: 25 });
  assertEquals(mail.slice(2, 4), [
    "  rule 2 (gateway.toml:7) decides: is tcp, destination port 25 is in 25",
    "It leaves by block: nowhere, reset.",
  ]);
  const call = await said({}, IN_OTHER_NETWORKS, 46);
  assertEquals(call.slice(3, 5), [
    "  rule 3 decides: DSCP is 46",
    "It leaves by vpn: from this host, by tun0.",
  ]);
  const byHand = { policy: { rules: RULES, otherwise: "proxies", pushDown: false } };
  const near = await said(byHand, ARRIVING);
  assertEquals(near[2], "It leaves by direct: from this host.");
  assertEquals(near.slice(3), [
    "",
    "Rules of the policy in the kernel, 0 of 3:",
    "  rules 1 to 3: not there, push-down is off",
  ]);
});

Deno.test("explain: what the kernel lets pass by a rule of the policy", async () => {
  assertEquals(await said({}, ARRIVING), [
    "The policy:",
    "  rule 1 decides: destination 192.0.2.1 is in 192.0.2.0/24",
    "By direct, and the kernel does that itself: it lets the packet pass, and no proxy sees the flow.",
    ...KERNEL,
  ]);
});

Deno.test("explain: when the policy is not asked, and why", async () => {
  const why = async (change: Partial<RunConfig>, packet: Partial<Packet>) =>
    (await said(change, { ...IN_OTHER_NETWORKS, ...packet }))[0];
  const dns = [parseEndpoint("192.0.2.53:53")!];
  const query: Partial<Packet> = { protocol: "udp", tcpFirst: false, destinationPort: 53 };
  assertEquals(
    await why({}, { way: { kind: "arriving", interface: "lan1", mac: "" } }),
    "The policy is not asked: this packet is not taken.",
  );
  assertEquals(
    await why({ dns }, query),
    "The policy is not asked: resolvers of --dns answer, whatever it says.",
  );
  assertEquals(await why({ dns }, { destinationPort: 853 }), "The policy:");
  assertEquals(await why({}, query), "The policy:");
  const pod: Partial<RunConfig> = {
    from: [],
    tcp: "redirect",
    udp: "off",
    sidecar: { ...DEFAULT_SIDECAR, virtualInterfaces: [] },
  };
  assertEquals(
    await why(pod, { destination: "198.51.100.1" }),
    "The policy is not asked: connections to the pod go to the pod, whatever it says.",
  );
});

Deno.test("explain: a module decides before the rules; without a policy nothing is said", async () => {
  const module = "/etc/pellucid/policy.ts";
  const lines = await said({ policy: { rules: [], otherwise: "direct", pushDown: true, module } }, ARRIVING);
  assertStringIncludes(lines[1]!, `${module} is asked first`);
  assertEquals(lines.slice(2), [
    "  the default decides: no rule is about it",
    "It leaves by direct: from this host.",
  ]);
  assertEquals(await said({ policy: defaultRunConfig().policy }, ARRIVING), []);
  const own = CONFIG.upstreams.map((one) => one.name === "direct" ? { ...one, mark: 7 } : one);
  assertStringIncludes(
    (await said({ policy: defaultRunConfig().policy, upstreams: own }, ARRIVING)).join(),
    "from this host, mark 0x7",
  );
});

Deno.test("explain: of a policy of a hundred thousand rules, some lines", async () => {
  const rules = Array.from(
    { length: 100_000 },
    (_, i) =>
      rule(i % 2 === 0 ? "direct" : "proxies", {
        destinationPorts: [{ first: 1000 + i % 60_000, last: 61_000 }],
      }),
  );
  const lines = await said({ policy: { rules, otherwise: "block", pushDown: true } }, ARRIVING);
  assertEquals(lines.length < 40, true, lines.join("\n"));
  assertStringIncludes(lines.join("\n"), "  and 99988 more do not decide");
  assertStringIncludes(lines.join("\n"), "Rules of the policy in the kernel, 63 of 100000:");
  assertEquals(lines.at(-1), "  and 99988 more");
  const late = await said(
    { policy: { rules: [...rules, rule("block")], otherwise: "direct", pushDown: true } },
    ARRIVING,
  );
  assertStringIncludes(late.at(-2)!, "  rule 100001: not there, ");
  assertEquals(late.at(-1), "  and 99988 more");
  const same = inShort(rules, () => true, (_, place) => ({ ...place, why: "" }));
  assertEquals(same, { notes: [{ first: 1, last: 100_000, why: "" }], more: 0 });
});
