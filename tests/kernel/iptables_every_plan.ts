/**
 * A plan that makes no sense and holds every kind of match and verdict, each at a place where the kernel has it.
 *
 * @module
 */
import type { BaseChain, Chain, Match, Plan, Rule } from "../../nft/plan.ts";
import { labIntent, prefixes, rule } from "./iptables_lab.ts";

const PASS = { kind: "pass" } as const;
const ports = (count: number, width: number) =>
  Array.from({ length: count }, (_, i) => ({ first: 1000 + 10 * i, last: 1000 + 10 * i + width }));

/** Matches that hold anywhere. */
const ANYWHERE: Readonly<Record<string, readonly Match[]>> = {
  "any": [],
  "v4": [{ kind: "family", family: 4 }],
  "v6": [{ kind: "family", family: 6 }],
  "tcp": [{ kind: "protocol", protocol: "tcp" }],
  "udp": [{ kind: "protocol", protocol: "udp" }],
  "both": [{ kind: "protocol", protocol: "tcpOrUdp" }],
  "icmp": [{ kind: "protocol", protocol: "icmp" }],
  "syn": [{ kind: "tcpFirst" }],
  "syn-ports": [{ kind: "tcpFirst" }, {
    kind: "ports",
    protocol: "tcp",
    side: "destination",
    ports: ports(3, 0),
  }],
  "ports": [{ kind: "ports", protocol: "udp", side: "destination", ports: ports(40, 0) }],
  "ranges": [{ kind: "ports", protocol: "tcp", side: "source", ports: ports(9, 5) }],
  "df": [{ kind: "dontFragment" }],
  "here": [{ kind: "destinationHere" }],
  "to-4": [{ kind: "address", side: "destination", family: 4, prefix: "192.0.2.0/24" }],
  "from-6": [{ kind: "address", side: "source", family: 6, prefix: "2001:db8:1::/48" }],
  "all-4": [{ kind: "address", side: "source", family: 4, prefix: "0.0.0.0/0" }],
  "short": [{ kind: "addressSet", side: "source", set: "src_no_4_00000000aaaa" }],
  "long": [{ kind: "addressSet", side: "destination", set: "dst_no_4_00000000bbbb" }],
  "long-6": [{ kind: "addressSet", side: "source", set: "src_no_6_00000000cccc" }],
  "mark": [{ kind: "mark", of: "packet", value: 0x01000000, negate: false }],
  "no-mark": [{ kind: "mark", of: "packet", value: 0x01000000, negate: true }],
  "their-mark": [{ kind: "packetMark", match: { value: 0x8000, mask: 0xc000 } }],
  "foreign": [{ kind: "foreignMark" }],
};

/** Matches that need conntrack to have looked. */
const TRACKED: Readonly<Record<string, readonly Match[]>> = {
  "flow-mark": [{ kind: "mark", of: "flow", value: 0x01000000, negate: false }],
  "no-flow-mark": [{ kind: "mark", of: "flow", value: 0x01000000, negate: true }],
  "original": [{ kind: "flowOriginal" }, { kind: "flowNew" }],
  "reply": [{ kind: "flowReply" }, { kind: "flowSeen" }],
  "redirected": [{ kind: "flowRedirected" }],
  "invalid": [{ kind: "flowInvalid" }],
};

/** Matches on what came in, and whom it is for. */
const INCOMING: Readonly<Record<string, readonly Match[]>> = {
  "by": [{ kind: "incoming", interface: "lan0" }],
  "mac": [{ kind: "mac", address: "02:00:5e:10:00:01" }],
  "socket": [{ kind: "socket", property: "transparent" }],
  "any-socket": [{ kind: "socket", property: "any" }],
  "socket-mark": [
    { kind: "protocol", protocol: "tcpOrUdp" },
    { kind: "socket", property: "transparent" },
    { kind: "mark", of: "socket", value: 0x02000000, negate: false },
  ],
};

/** Matches on what is sent, and by whom. Only user and group 0 exist in the lab, and no cgroup for certain but the root. */
const OUTGOING: Readonly<Record<string, readonly Match[]>> = {
  "leaves": [{ kind: "outgoing", interface: "wan0" }],
  "uid": [{ kind: "owner", of: "uid", ids: { first: 0, last: 0 } }],
  "cgroup": [{ kind: "cgroup", path: "/" }],
  "gid": [{ kind: "owner", of: "gid", ids: { first: 0, last: 0 } }],
};

function passes(groups: readonly Readonly<Record<string, readonly Match[]>>[]): Rule[] {
  return groups.flatMap((group) => Object.entries(group).map(([id, matches]) => rule(id, matches, PASS)));
}

function base(name: string, place: Pick<BaseChain, "type" | "hook" | "priority">, rules: Rule[]): BaseChain {
  return { name, ...place, interfaces: "any", why: "For a test.", rules };
}

/** The plan. */
export function everyPlan(): Plan {
  const tcp: Match = { kind: "protocol", protocol: "tcp" };
  const udp: Match = { kind: "protocol", protocol: "udp" };
  const socketMark: Match = { kind: "mark", of: "socket", value: 0x02000000, negate: false };
  const workers = ["worker_0", "worker_1", "worker_2"];
  const chains: Chain[] = [
    base("raw_in", { type: "filter", hook: "prerouting", priority: "raw" }, [
      rule("zone", [tcp, socketMark], { kind: "zone", zone: 7873 }),
      ...passes([ANYWHERE, INCOMING]),
    ]),
    base("raw_out", { type: "filter", hook: "output", priority: "raw" }, [
      rule("zone", [tcp], { kind: "zone", zone: 7874 }),
      rule("untrack", [udp], { kind: "untrack" }),
      ...passes([ANYWHERE, OUTGOING]),
    ]),
    {
      ...base("mangle_in", { type: "filter", hook: "prerouting", priority: "mangle" }, [
        ...passes([ANYWHERE, TRACKED, INCOMING]),
        rule("take", [tcp], { kind: "tproxy", port: 7870, remember: false }),
        rule("take-any", [], { kind: "tproxy", port: 7870, remember: false }),
        rule("take-remember", [{ kind: "tcpFirst" }], { kind: "tproxy", port: 7870, remember: true }),
        rule("datagram", [udp], { kind: "tproxyDatagram", port: 7871, whole: null }),
        rule("datagram-4", [udp, { kind: "dontFragment" }], { kind: "tproxyDatagram", port: 7871, whole: 4 }),
        rule("datagram-6", [udp], { kind: "tproxyDatagram", port: 7871, whole: 6 }),
        rule("drop", [tcp], { kind: "drop" }),
        rule("spread-4", [udp], { kind: "spread", family: 4, chains: workers }),
        rule("spread-6", [udp], { kind: "spread", family: 6, chains: workers }),
      ]),
      interfaces: ["lan0", "wan0"],
    },
    base("mangle_out", { type: "route", hook: "output", priority: "mangle" }, [
      ...passes([ANYWHERE, TRACKED, OUTGOING]),
      rule("intercept", [tcp], { kind: "intercept", remember: false, fromHere: false }),
      rule("intercept-r", [tcp], { kind: "intercept", remember: true, fromHere: false }),
      rule("intercept-h", [tcp], { kind: "intercept", remember: false, fromHere: true }),
      rule("intercept-rh", [tcp], { kind: "intercept", remember: true, fromHere: true }),
    ]),
    base("nat_in", { type: "nat", hook: "prerouting", priority: "dstnat" }, [
      ...passes([ANYWHERE, TRACKED, INCOMING]),
      rule("redirect", [tcp], { kind: "redirect", port: 7870 }),
      rule("redirect-any", [], { kind: "redirect", port: 7870 }),
    ]),
    base("nat_out", { type: "nat", hook: "output", priority: "dstnat" }, [
      ...passes([ANYWHERE, TRACKED, OUTGOING]),
      rule("onward", [udp], { kind: "goto", chain: "inner" }),
    ]),
    base("filter_in", { type: "filter", hook: "input", priority: "filter" }, [
      ...passes([ANYWHERE, TRACKED, INCOMING]),
      rule("drop", [tcp, { kind: "flowRedirected" }], { kind: "drop" }),
    ]),
    {
      name: "inner",
      hook: "none",
      why: "For a test.",
      rules: [rule("redirect", [udp], { kind: "redirect", port: 7870 })],
    },
    ...workers.map((name): Chain => ({
      name,
      hook: "none",
      why: "For a test.",
      rules: [rule("counted", [], PASS)],
    })),
  ];
  const set = (name: string, family: 4 | 6, count: number) => ({
    name,
    family,
    prefixes: prefixes(count, family),
    why: "For a test.",
  });
  return {
    intent: labIntent(),
    chains,
    sets: [
      set("src_no_4_00000000aaaa", 4, 5),
      set("dst_no_4_00000000bbbb", 4, 100),
      set("src_no_6_00000000cccc", 6, 100),
    ],
    ipRules: [],
    routes: [],
    sysctls: [],
  };
}
