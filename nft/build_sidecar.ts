/**
 * One pod: connections to it go to the inbound listener, those of its programs to the outbound one, its DNS to a
 * listener of ours.
 *
 * What must not be taken is told by its mark where the proxy may mark its sockets (`bypass`, and `reply` on the
 * outbound side), else by the user or group it runs as. A connection of the outbound side that leads back to the pod,
 * as when a program calls its own service's address, is one to the pod and goes to the inbound listener. That
 * listener's own connections to the pod's programs must not: they carry `bypass`, or PASSTHROUGH_SOURCE.
 *
 * @module
 */
import { closedChain, redirectRules, redirectTake } from "./build_redirect.ts";
import { selection } from "./build_selectors.ts";
import type { SetCollection } from "./build_sets.ts";
import { tproxyFollow, tproxyTake } from "./build_tproxy.ts";
import { type InterceptIntent, PASSTHROUGH_SOURCE, type SidecarIntent } from "./intent.ts";
import {
  always,
  first,
  incoming,
  LOOPBACK,
  meantHere,
  outgoing,
  packetMark,
  protocol,
  spared,
  toPorts,
} from "./matches.ts";
import { dnsChains, dnsRedirects, leftAlone, proxyOwners } from "./build_sidecar_dns.ts";
import type { BaseChain, Chain, InnerChain, Match, Rule, Sysctl } from "./plan.ts";

const IN_NEW = "side_in_new";
const IN_PORT = "side_in_port";
const IN_TAKE = "side_in_take";
const SELF = "side_self";

/** All chains of a pod. */
export function sidecarChains(intent: InterceptIntent, sidecar: SidecarIntent, sets: SetCollection): Chain[] {
  const { inbound, dns, virtualInterfaces } = sidecar;
  const virtual = virtualInterfaces.length > 0 && intent.tcp === "redirect";
  const base: Chain[] = [
    ...(sidecar.dropInvalid ? [validChain(sidecar)] : []),
    ...(dns === null ? [] : dnsChains(intent, sidecar, dns)),
    ...(inbound === "tproxy" ? [inboundTproxy(intent, sidecar), outboundOfTproxy(intent, sidecar)] : []),
    ...(inbound === "redirect" || virtual ? [inboundRedirect(sidecar, virtual)] : []),
    outboundChain(intent, sidecar),
  ];
  const inner: InnerChain[] = [
    ...(inbound === "off" ? [] : inboundChains(intent, sidecar)),
    ...(virtual ? outboundSelection(intent, sidecar, sets, "virt") : []),
    ...(intent.tcp === "redirect" ? outboundSelection(intent, sidecar, sets, "tcp_out") : []),
  ];
  return [...base, ...inner, ...(intent.onProxyDown === "closed" ? closedChains(intent, sidecar) : [])];
}

/** The kernel settings that a pod's rules need. */
export function sidecarSysctls(intent: InterceptIntent, sidecar: SidecarIntent): Sysctl[] {
  if (!keeps(intent, sidecar)) return [];
  return [{
    key: "net/ipv4/tcp_fwmark_accept",
    value: "1",
    why:
      "a program's answers to connections in a client's name carry the mark by which they are brought to us",
  }];
}

function keeps({ source }: InterceptIntent, { inbound }: SidecarIntent): boolean {
  return source === "keep" && inbound === "tproxy";
}

function validChain(sidecar: SidecarIntent): BaseChain {
  return {
    name: "side_valid",
    type: "filter",
    hook: "prerouting",
    priority: "mangle",
    interfaces: "any",
    why: "Packets that conntrack cannot place.",
    rules: [
      ...leftAlone(sidecar, incoming),
      always("invalid", [{ kind: "flowInvalid" }], { kind: "drop" }, "translated late or not at all"),
    ],
  };
}

function inboundTproxy(intent: InterceptIntent, sidecar: SidecarIntent): BaseChain {
  return {
    name: "side_in",
    type: "filter",
    hook: "prerouting",
    priority: "mangle",
    interfaces: "any",
    why: "Connections to this pod.",
    rules: [
      always(
        "loopback",
        [incoming(LOOPBACK), { kind: "mark", of: "packet", value: intent.marks.intercept, negate: true }],
        { kind: "pass" },
        "on lo only what our output chain sent there is ours",
      ),
      ...leftAlone(sidecar, incoming),
      ...sidecar.virtualInterfaces.map((name) =>
        always(
          `virtual-${name}`,
          [incoming(name)],
          { kind: "pass" },
          "what comes in by it is outbound traffic",
        )
      ),
      first(
        "own",
        [incoming(LOOPBACK), { kind: "tcpFirst" }],
        { kind: "goto", chain: IN_TAKE },
        "led back to this pod: our output chain has decided",
      ),
      first("new", [{ kind: "tcpFirst" }], { kind: "goto", chain: IN_NEW }, "a new connection"),
      ...tproxyFollow(intent),
    ],
  };
}

/** What has to reach the inbound listener over lo: packets that this pod sends itself meet no other hook of TPROXY. */
function outboundOfTproxy(intent: InterceptIntent, sidecar: SidecarIntent): BaseChain {
  const { marks } = intent;
  const toUs = { kind: "intercept", remember: false, fromHere: true } as const;
  return {
    name: "side_out",
    type: "route",
    hook: "output",
    priority: "mangle",
    interfaces: "any",
    why: "What this pod sends to itself: marked, it is routed to lo and comes in again there.",
    rules: [
      ...(keeps(intent, sidecar)
        ? [always(
          "answer",
          [protocol("tcp"), packetMark(marks.bypass), { kind: "flowReply" }],
          toUs,
          "a program's answer to our socket, which asked in the client's name",
        )]
        : []),
      always(
        "bypass",
        [packetMark(marks.bypass)],
        { kind: "pass" },
        "sent by our own sockets; taking it would be a loop",
      ),
      ...selfCalls(intent, sidecar),
      always(
        "follow",
        [protocol("tcp"), outgoing(LOOPBACK), { kind: "flowOriginal" }, {
          kind: "mark",
          of: "flow",
          value: marks.intercept,
          negate: false,
        }],
        toUs,
        "later packets of a connection that led back",
      ),
    ],
  };
}

function inboundRedirect(sidecar: SidecarIntent, virtual: boolean): BaseChain {
  const [, open] = redirectRules(IN_NEW);
  return {
    name: "side_nat_in",
    type: "nat",
    hook: "prerouting",
    priority: "dstnat",
    interfaces: "any",
    why: "Connections to this pod.",
    rules: [
      first(
        "loopback",
        [incoming(LOOPBACK)],
        { kind: "pass" },
        "what this pod sends itself was looked at as it left",
      ),
      ...leftAlone(sidecar, incoming),
      ...(virtual
        ? sidecar.virtualInterfaces.map((name, i) =>
          first(
            `virtual-${i + 1}`,
            [incoming(name), { kind: "tcpFirst" }],
            { kind: "goto", chain: "virt_new" },
            "of a virtual machine in the pod: outbound traffic",
          )
        )
        : []),
      ...(sidecar.inbound === "redirect"
        ? [first("new", [{ kind: "tcpFirst" }], { kind: "goto", chain: IN_NEW }, "a new connection")]
        : []),
      open!,
    ],
  };
}

function inboundChains(intent: InterceptIntent, sidecar: SidecarIntent): InnerChain[] {
  const { include, exclude } = sidecar.inboundPorts;
  const take = { kind: "goto", chain: IN_TAKE } as const;
  const redirects = sidecar.inbound === "redirect";
  return [
    ...selfChain(intent, sidecar),
    {
      name: IN_NEW,
      hook: "none",
      why: "First packets to this pod.",
      rules: [
        first("here", [{ kind: "destinationHere" }], { kind: "goto", chain: IN_PORT }, "to this pod itself"),
      ],
    },
    {
      name: IN_PORT,
      hook: "none",
      why: "First packets to this pod: by their port.",
      rules: [
        spared("ours", [toPorts("tcp", ownPorts(intent, sidecar))], "to our own listeners"),
        ...(exclude.length === 0 ? [] : [spared("not-port", [toPorts("tcp", exclude)], "excluded port")]),
        include.length === 0
          ? first("any", [protocol("tcp")], take, "every other port")
          : first("port", [toPorts("tcp", include)], take, "included port"),
      ],
    },
    {
      name: IN_TAKE,
      hook: "none",
      why: "First packets to the inbound listener.",
      rules: redirects ? [redirectTake(sidecar.inboundPort)] : tproxyTake(intent, sidecar.inboundPort),
    },
  ];
}

/** What our outbound side sends to an address of this pod. */
function selfCalls(intent: InterceptIntent, sidecar: SidecarIntent): Rule[] {
  if (sidecar.inbound === "off") return [];
  const back = { kind: "goto", chain: SELF } as const;
  const toHere: Match[] = [outgoing(LOOPBACK), { kind: "tcpFirst" }];
  const why = "our outbound side was led back to this pod";
  return [
    first("self", [...toHere, packetMark(intent.marks.reply)], back, why),
    ...proxyOwners(sidecar).map((match, i) => first(`self-owner-${i + 1}`, [...toHere, match], back, why)),
  ];
}

function selfChain(intent: InterceptIntent, sidecar: SidecarIntent): InnerChain[] {
  const from = (family: 4 | 6): Match => ({
    kind: "address",
    side: "source",
    family,
    prefix: `${PASSTHROUGH_SOURCE[family]}/${family === 4 ? 32 : 128}`,
  });
  const to = (family: 4 | 6, prefix: string): Match => ({
    kind: "address",
    side: "destination",
    family,
    prefix,
  });
  const inboundLeg = "our inbound side's own connection to a program";
  const loopback = "programs talk among themselves";
  const rules = [
    spared("bypass", [packetMark(intent.marks.bypass)], inboundLeg),
    spared("passed-4", [from(4)], inboundLeg),
    spared("passed-6", [from(6)], inboundLeg),
    spared("loopback-4", [to(4, "127.0.0.0/8")], loopback),
    spared("loopback-6", [to(6, "::1/128")], loopback),
  ];
  // By NAT the listener is one rewritten address away; over TPROXY it is reached through lo.
  const onward: Rule = sidecar.inbound === "redirect"
    ? first(
      "back",
      [protocol("tcp")],
      { kind: "goto", chain: IN_PORT },
      "a connection to this pod like any other",
    )
    : first(
      "back",
      [protocol("tcp")],
      { kind: "intercept", remember: true, fromHere: true },
      "a connection to this pod like any other",
    );
  return [{
    name: SELF,
    hook: "none",
    why: "Our outbound side, led back to this pod.",
    rules: [...rules, onward],
  }];
}

function outboundChain(intent: InterceptIntent, sidecar: SidecarIntent): BaseChain {
  const { marks, tcp } = intent;
  const pass = { kind: "pass" } as const;
  return {
    name: "side_nat_out",
    type: "nat",
    hook: "output",
    priority: "dstnat",
    interfaces: "any",
    why: "What this pod's programs send.",
    rules: [
      ...(sidecar.inbound === "redirect" ? selfCalls(intent, sidecar) : []),
      first("bypass", [packetMark(marks.bypass)], pass, "sent by our own sockets; taking it would be a loop"),
      first("reply", [packetMark(marks.reply)], pass, "ours too: the outbound side, or an answer"),
      ...proxyOwners(sidecar).map((match, i) => first(`proxy-${i + 1}`, [match], pass, "sent by the proxy")),
      ...leftAlone(sidecar, outgoing),
      ...(sidecar.dns === null ? [] : dnsRedirects(sidecar.dns)),
      first("loopback", [outgoing(LOOPBACK)], pass, "programs talk among themselves"),
      ...redirectRules("tcp_out_new").filter(({ id }) => tcp === "redirect" || id !== "new"),
    ],
  };
}

function outboundSelection(
  intent: InterceptIntent,
  sidecar: SidecarIntent,
  sets: SetCollection,
  name: "tcp_out" | "virt",
): InnerChain[] {
  return selection({
    name,
    intent,
    sets,
    way: name === "virt" ? "in" : "out",
    protocol: "tcp",
    spared: meantHere(),
    ports: sidecar.outboundPorts,
    take: [redirectTake(intent.port)],
  }).chains;
}

function ownPorts(intent: InterceptIntent, sidecar: SidecarIntent): { first: number; last: number }[] {
  const { inboundPort, dns } = sidecar;
  const ports = [intent.port, inboundPort, ...(dns === null ? [] : [dns.port])];
  return [...new Set(ports)].sort((a, b) => a - b).map((port) => ({ first: port, last: port }));
}

function closedChains(intent: InterceptIntent, sidecar: SidecarIntent): BaseChain[] {
  const dns = sidecar.dns === null ? [] : [sidecar.dns.port];
  const tcp = [
    ...(intent.tcp === "redirect" ? [intent.port] : []),
    ...(sidecar.inbound === "redirect" ? [sidecar.inboundPort] : []),
    ...dns,
  ];
  return tcp.length === 0 ? [] : [closedChain({ tcp, udp: dns })];
}
