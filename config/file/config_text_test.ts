import { assert, assertEquals, assertStringIncludes } from "../../tests/assert.ts";
import { type ConfigIssue, DIRECT_POLICY, formatIssue, NO_RULE_FILTERS } from "../mod.ts";
import { readConfigText } from "./mod.ts";

const read = (text: string) => readConfigText(text, "/etc/p/a.toml");

/** `line:column key: found`, with the hint where there is one. */
function brief({ place, path, found, hint }: ConfigIssue): string {
  return `${place?.line}:${place?.column} ${path}: ${found}${hint === undefined ? "" : `; ${hint}`}`;
}

const issues = (text: string) => read(text).issues.map(brief);

Deno.test("readConfigText: a file that says nothing says nothing", () => {
  for (const text of ["", "# nothing\n", "[intercept]\n[tcp]\n", '"$schema" = "x"']) {
    const { settings, routing, issues } = read(text);
    assertEquals([settings, routing.policy, routing.groups, issues], [{}, DIRECT_POLICY, [], []]);
    assertEquals(routing.upstreams.map(({ name }) => name), ["direct", "block"]);
  }
});

Deno.test("readConfigText: settings by the names of their flags, values as flags have them", () => {
  const { settings, issues } = read(`
mode = "gateway-and-host"
workers = 2
drain-timeout = 5
[intercept]
from = ["eth1", "br-*"]
tcp-ports = [443, "8000-8001,9000"]
include-cidr = "192.0.2.77/24"
include-cidr-file = ["direct.txt", "/var/lib/a.txt"]
exclude-uid = [0, "www-data"]
[tcp]
connect-timeout = "1.5s"
idle-timeout = "2h"
[dns]
resolvers = "192.0.2.53"
[log]
flows = true
`);
  assertEquals(issues, []);
  assertEquals(settings, {
    workers: 2,
    "drain-timeout": 5_000,
    from: ["eth1", "br-*"],
    "tcp-ports": [{ first: 443, last: 443 }, { first: 8000, last: 8001 }, { first: 9000, last: 9000 }],
    "include-cidr": ["192.0.2.0/24"],
    "include-cidr-file": ["/etc/p/direct.txt", "/var/lib/a.txt"],
    "exclude-uid": [{ first: 0, last: 0 }, { name: "www-data" }],
    "connect-timeout": 1_500,
    "idle-timeout": 7_200_000,
    dns: [{ address: { family: 4, text: "192.0.2.53" }, port: 53 }],
    flows: true,
    local: true,
  });
});

Deno.test("readConfigText: upstreams, groups and rules, with the defaults of what is not said", () => {
  const { routing, issues } = read(`
[upstream.office]
kind = "socks5"
server = "[2001:db8::1]:1080"
username = "me"
password-file = "office.password"
[upstream.web]
kind = "http"
server = "proxy.example:3128"
timeout = "3s"
[upstream.direct]
kind = "direct"
dscp = 8
[upstream.mesh]
kind = "proxy-protocol"
[upstream.both]
kind = "chain"
hops = ["office", "web"]
[group.any]
kind = "failover"
members = ["office", "direct"]
[group.still]
kind = "round-robin"
members = "office"
check.enabled = false
live-flows = "reset"
[[rule]]
network = "udp"
destination = ["192.0.2.1", "2001:db8::/32"]
destination-file = "list.txt"
uid = "nobody"
dscp = [0, 46]
use = "any"
[policy]
default = "both"
push-down = false
`);
  assertEquals(issues, []);
  assertEquals(routing.upstreams, [
    { kind: "block", name: "block", how: "reset" },
    {
      kind: "socks5",
      name: "office",
      server: { host: "2001:db8::1", port: 1080 },
      credentials: { username: "me", password: { kind: "file", path: "/etc/p/office.password" } },
      pipeline: true,
      udp: true,
      timeoutMs: 10_000,
    },
    {
      kind: "http",
      name: "web",
      server: { host: "proxy.example", port: 3128 },
      credentials: null,
      timeoutMs: 3_000,
    },
    { kind: "direct", name: "direct", source: null, interface: null, mark: 0, dscp: 8 },
    { kind: "proxy-protocol", name: "mesh", version: 2, server: null, timeoutMs: 10_000 },
    { kind: "chain", name: "both", hops: ["office", "web"] },
  ]);
  const check = { target: null, intervalMs: 10_000, timeoutMs: 5_000, rise: 2, fall: 3 };
  assertEquals(routing.groups, [
    { kind: "failover", name: "any", members: ["office", "direct"], check, liveFlows: "keep" },
    { kind: "round-robin", name: "still", members: ["office"], check: null, liveFlows: "reset" },
  ]);
  assertEquals(routing.policy, {
    rules: [{
      ...NO_RULE_FILTERS,
      network: "udp",
      destinations: ["192.0.2.1/32", "2001:db8::/32"],
      destinationFiles: ["/etc/p/list.txt"],
      uids: [{ name: "nobody" }],
      dscp: [0, 46],
      to: "any",
    }],
    otherwise: "both",
    pushDown: false,
  });
});

Deno.test("readConfigText: every problem at once, each with its place", () => {
  assertEquals(
    issues(`mode = "gatway"
workers = 2.5
[intercept]
from = ["eth1", 5.5]
tcp-ports = "80,x"
include-cidr = []
[tcp]
mode = true
connect-timeout = "5 minutes"
[upstream.a]
kind = "socks5"
server = "proxy.example"
[upstream.b]
kind = "htp"
[upstream.c]
kind = "chain"
[[rule]]
destination = ["10.0.0.0/8", "x"]
[[rule]]
use = 1
[log]
flows = "yes"
`),
    [
      '1:8 mode: "gatway"',
      "2:11 workers: 2.5",
      "4:17 intercept.from: 5.5",
      '5:13 intercept.tcp-ports: "x"',
      "6:16 intercept.include-cidr: an empty list",
      "8:8 tcp.mode: true",
      '9:19 tcp.connect-timeout: "5 minutes"',
      '12:10 upstream.a.server: "proxy.example"',
      '14:8 upstream.b.kind: "htp"',
      "15:11 upstream.c.hops: nothing",
      "17:3 rule[1].use: nothing",
      '18:30 rule[1].destination: "x"',
      "20:7 rule[2].use: 1",
      '22:9 log.flows: "yes"',
    ],
  );
});

Deno.test("readConfigText: an unknown key is asked about, also where another table has it", () => {
  assertEquals(
    issues(`prot = 1
[intercept]
form = "eth1"
conect-timeout = 3
[tcp]
max-connections = 5
[upstream.a]
kidn = "http"
[upstream.b]
kind = "http"
server = "a:1"
udp = true
[[rule]]
port = 1
use = "direct"
[limit]
zzz = 1
`),
    [
      "1:1 prot: an unknown key; did you mean port?",
      "3:1 intercept.form: an unknown key; did you mean from?",
      "4:1 intercept.conect-timeout: an unknown key; did you mean tcp.connect-timeout?",
      "6:1 tcp.max-connections: an unknown key; did you mean limits.max-connections?",
      "7:11 upstream.a.kind: nothing",
      "8:1 upstream.a.kidn: an unknown key; did you mean kind?",
      "12:1 upstream.b.udp: an unknown key; there are kind, server, username, password, password-file, password-env, timeout",
      "14:1 rule[1].port: an unknown key; did you mean destination-port or source-port?",
      "16:2 limit: an unknown key; did you mean limits?",
    ],
  );
});

Deno.test("readConfigText: what belongs together", () => {
  assertEquals(
    issues(`mode = "host"
[intercept]
from = "eth1"
[upstream.a]
kind = "http"
server = "a:1"
username = "me"
[upstream.b]
kind = "http"
server = "a:1"
password-env = "B"
[upstream.c]
kind = "socks5"
server = "a:1"
username = "me"
password = "secret"
password-file = "c"
`),
    [
      '1:8 mode, intercept.from: "host", and interfaces',
      "7:1 upstream.a.username: a name without a password",
      "11:1 upstream.b.password-env: password-env without a name",
      "17:1 upstream.c.password-file: password and password-file",
    ],
  );
});

Deno.test("readConfigText: a broken line does not hide the rest, and what it would have said is not missed", () => {
  assertEquals(issues('mode = "gatway\n[upstream.a]\nkind = "http"\nserver = \n[tcp]\nmode = 1\n'), [
    "1:15 syntax: the end before the closing quote",
    "4:10 syntax: no value",
    "6:8 tcp.mode: 1",
  ]);
});

Deno.test("ConfigText: a secret is in no issue", () => {
  const texts = [
    '[upstream.a]\nkind = "http"\nserver = "http://me:hunter2@a:1"',
    '[upstream.a]\nkind = "http"\nserver = "me:hunter2@a:1"',
    '[upstream.a]\nkind = "http"\nserver = "a:1"\nusername = "me"\npassword = ["hunter2"]',
    '[upstream.a]\nkind = "http"\nserver = "a:1"\nusername = "me"\npassword = hunter2',
    '[upstream.a]\nkind = "http"\nserver = "a:1"\nusername = "me"\npasword = "hunter2"',
    '[upstream.a]\nkind = "http"\nserver = "a:1"\nusername = "me"\npassword = "hunter2" password-file = "x"',
    '[upstream.a]\nkind = "http"\nserver = "a:1"\npassword = "hunter2"',
  ];
  for (const text of texts) {
    const { issues } = read(text);
    assert(issues.length > 0, text);
    for (const issue of issues) assert(!formatIssue(issue).includes("hunter2"), formatIssue(issue));
  }
});

const FILE = `mode = "gateway"
[intercept]
from = "eth1"
[udp]
mode = "off"
[limits]
max-sessions = 5
[[rule]]
use = "ofice"
[upstream.office]
kind = "socks5"
server = "a:1"
`;

Deno.test("ConfigText.inItsWords: flags are told as keys, with their place, unless they were given", () => {
  const text = read(FILE);
  const found: ConfigIssue = {
    path: "--max-sessions",
    found: "set, and --udp off",
    wanted: "one or the other",
  };
  assertEquals(text.inItsWords([found], new Set()), [{
    path: "limits.max-sessions",
    found: "set, and udp.mode off",
    wanted: "one or the other",
    place: { file: "/etc/p/a.toml", line: 7, column: 16 },
  }]);
  assertEquals(text.inItsWords([found], new Set(["udp"])).map(brief), [
    "7:16 limits.max-sessions: set, and --udp off",
  ]);
  assertEquals(text.inItsWords([found], new Set(["max-sessions"])), [{
    ...found,
    found: "set, and udp.mode off",
  }]);
});

Deno.test("ConfigText.inItsWords: what is not set is where it would be", () => {
  const words = (path: string) =>
    read(FILE).inItsWords([{ path, found: "f", wanted: "w" }], new Set()).map(brief);
  assertEquals(words("--from, --local, --sidecar"), ["3:8 intercept.from, mode: f"]);
  assertEquals(words("--udp-timeout"), ["4:2 udp.timeout: f"]);
  assertEquals(words("--tcp, --udp"), ["5:8 tcp.mode, udp.mode: f"]);
  assertEquals(words("--port"), ["1:1 port: f"]);
  assertEquals(words("rule[1].use"), ["9:7 rule[1].use: f"]);
  assertEquals(words("upstream.office.timeout"), ["10:11 upstream.office.timeout: f"]);
  assertEquals(words("--local"), ["1:8 mode: f"]);
  assertEquals(words("--dry-run"), ["undefined:undefined --dry-run: f"]);
});

Deno.test("ConfigText: a name that no table can have is refused, not passed over", () => {
  const text = read(`[upstream.__proto__]\nkind = "block"\n[group.__proto__]\nmembers = 1\n`);
  assertEquals(text.issues.map(brief), [
    "1:11 upstream.__proto__: __proto__",
    "3:8 group.__proto__: __proto__",
  ]);
  assertEquals([text.routing.upstreams.map(({ name }) => name), text.routing.groups], [
    ["direct", "block"],
    [],
  ]);
});

Deno.test("ConfigText.inItsWords: what is neither a key nor a flag has no place in the file", () => {
  const found = ["arguments", "SRC, DST", "/run/pellucid"].map((path) => ({ path, found: "f", wanted: "w" }));
  assertEquals(read(FILE).inItsWords(found, new Set()), found);
});

Deno.test("ConfigText.inItsWords: nothing is said of what follows from another mistake", () => {
  const text = read(`[udp]
mode = "of"
[upstream.a]
kind = "htp"
[[rule]]
network = "upd"
use = "a"
[[rule]]
use = "b"
`);
  const at = (path: string, found: string, wanted = "w"): ConfigIssue => ({ path, found, wanted });
  const found = [
    at("--max-sessions", "set, and --udp off"),
    at("rule[1].use", '"a"'),
    at("rule[2].use", '"a"'),
    at("rule[2].use", '"b"'),
    at("group.g.members", '"a"'),
    at("--tcp", "x"),
  ];
  assertEquals(text.inItsWords(found, new Set()).map(({ path, found }) => `${path} ${found}`), [
    'rule[2].use "b"',
    "tcp.mode x",
  ]);
  // Of a torn file nothing can be said for sure.
  assertEquals(read("a =").inItsWords(found, new Set()), []);
});

Deno.test("ConfigText: which passwords are in the file itself", () => {
  const text = read('[upstream.a]\nkind = "http"\nserver = "a:1"\nusername = "me"\npassword = "x"\n');
  assertEquals(text.secretKeys, ["upstream.a.password"]);
  assertEquals(text.placeOf("upstream.a.password"), { file: "/etc/p/a.toml", line: 5, column: 12 });
  assertStringIncludes(JSON.stringify(text.routing.upstreams), '"text":"x"');
});

Deno.test("readConfigText: a policy module is named by a path from the file's folder, or by an address", () => {
  const policy = (text: string) => {
    const { routing, issues } = readConfigText(`[policy]\n${text}`, "/etc/p/a.toml");
    assertEquals(issues, []);
    const { module, budgetMs } = routing.policy;
    return [module, budgetMs];
  };
  assertEquals(policy(""), [undefined, undefined]);
  assertEquals(policy('module = "policy.ts"\nbudget = "20ms"'), ["/etc/p/policy.ts", 20]);
  assertEquals(policy('module = "/policy.ts"'), ["/policy.ts", undefined]);
  assertEquals(policy('module = "file:///policy.ts"'), ["file:///policy.ts", undefined]);
});
