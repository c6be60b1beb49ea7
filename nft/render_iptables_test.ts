import { assert, assertEquals, assertNotEquals } from "../tests/assert.ts";
import { intentWith } from "../tests/fixtures/intents.ts";
import { formatCommands, iptablesCommands } from "./iptables_commands.ts";
import { iptablesLimits, setOption } from "./iptables_limits.ts";
import { ownRules, parseSave } from "./iptables_listing.ts";
import { renderMatches } from "./iptables_matches.ts";
import { renderRestore, type RestoreTable } from "./iptables_restore.ts";
import type { AddressSet, BaseChain, Chain, Match, Plan, Rule, Verdict } from "./plan.ts";
import { renderIptables } from "./render_iptables.ts";
import { isOwnIpset, parseIpsetCounts, renderIpset } from "./render_ipset.ts";

const INTENT = intentWith({ udp: "tproxy", from: ["lan0"] });

const PASS = { kind: "pass" } as const;
const TCP = { kind: "protocol", protocol: "tcp" } as const;

function rule(
  id: string,
  matches: readonly Match[],
  verdict: Verdict,
  during: Rule["during"] = "always",
): Rule {
  return { id, during, matches, verdict, why: "why" };
}

function planOf(chains: readonly Chain[], sets: readonly AddressSet[] = [], tableName = "pellucid"): Plan {
  return { intent: { ...INTENT, tableName }, chains, sets, ipRules: [], routes: [], sysctls: [] };
}

const MANGLE: Omit<BaseChain, "rules"> = {
  name: "in",
  type: "filter",
  hook: "prerouting",
  priority: "mangle",
  interfaces: ["lan0", "br-lan"],
  why: "Traffic.",
};

const LIFE = { by: "12/34", sysctls: [] };

Deno.test("renderIptables: chains, jumps, and verdicts that end a packet's way by a chain of their own", () => {
  const plan = planOf([
    {
      ...MANGLE,
      rules: [
        rule("here", [{ kind: "destinationHere" }], PASS),
        rule("new", [{ kind: "tcpFirst" }], { kind: "goto", chain: "take" }, "intercept"),
        rule("follow", [TCP, { kind: "socket", property: "transparent" }], {
          kind: "intercept",
          remember: false,
          fromHere: false,
        }),
      ],
    },
    {
      name: "nat",
      type: "nat",
      hook: "output",
      priority: "dstnat",
      interfaces: "any",
      why: "Own.",
      rules: [rule("to", [TCP], { kind: "redirect", port: 7870 })],
    },
    {
      name: "take",
      hook: "none",
      why: "Takes.",
      rules: [rule("take", [TCP], { kind: "tproxy", port: 7870, remember: false })],
    },
  ]);
  const text = renderRestore([], renderIptables(plan, "intercept", 4, LIFE));
  const [state] = /pellucid: intercept [0-9a-f]{16} by 12\/34/.exec(text)!;
  assertEquals(
    text,
    `*mangle
:pellucid_in - [0:0]
:pellucid_in_i - [0:0]
:pellucid_take - [0:0]
:pellucid_TAKE - [0:0]
-I PREROUTING 1 -m comment --comment "${state}" -j pellucid_in
# pellucid_in: Traffic. Only what comes in by these interfaces.
-A pellucid_in -i lan0 -m comment --comment "scope: what comes in by lan0" -g pellucid_in_i
-A pellucid_in -i br-lan -m comment --comment "scope: what comes in by br-lan" -g pellucid_in_i
# pellucid_in_i: Traffic.
-A pellucid_in_i -m addrtype --dst-type LOCAL,BROADCAST,ANYCAST,MULTICAST -m comment --comment "here: why" -j RETURN
-A pellucid_in_i -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m comment --comment "new: why" -g pellucid_take
-A pellucid_in_i -p tcp -m socket --transparent -m comment --comment "follow: why" -g pellucid_TAKE
# pellucid_take: Takes.
-A pellucid_take -p tcp -m comment --comment "take: why" -j TPROXY --on-port 7870 --tproxy-mark 0x1000000/0x3000000
# pellucid_TAKE: Routes to our listener.
-A pellucid_TAKE -m comment --comment "mark: routed to our listener" -j MARK --set-xmark 0x1000000/0x3000000
COMMIT
*nat
:pellucid_nat - [0:0]
-I OUTPUT 1 -m comment --comment "${state}" -j pellucid_nat
# pellucid_nat: Own.
-A pellucid_nat -p tcp -m comment --comment "to: why" -j REDIRECT --to-ports 7870
COMMIT
`,
  );
  const drain = renderRestore([], renderIptables(plan, "drain", 4, LIFE));
  assert(!drain.includes("new: why") && !drain.includes("pellucid_take"), drain);
  assert(drain.includes("pellucid: drain "), drain);
});

Deno.test("renderIptables: the hash changes with the rules alone", () => {
  const hash = (plan: Plan, by: string | null = null) =>
    /intercept ([0-9a-f]{16})/.exec(
      renderRestore([], renderIptables(plan, "intercept", 4, { by, sysctls: [] })),
    )![1];
  const plan = (id: string) => planOf([{ ...MANGLE, rules: [rule(id, [TCP], PASS)] }]);
  assertEquals(hash(plan("a")), hash(plan("a"), "1/2"));
  assertNotEquals(hash(plan("a")), hash(plan("b")));
});

Deno.test("renderIptables: base chains at one place are met in the plan's order", () => {
  const plan = planOf(["a", "b"].map((name) => ({ ...MANGLE, name, rules: [rule("r", [TCP], PASS)] })));
  const text = renderRestore([], renderIptables(plan, "intercept", 6, LIFE));
  // Each is put first, so the last one is.
  assertEquals([...text.matchAll(/-I PREROUTING 1 .* -j (\S+)/g)].map(([, to]) => to), [
    "pellucid_b",
    "pellucid_a",
  ]);
});

function words(matches: readonly Match[], family: 4 | 6 = 4, sets: readonly AddressSet[] = []): string[] {
  const context = { family, marks: INTENT.marks, tableName: "pellucid" };
  return renderMatches(matches, { ...context, sets: new Map(sets.map((set) => [set.name, set])) }, undefined);
}

Deno.test("renderMatches: several rules where iptables has no `or`", () => {
  const ports = Array.from(
    { length: 16 },
    (_, i) => ({ first: 10 * i + 1, last: 10 * i + (i % 2 === 0 ? 1 : 2) }),
  );
  const found = words([{ kind: "ports", protocol: "udp", side: "source", ports }]);
  assertEquals(found.length, 2);
  for (const rule of found) {
    const list = /^-p udp -m multiport --sports (\S+)$/.exec(rule)![1]!;
    assert(list.split(/[,:]/).length <= 15, list);
  }
  assertEquals(found.join(",").match(/\d+(:\d+)?/g)!.length, 16);
  assertEquals(words([{ kind: "protocol", protocol: "tcpOrUdp" }, { kind: "flowNew" }]), [
    "-p tcp -m conntrack --ctstate NEW",
    "-p udp -m conntrack --ctstate NEW",
  ]);
  assertEquals(words([{ kind: "destinationHere" }], 6).length, 2);
});

Deno.test("renderMatches: what cannot hold in a family, or at all, is no rule", () => {
  assertEquals(words([{ kind: "dontFragment" }], 6), []);
  assertEquals(words([{ kind: "family", family: 6 }], 4), []);
  assertEquals(words([TCP, { kind: "protocol", protocol: "icmp" }]), []);
  assertEquals(words([{ kind: "incoming", interface: "a" }, { kind: "incoming", interface: "b" }]), []);
  assertEquals(words([]), [""]);
});

Deno.test("renderMatches: two prefixes of one side become what they share", () => {
  const to = (prefix: string): Match => ({ kind: "address", side: "destination", family: 4, prefix });
  assertEquals(words([to("192.0.2.0/24"), to("192.0.2.128/25")]), ["-d 192.0.2.128/25"]);
  assertEquals(words([to("192.0.2.0/24"), to("198.51.100.0/24")]), []);
  const set = {
    name: "dst_in_4_0",
    family: 4,
    prefixes: ["192.0.2.0/26", "203.0.113.0/24"],
    why: "",
  } as const;
  const inSet: Match = { kind: "addressSet", side: "destination", set: set.name };
  assertEquals(words([inSet, TCP], 4, [set]), ["-d 192.0.2.0/26 -p tcp", "-d 203.0.113.0/24 -p tcp"]);
  assertEquals(words([inSet, to("192.0.2.0/24")], 4, [set]), ["-d 192.0.2.0/26"]);
});

Deno.test("renderMatches: long lists are ipsets, of their family alone", () => {
  const long = { name: "src_no_6_0123456789ab", family: 6, prefixes: many(33), why: "" } as const;
  const inSet: Match = { kind: "addressSet", side: "source", set: long.name };
  assertEquals(words([inSet], 6, [long]), ["-m set --match-set pellucid_src_no_6_0123456789ab src"]);
  assertEquals(words([inSet], 4, [long]), []);
});

Deno.test("renderMatches: what a shell would take apart is quoted", () => {
  assertEquals(words([{ kind: "cgroup", path: 'a b/c\\x2d"' }]), [
    String.raw`-m cgroup --path "a b/c\\x2d\""`,
  ]);
});

Deno.test("renderMatches: a socket's mark is asked once", () => {
  const mark: Match = { kind: "mark", of: "socket", value: 0x02000000, negate: false };
  assertEquals(words([TCP, { kind: "socket", property: "transparent" }, mark]), [
    "-p tcp -m socket --transparent --restore-skmark -m mark --mark 0x2000000/0x3000000",
  ]);
  assertEquals(words([TCP, mark]), [
    "-p tcp -m socket --nowildcard --restore-skmark -m mark --mark 0x2000000/0x3000000",
  ]);
});

function many(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `2001:db8:${(2 * i).toString(16)}::/48`);
}

Deno.test("renderRestore: what is there goes in the transaction that brings what is wanted", () => {
  const before: RestoreTable[] = [{
    table: "mangle",
    chains: [{ name: "pellucid_a", rules: ["-j RETURN"] }, {
      name: "pellucid_b",
      rules: [],
      isReferred: true,
    }],
    jumps: [{ builtin: "PREROUTING", rule: "-j pellucid_a" }],
  }, { table: "nat", chains: [{ name: "pellucid_n", rules: [] }], jumps: [] }];
  const wanted: RestoreTable[] = [{
    table: "mangle",
    chains: [{ name: "pellucid_c", rules: ["-j DROP"] }],
    jumps: [{ builtin: "OUTPUT", rule: "-j pellucid_c" }],
  }];
  assertEquals(
    renderRestore(before, wanted),
    `*nat
-F pellucid_n
-X pellucid_n
COMMIT
*mangle
:pellucid_c - [0:0]
-D PREROUTING -j pellucid_a
-I OUTPUT 1 -j pellucid_c
-A pellucid_c -j DROP
-F pellucid_a
-F pellucid_b
-X pellucid_a
COMMIT
`,
  );
  assertEquals(renderRestore([], []), "");
});

Deno.test("iptablesLimits: names that do not fit name the option", () => {
  const chains = [{ ...MANGLE, name: "name_of_17_bytes_", rules: [rule("r", [TCP], PASS)] }];
  assertEquals(iptablesLimits(planOf(chains)), []);
  const messages = (tableName: string) =>
    iptablesLimits(planOf(chains, [], tableName)).map(({ message }) => message);
  assertEquals(messages("pellucid9"), [
    'tableName: "pellucid9" found, with iptables and this plan at most 8 characters wanted',
  ]);
  assertEquals(messages("my_table"), [
    'tableName: "my_table" found, with iptables a name of letters, digits and "-" wanted',
  ]);
});

Deno.test("iptablesLimits: what has no place in iptables is said, not rendered", () => {
  const nat: BaseChain = {
    ...MANGLE,
    type: "nat",
    priority: "dstnat",
    rules: [rule("lost", [TCP], { kind: "drop" })],
  };
  assertEquals(iptablesLimits(planOf([nat])).map(({ message }) => message), [
    "in/lost: iptables has no drop in table nat",
  ]);
  const input: BaseChain = { ...MANGLE, hook: "input", priority: "raw", rules: [] };
  assertEquals(iptablesLimits(planOf([input])).map(({ option }) => option), ["in"]);
  assertEquals(setOption("dst_no_4_0123456789ab"), "--exclude-cidr");
});

Deno.test("renderIpset: as many elements as there are, and our own are known by their names", () => {
  const set: AddressSet = { name: "dst_no_6_0123456789ab", family: 6, prefixes: many(3), why: "" };
  assertEquals(
    renderIpset(set, "x"),
    `create x hash:net family inet6 hashsize 1024 maxelem 65536
add x 2001:db8:0::/48
add x 2001:db8:2::/48
add x 2001:db8:4::/48
`,
  );
  const large = { ...set, prefixes: many(100_000) };
  assertEquals(
    renderIpset(large, "x", false),
    "create x hash:net family inet6 hashsize 32768 maxelem 100000\n",
  );
  assert(isOwnIpset("pellucid", "pellucid_dst_no_6_0123456789ab"));
  assert(!isOwnIpset("pellucid", "pellucid_mine") && !isOwnIpset("pellucid", "dst_no_6_0123456789ab"));
  const listing =
    "Name: a\nType: hash:net\nNumber of entries: 12\nMembers:\n\nName: b\nNumber of entries: 0\n";
  assertEquals([...parseIpsetCounts(listing)], [["a", 12], ["b", 0]]);
});

Deno.test("iptablesCommands: sets first, then each family by its own program; nothing for nothing", () => {
  const set: AddressSet = { name: "dst_no_6_0123456789ab", family: 6, prefixes: many(33), why: "" };
  const asks: Match = { kind: "addressSet", side: "destination", set: set.name };
  const plan = planOf([{ ...MANGLE, rules: [rule("a", [asks], PASS)] }], [set]);
  const programs = (name: "iptables" | "iptables-legacy", families: (4 | 6)[]) =>
    iptablesCommands(name, plan, "intercept", families, LIFE).map(({ argv }) => argv[0]);
  assertEquals(programs("iptables", [4, 6]), ["ipset", "iptables-nft-restore", "ip6tables-nft-restore"]);
  assertEquals(programs("iptables-legacy", [4]), ["iptables-legacy-restore"]);
  assertEquals(iptablesCommands("iptables", planOf([]), "intercept", [4, 6], LIFE), []);
  const text = formatCommands(iptablesCommands("iptables", plan, "intercept", [6], LIFE));
  assert(text.startsWith("# ipset restore\ncreate pellucid_dst_no_6_"), text);
  assert(text.includes("\n\n# ip6tables-nft-restore -w 5 --noflush\n*mangle\n"), text);
});

Deno.test("what renders reads back as what it is", () => {
  const plan = planOf([{ ...MANGLE, rules: [rule("a", [TCP], PASS)] }]);
  const wanted = renderIptables(plan, "intercept", 4, LIFE);
  // As iptables-save would have it: jumps are rules like others, and come first.
  const saved = renderRestore([], wanted).replace(/^-I (\S+) 1 /gm, "-A $1 ").replace(
    "*mangle\n",
    "*mangle\n:PREROUTING ACCEPT [0:0]\n",
  );
  const { tables, states, foreign } = ownRules(parseSave(saved), "pellucid");
  assertEquals(
    tables,
    wanted.map(({ chains, ...table }) => ({
      ...table,
      chains: chains.map(({ name, rules }) => ({ name, rules })),
    })),
  );
  assertEquals([states.map(({ by }) => by), foreign], [["12/34"], []]);
});
