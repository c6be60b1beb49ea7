import { assert, assertEquals } from "../tests/assert.ts";
import { formatEndpoint, formatPortRange } from "../net/mod.ts";
import { choice, list, seconds, texts, toggle, whole } from "./flag.ts";
import {
  CGROUPS,
  endpoints,
  INTERFACES,
  MACS,
  MARKS,
  PORTS,
  PREFIXES,
  USERS,
} from "../config/network_value.ts";
import { parseFlags } from "./parse_flags.ts";

const FLAGS = {
  tcp: choice(["tproxy", "redirect"], "tproxy", "mode"),
  from: list(INTERFACES, "interface"),
  local: toggle("own traffic"),
  port: whole(7870, "port"),
  "max-connections": whole(undefined, "limit", "many"),
  "idle-timeout": seconds(60_000, "timeout"),
  help: toggle("help"),
};

function issues(...args: string[]): string[] {
  return parseFlags(FLAGS, args).issues.map(({ path, found, hint }) => [path, found, hint ?? ""].join("|"));
}

Deno.test("parseFlags: nothing given gives the fallbacks", () => {
  assertEquals(parseFlags(FLAGS, []), {
    values: {
      tcp: "tproxy",
      from: [],
      local: false,
      port: 7870,
      "max-connections": undefined,
      "idle-timeout": 60_000,
      help: false,
    },
    given: new Set<string>(),
    operands: [],
    issues: [],
  });
});

Deno.test("parseFlags: both spellings, repeated lists, seconds to milliseconds", () => {
  const args = [
    "--tcp=redirect",
    "--from",
    "eth1",
    "--local",
    "--from=7",
    "--port",
    "80",
    "--idle-timeout",
    "1.5",
    "-h",
  ];
  const parsed = parseFlags(FLAGS, args);
  assertEquals(parsed.issues, []);
  assertEquals(parsed.values, {
    tcp: "redirect",
    from: ["eth1", "7"],
    local: true,
    port: 80,
    "max-connections": undefined,
    "idle-timeout": 1500,
    help: true,
  });
  assertEquals([...parsed.given].sort(), ["from", "help", "idle-timeout", "local", "port", "tcp"]);
});

Deno.test("parseFlags: what cannot be read is named, all at once", () => {
  assertEquals(issues("--tcp", "nat"), ["--tcp|nat|"]);
  assertEquals(issues("--port", "80x"), ["--port|80x|"]);
  assertEquals(issues("--port=-1"), ["--port|-1|"]);
  assertEquals(issues("--idle-timeout", "1e9"), ["--idle-timeout|1e9|"]);
  assertEquals(issues("--port", "--local"), ["--port|nothing|"]);
  assertEquals(issues("--from="), ["--from|nothing|"]);
  assertEquals(issues("--port", "1", "--port", "2"), ["--port|1 and 2|"]);
  assertEquals(issues("--local=yes"), ["--local|--local=yes|"]);
  assertEquals(issues("--prot", "1"), ["--prot|an unknown flag|did you mean --port?"]);
  assertEquals(issues("--no-local"), ["--no-local|an unknown flag|"]);
  assertEquals(issues("--zzz=1", "-q"), ["--zzz|an unknown flag|", "-q|an unknown flag|"]);
  assertEquals(issues("--__proto__=1", "--constructor"), [
    "--__proto__|an unknown flag|",
    "--constructor|an unknown flag|",
  ]);
  assertEquals(issues("--a.b=1"), ["--a.b|an unknown flag|"]);
});

Deno.test("parseFlags: an unreadable flag keeps its fallback", () => {
  const { values, issues } = parseFlags(FLAGS, ["--port", "x", "--from", "eth1"]);
  assertEquals([values.port, values.from, issues.length], [7870, ["eth1"], 1]);
});

Deno.test("parseFlags: operands are kept as text", () => {
  assertEquals(parseFlags(FLAGS, ["rules", "7", "--local", "--", "--port"]).operands, [
    "rules",
    "7",
    "--port",
  ]);
  assert(parseFlags(FLAGS, ["x", "--local"]).values.local);
});

const NETWORK_FLAGS = { "udp-ports": list(PORTS, "ports"), dns: list(endpoints(53), "resolver") };

Deno.test("parseFlags: ports and ranges of them, by commas or given again", () => {
  const read = (...args: string[]) => {
    const { values, issues } = parseFlags(NETWORK_FLAGS, args);
    return [...values["udp-ports"].map(formatPortRange), ...issues.map(({ found }) => `not ${found}`)];
  };
  assertEquals(read(), []);
  assertEquals(read("--udp-ports", "53"), ["53"]);
  assertEquals(read("--udp-ports=2000-3000,53,1-65535"), ["2000-3000", "53", "1-65535"]);
  assertEquals(read("--udp-ports", "53,2000-1000"), ["not 2000-1000"]);
  assertEquals(read("--udp-ports", "53,"), ["not 53,"]);
  assertEquals(read("--udp-ports", "53, 54"), ["not  54"]);
  assertEquals(read("--udp-ports", "dns"), ["not dns"]);
  assertEquals(read("--udp-ports", "0-5"), ["not 0-5"]);
  assertEquals(read("--udp-ports", "53", "--udp-ports", "54,55"), ["53", "54", "55"]);
});

Deno.test("parseFlags: endpoints with and without a port, IPv6 in brackets where it has one", () => {
  const read = (...texts: string[]) => {
    const { values, issues } = parseFlags(NETWORK_FLAGS, texts.map((text) => `--dns=${text}`));
    return [...values.dns.map(formatEndpoint), ...issues.map(({ found }) => `not ${found}`)];
  };
  assertEquals(read(), []);
  assertEquals(read("192.0.2.53", "192.0.2.53:5353"), ["192.0.2.53:53", "192.0.2.53:5353"]);
  assertEquals(read("2001:db8::53", "[2001:db8::53]:5353"), ["[2001:db8::53]:53", "[2001:db8::53]:5353"]);
  // A socket for IPv6 alone could not reach it.
  assertEquals(read("::ffff:192.0.2.53"), ["192.0.2.53:53"]);
  for (
    const text of [
      "dns.example",
      "[2001:db8::53]",
      "192.0.2.53:",
      "192.0.2.53:65536",
      "192.0.2",
      "fe80::1%eth0",
    ]
  ) {
    assertEquals(read("192.0.2.1", text), [`not ${text}`]);
  }
});

Deno.test("parseFlags: what the values of selectors are read as", () => {
  const flags = {
    cidr: list(PREFIXES, "prefixes"),
    file: texts("FILE", "files"),
    mac: list(MACS, "cards"),
    uid: list(USERS, "users"),
    cgroup: list(CGROUPS, "cgroups"),
    mark: list(MARKS, "marks"),
  };
  const args = [
    "--cidr",
    "192.0.2.77/24,2001:DB8::1",
    "--file",
    "a,b",
    "--file",
    "c",
    "--mac",
    "02:00:5E:10:00:01",
  ];
  const more = [
    "--uid",
    "0,1000-1999,www-data",
    "--cgroup",
    "/system.slice/a.service",
    "--mark",
    "0xca6c,1/0xff",
  ];
  const { values, issues } = parseFlags(flags, [...args, ...more]);
  assertEquals(issues, []);
  assertEquals(values, {
    cidr: ["192.0.2.0/24", "2001:db8::1/128"],
    // A path may hold a comma.
    file: ["a,b", "c"],
    mac: ["02:00:5e:10:00:01"],
    uid: [{ first: 0, last: 0 }, { first: 1000, last: 1999 }, { name: "www-data" }],
    cgroup: ["system.slice/a.service"],
    mark: [{ value: 0xca6c, mask: 0xffff_ffff }, { value: 1, mask: 0xff }],
  });
  const unread: [string, string][] = [
    ["cidr", "192.0.2.0/33"],
    ["mac", "01:00:5e:00:00:01"],
    ["uid", "2000-1000"],
    ["uid", "1000-x"],
    ["mark", "0xgg"],
  ];
  for (const [name, text] of unread) {
    const { issues } = parseFlags(flags, [`--${name}=${text}`]);
    assertEquals(issues.map(({ path, found }) => [path, found]), [[`--${name}`, text]]);
  }
});
