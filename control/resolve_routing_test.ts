import {
  BUILT_IN_UPSTREAMS,
  ConfigError,
  defaultRunConfig,
  NO_RULE_FILTERS,
  type PolicyRuleConfig,
  type RunConfig,
  type SecretConfig,
  type Socks5Config,
} from "../config/mod.ts";
import { parseAddress } from "../net/mod.ts";
import { assert, assertEquals, assertRejects } from "../tests/assert.ts";
import { healthBytes } from "../upstream/health_state.ts";
import { type HostLookups, parseLinks, THIS_HOST } from "./host_lookups.ts";
import { resolvePolicyRules } from "./resolve_policy.ts";
import { resolveRouting } from "./resolve_routing.ts";
import { RouteNames } from "./route_names.ts";

/** A host that knows a little. */
const HOST: HostLookups = {
  addresses: (host) => {
    if (host === "proxy.example.test") {
      return Promise.resolve([parseAddress("2001:db8::1")!, parseAddress("192.0.2.1")!]);
    }
    if (host === "empty.example.test") return Promise.resolve([]);
    return Promise.reject(new Error("ENOTFOUND"));
  },
  readSecret: (path) => {
    if (path === "/secrets/good") return Promise.resolve("from a file\n");
    if (path === "/secrets/empty") return Promise.resolve("\n");
    if (path === "/secrets/long") return Promise.resolve("x".repeat(256));
    return Promise.reject(
      new Deno.errors.PermissionDenied(`Permission denied (os error 13): open '${path}'`),
    );
  },
  environment: (name) => ({ GOOD: "from the environment", EMPTY: "" })[name],
  interfaces: () =>
    Promise.resolve([{ name: "lo", index: 1 }, { name: "lan0", index: 4 }, { name: "lan1", index: 9 }]),
};

function socks5(name: string, host: string, password?: SecretConfig): Socks5Config {
  return {
    kind: "socks5",
    name,
    server: { host, port: 1080 },
    credentials: password === undefined ? null : { username: "me", password },
    pipeline: true,
    udp: true,
    timeoutMs: 5000,
  };
}

const RULE: PolicyRuleConfig = {
  ...NO_RULE_FILTERS,
  to: "direct",
};

function resolve(change: Partial<RunConfig>) {
  const upstreams = [...BUILT_IN_UPSTREAMS, ...change.upstreams ?? []];
  return resolveRouting({ ...defaultRunConfig(), ...change, upstreams }, new RouteNames(), HOST);
}

/** What was wrong, as `path: found`. */
async function issuesOf(change: Partial<RunConfig>): Promise<string[]> {
  const error = await assertRejects(() => resolve(change), ConfigError);
  return error.issues.map(({ path, found }) => `${path}: ${found}`);
}

Deno.test("resolveRouting: with nothing configured, everything leaves from here and no rule is asked", async () => {
  const routing = await resolve({});
  assertEquals([routing.policy, routing.otherwise, routing.upstreams.map(({ name }) => name)], [
    undefined,
    0,
    [
      "direct",
      "block",
    ],
  ]);
  assertEquals(routing.upstreams[0], {
    kind: "direct",
    name: "direct",
    source: undefined,
    interface: undefined,
    mark: 0,
    dscp: undefined,
  });
});

Deno.test("resolveRouting: names become addresses and numbers, secrets are read", async () => {
  const routing = await resolve({
    upstreams: [
      socks5("a", "proxy.example.test", { kind: "file", path: "/secrets/good" }),
      socks5("b", "192.0.2.9", { kind: "env", name: "GOOD" }),
      socks5("inside", "only.known.there"),
      { kind: "chain", name: "both", hops: ["a", "inside"] },
    ],
    groups: [{
      kind: "failover",
      name: "best",
      members: ["b", "a"],
      check: {
        target: { host: "check.example.test", port: 443 },
        intervalMs: 1000,
        timeoutMs: 500,
        rise: 2,
        fall: 4,
      },
      liveFlows: "reset",
    }],
    policy: { rules: [{ ...RULE, to: "both" }], otherwise: "best", pushDown: true },
  });
  const [, , a, b, inside, both, best] = routing.upstreams;
  assert(a!.kind === "socks5" && b!.kind === "socks5" && inside!.kind === "socks5");
  assertEquals(a!.server, { address: parseAddress("2001:db8::1")!, port: 1080 });
  assertEquals(a!.credentials, { username: "me", password: "from a file" });
  assertEquals(b!.credentials, { username: "me", password: "from the environment" });
  // Whoever is before it in the chain resolves it.
  assertEquals(inside!.server, { host: "only.known.there", port: 1080 });
  assert(both!.kind === "chain" && best!.kind === "failover");
  assertEquals([both!.hops, best!.members, routing.otherwise], [[2, 4], [3, 2], 6]);
  assertEquals([best!.rise, best!.fall, best!.check?.intervalMs], [2, 4, 1000]);
  assertEquals(best!.health.byteLength, healthBytes(2));
  assert(routing.policy !== undefined);
});

Deno.test("resolveRouting: a later hop that is also a way of its own has to be known here", async () => {
  const upstreams = [
    socks5("a", "192.0.2.1"),
    socks5("inside", "only.known.there"),
    { kind: "chain", name: "both", hops: ["a", "inside"] } as const,
  ];
  assertEquals(
    await issuesOf({
      upstreams,
      policy: { rules: [{ ...RULE, to: "inside" }], otherwise: "both", pushDown: true },
    }),
    ['upstream.inside.server: "only.known.there", which cannot be resolved (ENOTFOUND)'],
  );
});

Deno.test("resolveRouting: everything that cannot be resolved is named at once, and no secret is", async () => {
  const found = await issuesOf({
    upstreams: [
      socks5("a", "nowhere.example.test", { kind: "file", path: "/secrets/denied" }),
      socks5("b", "empty.example.test", { kind: "file", path: "/secrets/empty" }),
      socks5("c", "192.0.2.1", { kind: "env", name: "EMPTY" }),
      socks5("d", "192.0.2.1", { kind: "env", name: "UNSET" }),
      socks5("e", "192.0.2.1", { kind: "file", path: "/secrets/long" }),
    ],
    policy: {
      rules: [{ ...RULE, interfaces: ["lan0", "wan0"], uids: [{ name: "nobody-of-that-name" }] }],
      otherwise: "direct",
      pushDown: true,
    },
  });
  assertEquals(found.toSorted(), [
    "rule[1].interface: wan0, not there",
    'rule[1].uid: "nobody-of-that-name"',
    "upstream.a.password-file: /secrets/denied: Permission denied (os error 13)",
    'upstream.a.server: "nowhere.example.test", which cannot be resolved (ENOTFOUND)',
    "upstream.b.password-file: /secrets/empty, which is empty",
    'upstream.b.server: "empty.example.test", which has no address',
    "upstream.c.password-env: EMPTY, which is empty",
    "upstream.d.password-env: UNSET, which is not set",
    "upstream.e.password-file: 256 bytes in /secrets/long",
  ]);
});

Deno.test("resolveRouting: a mark with bits that our own rules go by is refused, by name", async () => {
  const marked = (name: string, mark: number) =>
    ({ kind: "direct", name, source: null, interface: null, mark, dscp: null }) as const;
  const fits = marked("fits", 0xe8ff_ffff);
  assertEquals((await resolve({ upstreams: [fits] })).upstreams.at(-1)!.name, "fits");
  assertEquals(
    await issuesOf({ upstreams: [fits, marked("taken", 0x0100_0040), marked("high", 0xffff_ffff)] }),
    [
      "upstream.taken.mark: 0x1000040, with 0x1000000 of ours",
      "upstream.high.mark: 0xffffffff, with 0x17000000 of ours",
    ],
  );
});

Deno.test("resolvePolicyRules: no filter is everything, a list that is empty is nothing", async () => {
  const list = await Deno.makeTempFile();
  const bad = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(list, "# none yet\n");
    await Deno.writeTextFile(bad, "192.0.2.0/24\nnonsense\n");
    const issues: { path: string; found: string }[] = [];
    const rules = await resolvePolicyRules(
      [
        RULE,
        { ...RULE, destinationFiles: [list] },
        {
          ...RULE,
          destinations: ["192.0.2.77/24"],
          interfaces: ["lan*"],
          uids: [{ first: 5, last: 7 }],
          dscp: [0],
        },
        { ...RULE, sourceFiles: [bad] },
        { ...RULE, sourceFiles: [bad] },
      ],
      () => 3,
      HOST,
      issues as never,
    );
    const [all, none, some] = rules;
    assertEquals(Object.values(all!), [...Array(8).fill(undefined), 3]);
    assertEquals([none!.destinations, none!.sources], [[], undefined]);
    assertEquals([some!.destinations, some!.interfaces, some!.uids, some!.dscp], [
      ["192.0.2.0/24"],
      [4, 9],
      [{ first: 5, last: 7 }],
      [0],
    ]);
    // Said once, although two rules name the list.
    assertEquals(issues.map(({ path, found }) => [path, found]), [[
      "rule[4].source-file",
      `${bad}:2: "nonsense"`,
    ]]);
  } finally {
    await Promise.all([list, bad].map((path) => Deno.remove(path)));
  }
});

Deno.test("host lookups: localhost has an address, and interfaces are those that the kernel lists", async () => {
  const found = await THIS_HOST.addresses("localhost");
  assert(found.some(({ text }) => text === "127.0.0.1" || text === "::1"), JSON.stringify(found));
  assertEquals(THIS_HOST.environment("PELLUCID_NOT_SET"), undefined);
  assertEquals((await THIS_HOST.interfaces()).find(({ name }) => name === "lo"), { name: "lo", index: 1 });
  assertEquals(parseLinks("1: lo: <LOOPBACK,UP> mtu\n12: br-x.7@if3: <UP> mtu\n3: weird@eth0: <UP>\n"), [
    { name: "lo", index: 1 },
    { name: "br-x.7", index: 12 },
    { name: "weird", index: 3 },
  ]);
});
