/**
 * A plan with every kind of match and verdict there is, each where the kernel has it: for backends to load and read
 * back. It intercepts nothing sensible.
 *
 * @module
 */
import type { BaseChain, Chain, Match, Plan, Rule, Verdict } from "../../nft/plan.ts";
import { intentWith } from "../fixtures/intents.ts";

const PASS: Verdict = { kind: "pass" };

/** Those that can be asked of a packet that comes in. */
const INCOMING: readonly Match[] = [
  { kind: "family", family: 4 },
  { kind: "family", family: 6 },
  { kind: "protocol", protocol: "tcp" },
  { kind: "protocol", protocol: "udp" },
  { kind: "protocol", protocol: "tcpOrUdp" },
  { kind: "protocol", protocol: "icmp" },
  { kind: "tcpFirst" },
  {
    kind: "ports",
    protocol: "tcp",
    side: "destination",
    ports: [{ first: 1, last: 1 }, { first: 5, last: 9 }],
  },
  { kind: "ports", protocol: "udp", side: "source", ports: [{ first: 65_535, last: 65_535 }] },
  { kind: "dontFragment" },
  { kind: "destinationHere" },
  { kind: "address", side: "destination", family: 4, prefix: "0.0.0.0/0" },
  { kind: "address", side: "source", family: 4, prefix: "192.0.2.7/32" },
  { kind: "address", side: "destination", family: 6, prefix: "::ffff:0:0/96" },
  { kind: "address", side: "source", family: 6, prefix: "2001:db8::/33" },
  { kind: "addressSet", side: "destination", set: "dst_4" },
  { kind: "addressSet", side: "source", set: "dst_6" },
  { kind: "incoming", interface: "lan0" },
  { kind: "mac", address: "02:00:5e:10:00:01" },
  { kind: "mark", of: "packet", value: 0x01000000, negate: true },
  { kind: "mark", of: "flow", value: 0x01000000, negate: false },
  { kind: "mark", of: "socket", value: 0x02000000, negate: false },
  { kind: "packetMark", match: { value: 0x1200, mask: 0xff00 } },
  { kind: "packetMark", match: { value: 0x80000000, mask: 0xffffffff } },
  { kind: "foreignMark" },
  { kind: "socket", property: "transparent" },
  { kind: "socket", property: "any" },
  { kind: "flowOriginal" },
  { kind: "flowReply" },
  { kind: "flowSeen" },
  { kind: "flowNew" },
  { kind: "flowRedirected" },
  { kind: "flowInvalid" },
];

const OUTGOING: readonly Match[] = [
  { kind: "outgoing", interface: "wan0" },
  { kind: "owner", of: "uid", ids: { first: 1000, last: 1000 } },
  { kind: "owner", of: "uid", ids: { first: 0, last: 4_294_967_294 } },
  { kind: "owner", of: "gid", ids: { first: 1000, last: 2000 } },
];

const TCP: Match = { kind: "protocol", protocol: "tcp" };
const UDP: Match = { kind: "protocol", protocol: "udp" };

/** With matches that say of which family a packet is, since that is written differently. */
const INTERCEPTING: readonly [Match[], Verdict][] = [
  [[TCP], { kind: "drop" }],
  [[TCP], { kind: "tproxy", port: 7870, remember: false }],
  [[TCP, { kind: "addressSet", side: "destination", set: "dst_6" }], {
    kind: "tproxy",
    port: 7870,
    remember: true,
  }],
  [[TCP, { kind: "address", side: "source", family: 4, prefix: "192.0.2.0/24" }], {
    kind: "tproxy",
    port: 7870,
    remember: false,
  }],
  [[TCP, { kind: "socket", property: "transparent" }], { kind: "tproxy", port: 7870, remember: false }],
  [[UDP, { kind: "dontFragment" }], { kind: "tproxyDatagram", port: 7870, whole: 4 }],
  [[UDP, { kind: "family", family: 6 }], { kind: "tproxyDatagram", port: 7870, whole: 6 }],
  [[UDP], { kind: "tproxyDatagram", port: 7870, whole: null }],
  [[TCP], { kind: "intercept", remember: true, fromHere: true }],
  [[TCP], { kind: "intercept", remember: false, fromHere: false }],
  [[UDP], { kind: "spread", family: 4, chains: ["last", "last"] }],
  [[UDP], { kind: "spread", family: 6, chains: ["last", "last"] }],
  [[], { kind: "goto", chain: "last" }],
];

/** The plan; `cgroup`: with that match too, which needs the cgroup to exist. */
export function everyRulePlan(cgroup?: string): Plan {
  const owners: Match[] = cgroup === undefined ? [] : [{ kind: "cgroup", path: cgroup }];
  const chains: Chain[] = [
    base("raw_in", "filter", "prerouting", "raw", [
      rule(0, [UDP], { kind: "untrack" }),
      rule(1, [TCP], {
        kind: "zone",
        zone: 7873,
      }),
    ]),
    {
      ...base("mangle_in", "filter", "prerouting", "mangle", [
        ...INCOMING.map((match, i) => rule(i, [match], PASS)),
        ...INTERCEPTING.map(([matches, verdict], i) => rule(100 + i, matches, verdict)),
      ]),
      interfaces: ["lan0", "wan0"],
    },
    {
      ...base("nat_in", "nat", "prerouting", "dstnat", [rule(0, [TCP], { kind: "redirect", port: 7870 })]),
      interfaces: ["lan0"],
    },
    base("filter_in", "filter", "input", "filter", [rule(0, [{ kind: "flowRedirected" }], { kind: "drop" })]),
    base("mangle_out", "route", "output", "mangle", [
      ...[...OUTGOING, ...owners].map((match, i) => rule(i, [match], PASS)),
      { ...rule(100, [TCP], { kind: "intercept", remember: true, fromHere: true }), during: "intercept" },
    ]),
    base("nat_out", "nat", "output", "dstnat", [rule(0, [TCP], { kind: "redirect", port: 7870 })]),
    { name: "last", hook: "none", why: "Where others lead.", rules: [rule(0, [], PASS)] },
  ];
  return {
    intent: intentWith({ from: ["lan0"] }),
    chains,
    sets: [
      {
        name: "dst_4",
        family: 4,
        // Adjacent, but no prefix holds both; the ends of the address space; one address.
        prefixes: ["0.0.0.0/8", "192.0.2.0/24", "192.0.3.0/25", "198.51.100.1/32", "255.255.255.255/32"],
        why: "Prefixes.",
      },
      {
        name: "dst_6",
        family: 6,
        prefixes: ["::/8", "2001:db8::/32", "2001:db9::1/128", "ff00::/8"],
        why: "Prefixes.",
      },
    ],
    ipRules: [],
    routes: [],
    sysctls: [],
  };
}

function base(
  name: string,
  type: BaseChain["type"],
  hook: BaseChain["hook"],
  priority: BaseChain["priority"],
  rules: Rule[],
): BaseChain {
  return { name, type, hook, priority, interfaces: "any", why: `At ${hook}.`, rules };
}

function rule(number: number, matches: readonly Match[], verdict: Verdict): Rule {
  const why = [...matches.map(({ kind }) => kind), verdict.kind].join(" ");
  return { id: `r${number}`, during: "always", matches, verdict, why };
}
