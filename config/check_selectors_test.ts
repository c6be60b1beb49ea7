import { assertEquals } from "../tests/assert.ts";
import {
  checkInterception,
  defaultRunConfig,
  fitsInterfacePattern,
  type RunConfig,
  SELECT_ALL,
  type SelectorConfig,
} from "./mod.ts";

const both: RunConfig = { ...defaultRunConfig(), from: ["eth1"], local: true };

function found(change: Partial<SelectorConfig>, config: RunConfig = both): [string, string][] {
  const select = { ...SELECT_ALL, ...change };
  return checkInterception({ ...config, select }).map((issue) => [issue.path, issue.found]);
}

const prefixes = (include: string[], exclude: string[] = []) => ({
  include,
  exclude,
  includeFiles: [],
  excludeFiles: [],
});
const range = (first: number, last = first) => ({ first, last });

Deno.test("checkInterception: selectors that make sense have no issue", () => {
  const cases: Partial<SelectorConfig>[] = [
    { destinations: prefixes(["192.0.2.0/24", "2001:db8::/32"], ["192.0.2.7", "0.0.0.0/1"]) },
    { destinations: { ...prefixes(["192.0.2.0/24"]), excludeFiles: ["/etc/direct.txt"] } },
    { sources: prefixes(["::/0"], ["2001:db8::/32"]) },
    { tcpPorts: { include: [range(1, 65_535)], exclude: [range(22)] } },
    { outgoing: { include: ["eth*", "wg0"], exclude: ["eth1"] } },
    { macs: { include: ["02:00:5e:10:00:01"], exclude: [] } },
    { uids: { include: [range(0, 4_294_967_294), { name: "www-data" }], exclude: [{ name: "root" }] } },
    { gids: { include: [], exclude: [{ name: "docker" }, range(1337)] } },
    { cgroups: { include: ["system.slice"], exclude: ["system.slice/ssh@1.service", "user.slice"] } },
    { marks: { include: [{ value: 0, mask: 1 }], exclude: [{ value: 0xca6c, mask: 0xffff_ffff }] } },
  ];
  for (const change of cases) assertEquals(found(change), [], JSON.stringify(change));
});

Deno.test("checkInterception: a value that is none, in either flag", () => {
  const cases: [Partial<SelectorConfig>, string, string][] = [
    [{ destinations: prefixes(["192.0.2.0/33"]) }, "--include-cidr", "192.0.2.0/33"],
    [{ destinations: prefixes([], ["example.org"]) }, "--exclude-cidr", "example.org"],
    [{ destinations: { ...prefixes([]), includeFiles: [""] } }, "--include-cidr-file", '""'],
    [{ sources: { ...prefixes([]), excludeFiles: [""] } }, "--exclude-source-file", '""'],
    [{ tcpPorts: { include: [range(0, 1)], exclude: [] } }, "--tcp-ports", "0-1"],
    [{ udpPorts: { include: [], exclude: [range(2, 1)] } }, "--exclude-udp-ports", "2-1"],
    [{ outgoing: { include: ["a b"], exclude: [] } }, "--to", '"a b"'],
    [{ outgoing: { include: ["ppp+"], exclude: [] } }, "--to", '"ppp+"'],
    [{ cgroups: { include: ["a\\x2db.slice"], exclude: [] } }, "--include-cgroup", '"a\\\\x2db.slice"'],
    [{ macs: { include: [], exclude: ["02:00:5E:10:00:01"] } }, "--exclude-mac", '"02:00:5E:10:00:01"'],
    [{ uids: { include: [range(5, 4)], exclude: [] } }, "--include-uid", "5-4"],
    [{ uids: { include: [range(4_294_967_295)], exclude: [] } }, "--include-uid", "4294967295"],
    [{ gids: { include: [], exclude: [{ name: "a:b" }] } }, "--exclude-gid", '"a:b"'],
    [{ cgroups: { include: ["/system.slice"], exclude: [] } }, "--include-cgroup", '"/system.slice"'],
    [{ cgroups: { include: ["a/../b"], exclude: [] } }, "--include-cgroup", '"a/../b"'],
    [{ cgroups: { include: [], exclude: ['a"b'] } }, "--exclude-cgroup", '"a\\"b"'],
    [{ cgroups: { include: [], exclude: ["a".repeat(512)] } }, "--exclude-cgroup", `"${"a".repeat(512)}"`],
    [{ marks: { include: [{ value: 2, mask: 1 }], exclude: [] } }, "--include-mark", "0x2/0x1"],
    [{ marks: { include: [], exclude: [{ value: 0, mask: 0 }] } }, "--exclude-mark", "0x0/0x0"],
  ];
  for (const [change, path, what] of cases) assertEquals(found(change), [[path, what]]);
});

Deno.test("checkInterception: what is included and excluded whole", () => {
  const cases: [Partial<SelectorConfig>, string, string][] = [
    [
      { destinations: prefixes(["192.0.2.7", "203.0.113.0/24"], ["192.0.2.0/24"]) },
      "--include-cidr, --exclude-cidr",
      "192.0.2.7 and 192.0.2.0/24",
    ],
    [
      { sources: prefixes(["2001:db8::/33"], ["::/0"]) },
      "--include-source, --exclude-source",
      "2001:db8::/33 and ::/0",
    ],
    [
      { tcpPorts: { include: [range(80)], exclude: [range(1, 1023)] } },
      "--tcp-ports, --exclude-tcp-ports",
      "80 and 1-1023",
    ],
    [{ outgoing: { include: ["eth1"], exclude: ["eth*"] } }, "--to, --exclude-to", '"eth1" and "eth*"'],
    [{ uids: { include: [range(5)], exclude: [range(0, 9)] } }, "--include-uid, --exclude-uid", "5 and 0-9"],
    [
      { gids: { include: [{ name: "a" }], exclude: [{ name: "a" }] } },
      "--include-gid, --exclude-gid",
      '"a" and "a"',
    ],
    [
      { cgroups: { include: ["a.slice/b"], exclude: ["a.slice"] } },
      "--include-cgroup, --exclude-cgroup",
      '"a.slice/b" and "a.slice"',
    ],
    [
      {
        marks: {
          include: [{ value: 0x8000_0001, mask: 0xffff_ffff }],
          exclude: [{ value: 0x8000_0000, mask: 0xf000_0000 }],
        },
      },
      "--include-mark, --exclude-mark",
      "0x80000001 and 0x80000000/0xf0000000",
    ],
  ];
  for (const [change, path, what] of cases) assertEquals(found(change), [[path, what]]);
});

Deno.test("checkInterception: selectors that no packet could be asked for", () => {
  const forwarded: RunConfig = { ...defaultRunConfig(), from: ["eth1"] };
  const own: RunConfig = { ...defaultRunConfig(), local: true };
  const without = "set, and neither --local nor --sidecar";
  assertEquals(found({ uids: { include: [range(1)], exclude: [range(2)] } }, forwarded), [
    ["--include-uid", without],
    ["--exclude-uid", without],
  ]);
  assertEquals(found({ gids: { include: [range(1)], exclude: [] } }, forwarded), [[
    "--include-gid",
    without,
  ]]);
  assertEquals(found({ cgroups: { include: ["a"], exclude: [] } }, forwarded), [[
    "--include-cgroup",
    without,
  ]]);
  assertEquals(found({ outgoing: { include: [], exclude: ["wg0"] } }, forwarded), [[
    "--exclude-to",
    without,
  ]]);
  assertEquals(found({ macs: { include: [], exclude: ["02:00:5e:10:00:01"] } }, own), [
    ["--exclude-mac", "set, and no --from"],
  ]);
  assertEquals(found({ tcpPorts: { include: [range(80)], exclude: [] } }, { ...own, tcp: "off" }), [
    ["--tcp-ports", "set, and --tcp off"],
  ]);
});

Deno.test("fitsInterfacePattern: stars for any characters or none; never lo unless named", () => {
  const cases: [string, string, boolean][] = [
    ["eth1", "eth1", true],
    ["eth1", "eth10", false],
    ["eth*", "eth", true],
    ["eth*", "eth10", true],
    ["eth*", "weth1", false],
    ["*", "eth0", true],
    ["*", "lo", false],
    ["l*", "lo", false],
    ["lo", "lo", true],
    ["*.100", "eth0.100", true],
    ["*.100", "eth0.1000", false],
    ["br-*-*x", "br-a-bx", true],
    ["br-*-*x", "br--x", true],
    ["br-*-*x", "br-x", false],
    // The head and the tail may not share characters.
    ["aba*aba", "ababa", false],
    ["a*a", "a", false],
    ["**", "eth0", true],
  ];
  for (const [pattern, name, wanted] of cases) {
    assertEquals(fitsInterfacePattern(pattern, name), wanted, `${name} as ${pattern}`);
  }
});
