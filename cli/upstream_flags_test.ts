import { BUILT_IN_UPSTREAMS, checkRunConfig, defaultRunConfig, DIRECT_POLICY } from "../config/mod.ts";
import { assert, assertEquals } from "../tests/assert.ts";
import { parseFlags } from "./parse_flags.ts";
import {
  byUpstreamFlag,
  checkUpstreamFlags,
  routingConfig,
  UPSTREAM_FLAGS,
  type UpstreamValues,
  warnAboutUpstream,
} from "./upstream_flags.ts";

function read(...args: string[]): UpstreamValues {
  const { values, issues } = parseFlags(UPSTREAM_FLAGS, args);
  assertEquals(issues, []);
  return values;
}

const made = (...args: string[]) => routingConfig(read(...args)).upstreams.at(-1);
const common = { name: "command-line", credentials: null, timeoutMs: 10_000 };

Deno.test("routingConfig: without --upstream everything leaves from here", () => {
  assertEquals(routingConfig(read()), { upstreams: BUILT_IN_UPSTREAMS, groups: [], policy: DIRECT_POLICY });
});

Deno.test("routingConfig: --upstream is what the policy's default is", () => {
  const server = { host: "192.0.2.10", port: 1080 };
  const socks = { ...common, kind: "socks5", server, pipeline: true, udp: true } as const;
  assertEquals(made("--upstream", "socks5://192.0.2.10:1080"), socks);
  assertEquals(made("--upstream", "socks5h://192.0.2.10:1080/"), socks);
  assertEquals(made("--upstream", "http://proxy.example:3128"), {
    ...common,
    kind: "http",
    server: { host: "proxy.example", port: 3128 },
  });
  assertEquals(made("--upstream", "socks5://[2001:DB8::1]:1"), {
    ...socks,
    server: { host: "2001:db8::1", port: 1 },
  });
  const { policy } = routingConfig(read("--upstream", "socks5://192.0.2.10:1080"));
  assertEquals(policy, { ...DIRECT_POLICY, otherwise: "command-line" });
});

Deno.test("routingConfig: a name is one of the file's", () => {
  const routing = {
    upstreams: BUILT_IN_UPSTREAMS,
    groups: [],
    policy: { ...DIRECT_POLICY, pushDown: false },
  };
  assertEquals(routingConfig({ ...read("--upstream", "block"), routing }).policy, {
    rules: [],
    otherwise: "block",
    pushDown: false,
  });
});

Deno.test("routingConfig: a password comes from the file, the address or the environment", () => {
  const secret = (...args: string[]) => {
    const upstream = made(...args);
    return upstream !== undefined && "credentials" in upstream ? upstream.credentials : undefined;
  };
  const password = { kind: "env", name: "PELLUCID_UPSTREAM_PASSWORD" } as const;
  assertEquals(secret("--upstream", "http://m%40e@a:1"), { username: "m@e", password });
  assertEquals(secret("--upstream", "http://me@a:1", "--upstream-password-file", "p"), {
    username: "me",
    password: { kind: "file", path: "p" },
  });
  assertEquals(secret("--upstream", "http://me:a%3Ab@a:1"), {
    username: "me",
    password: { kind: "text", text: "a:b" },
  });
});

Deno.test("--upstream: what is none is refused, and a password in it not shown", () => {
  const texts = [
    "socks5://a",
    "socks4://a:1",
    "socks5://a:1/x",
    "socks5://2001:db8::1:1080",
    "socks5://me:hunter2@a",
    "me:hunter2@a:1",
    "http://me:hunter2@b@a:1",
    "http://me:hunter2%zz@a:1",
    "http://:hunter2@a:1",
  ];
  for (const text of texts) {
    const { issues } = parseFlags(UPSTREAM_FLAGS, ["--upstream", text]);
    assertEquals(issues.map(({ path }) => path), ["--upstream"], text);
    assert(!JSON.stringify(issues).includes("hunter2"), JSON.stringify(issues));
  }
});

Deno.test("--policy: a module by its path, from here, or its address; the file's by way of the file's own", () => {
  const module = (...args: string[]) => routingConfig(read(...args)).policy.module;
  assertEquals(module(), undefined);
  assertEquals(module("--policy", "/etc/policy.ts"), "/etc/policy.ts");
  assertEquals(module("--policy", "policies/policy.ts"), `${Deno.cwd()}/policies/policy.ts`);
  assertEquals(module("--policy", "https://example.org/policy.ts"), "https://example.org/policy.ts");
  const policy = { ...DIRECT_POLICY, module: "conf/policy.ts", budgetMs: 2 };
  const values = { ...read(), routing: { upstreams: [], groups: [], policy } };
  assertEquals(routingConfig(values).policy, { ...policy, module: `${Deno.cwd()}/conf/policy.ts` });
  assertEquals(routingConfig({ ...values, policy: "/a.ts" }).policy.module, "/a.ts");
});

Deno.test("checkUpstreamFlags: a password file is for a user", () => {
  const paths = (...args: string[]) =>
    [...checkUpstreamFlags(read("--upstream-password-file", "p", ...args))].map(({ path }) => path);
  assertEquals(paths("--upstream", "http://me@a:1"), []);
  assertEquals(paths(), ["--upstream-password-file"]);
  assertEquals(paths("--upstream", "http://a:1"), ["--upstream-password-file"]);
  assertEquals(paths("--upstream", "office"), ["--upstream-password-file"]);
  assertEquals(paths("--upstream", "http://me:x@a:1"), ["--upstream, --upstream-password-file"]);
});

Deno.test("warnAboutUpstream: a password that others see", () => {
  assertEquals([...warnAboutUpstream(read("--upstream", "http://me@a:1"))], []);
  const warnings = [...warnAboutUpstream(read("--upstream", "http://me:hunter2@a:1"))];
  assertEquals(warnings.length, 1);
  assert(!warnings[0]!.includes("hunter2"));
});

Deno.test("byUpstreamFlag: what checks have against it is the flag's", () => {
  const config = {
    ...defaultRunConfig(),
    from: ["eth1"],
    ...routingConfig(read("--upstream", "http://a..b:1")),
  };
  assertEquals(checkRunConfig(config).map((issue) => byUpstreamFlag(issue).path), [
    "--upstream",
    "--upstream",
  ]);
});
