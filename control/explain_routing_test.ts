import { ConfigError, defaultRunConfig, NO_RULE_FILTERS, type RunConfig } from "../config/mod.ts";
import { parseEndpoint } from "../net/mod.ts";
import { assertEquals, assertRejects } from "../tests/assert.ts";
import { type DescribedFlow, explainChoice, explainPushDown } from "./explain_routing.ts";
import type { HostLookups } from "./host_lookups.ts";

const HOST: HostLookups = {
  addresses: (host) => Promise.reject(new Error(`asked for ${host}`)),
  readSecret: (path) => Promise.reject(new Error(`asked for ${path}`)),
  environment: () => undefined,
  interfaces: () => Promise.resolve([{ name: "lan0", index: 2 }, { name: "lan1", index: 5 }]),
};
const FLOW: DescribedFlow = {
  network: "tcp",
  source: parseEndpoint("192.0.2.2:40000")!,
  destination: parseEndpoint("203.0.113.7:443")!,
  interface: "lan1",
  uid: undefined,
  dscp: 0,
};

function config(...interfaces: string[]): RunConfig {
  const credentials = { username: "we", password: { kind: "file", path: "/nonexistent" } } as const;
  return {
    ...defaultRunConfig(),
    upstreams: [
      ...defaultRunConfig().upstreams,
      {
        ...{ kind: "http", name: "office", timeoutMs: 1000, credentials },
        server: { host: "office.invalid", port: 3128 },
      },
    ],
    policy: {
      rules: interfaces.map((name) => ({ ...NO_RULE_FILTERS, interfaces: [name], to: "direct" })),
      otherwise: "office",
      pushDown: true,
    },
  };
}

Deno.test("explainChoice: interfaces by their names; neither servers nor secrets are looked up", async () => {
  assertEquals(await explainChoice(config("lan0", "lan*"), FLOW, HOST), {
    rule: 1,
    because: "incoming interface is lan1",
    notBefore: ["incoming interface is lan1, lan0 wanted"],
    to: "direct",
  });
  const own = await explainChoice(config("lan*"), { ...FLOW, interface: undefined }, HOST);
  assertEquals([own.to, ...own.notBefore], [
    "office",
    "its incoming interface is not known, lan0, lan1 wanted",
  ]);
});

Deno.test("explainChoice, explainPushDown: what cannot be resolved is an issue, as for a run", async () => {
  for (const asked of [explainChoice(config("lan9"), FLOW, HOST), explainPushDown(config("lan9"), HOST)]) {
    const { issues } = await assertRejects(() => asked, ConfigError);
    assertEquals(issues.map(({ path, found }) => [path, found]), [["rule[1].interface", "lan9, not there"]]);
  }
  assertEquals((await explainPushDown(config("lan0"), HOST)).map(({ isPushed }) => isPushed), [true]);
});
