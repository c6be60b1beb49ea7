/**
 * TCP over TPROXY: nothing is rewritten, the routing table brings marked packets here. With them the chains that
 * TCP and UDP share, since both are taken at the same place.
 *
 * @module
 */
import { selection } from "./build_selectors.ts";
import type { SetCollection } from "./build_sets.ts";
import { udpRule } from "./build_udp.ts";
import type { InterceptIntent } from "./intent.ts";
import {
  always,
  first,
  flowMark,
  foreign,
  incoming,
  LOOPBACK,
  meantHere,
  protocol,
  sentByUs,
} from "./matches.ts";
import type { BaseChain, Chain, InnerChain, Rule } from "./plan.ts";

const TAKE = "tcp_in_take";

/** The base chains of both protocols, and the inner ones of TCP. */
export function tproxyChains(intent: InterceptIntent, sets: SetCollection): Chain[] {
  const chosen = intent.tcp === "tproxy"
    ? [
      ...selection({
        name: "tcp_in",
        intent,
        sets,
        way: "in",
        protocol: "tcp",
        spared: meantHere(),
        take: tproxyTake(intent, intent.port),
      }).chains,
      ...(intent.local ? ownSelection(intent, sets) : []),
    ]
    : [];
  return [incomingChain(intent), ...(intent.local ? [outgoingChain(intent)] : []), ...chosen];
}

/** What takes a chosen SYN. In a closed plan it is lost without a listener, and its flow is remembered. */
export function tproxyTake(intent: InterceptIntent, port: number): Rule[] {
  const closed = intent.onProxyDown === "closed";
  const take = first(
    "take",
    [protocol("tcp")],
    { kind: "tproxy", port, remember: closed },
    closed ? "to the listener" : "to the listener, or on its way when there is none",
  );
  if (!closed) return [take];
  return [take, first("closed", [protocol("tcp")], { kind: "drop" }, "there is no listener")];
}

/** Later packets of connections that were taken. */
export function tproxyFollow(intent: InterceptIntent): Rule[] {
  const follow = always(
    "follow",
    [protocol("tcp"), { kind: "socket", property: "transparent" }],
    { kind: "intercept", remember: false, fromHere: false },
    "later packets follow the socket that took the first one",
  );
  return intent.onProxyDown === "open" ? [follow] : [follow, lostRule(intent)];
}

function lostRule(intent: InterceptIntent): Rule {
  return always(
    "lost",
    [protocol("tcp"), { kind: "flowOriginal" }, flowMark(intent.marks.intercept)],
    { kind: "drop" },
    "its connection was taken, and the socket is gone",
  );
}

function incomingChain(intent: InterceptIntent): BaseChain {
  const { from, local, marks, tcp, udp } = intent;
  const rules: Rule[] = [];
  if (local) {
    rules.push(always(
      "loopback",
      [incoming(LOOPBACK), { kind: "mark", of: "packet", value: marks.intercept, negate: true }],
      { kind: "pass" },
      "on lo only what our output chain sent there is ours",
    ));
  }
  if (udp === "tproxy") rules.push(udpRule("in"));
  if (tcp === "tproxy") {
    if (local) {
      rules.push(first(
        "own",
        [incoming(LOOPBACK), { kind: "tcpFirst" }],
        { kind: "goto", chain: TAKE },
        "this host's own: our output chain has decided",
      ));
    }
    rules.push(
      first("new", [{ kind: "tcpFirst" }], { kind: "goto", chain: "tcp_in_new" }, "a new connection"),
      ...tproxyFollow(intent),
    );
  }
  return {
    name: "tproxy_in",
    type: "filter",
    hook: "prerouting",
    priority: "mangle",
    interfaces: local ? [...from, LOOPBACK] : from,
    why: local
      ? "Traffic of other hosts, and this host's own, sent through lo by the output chain."
      : "Traffic of other hosts.",
    rules,
  };
}

function outgoingChain(intent: InterceptIntent): BaseChain {
  return {
    name: "tproxy_out",
    // Type route: a changed mark makes the kernel route the packet again, this time to lo.
    type: "route",
    hook: "output",
    priority: "mangle",
    interfaces: "any",
    why: "This host's own traffic: what is marked is routed to lo and comes in again there.",
    rules: [
      ...sentByUs(intent, "always"),
      ...(intent.udp === "tproxy" ? [udpRule("out")] : []),
      ...(intent.tcp === "tproxy" ? ownRules(intent) : []),
    ],
  };
}

function ownRules({ marks }: InterceptIntent): Rule[] {
  return [
    first("new", [{ kind: "tcpFirst" }], { kind: "goto", chain: "tcp_out_new" }, "a new connection"),
    always(
      "follow",
      [protocol("tcp"), { kind: "flowOriginal" }, flowMark(marks.intercept)],
      { kind: "intercept", remember: false, fromHere: true },
      "later packets of a remembered connection; answers of services here are none",
    ),
  ];
}

function ownSelection(intent: InterceptIntent, sets: SetCollection): InnerChain[] {
  return selection({
    name: "tcp_out",
    intent,
    sets,
    way: "out",
    protocol: "tcp",
    spared: [...foreign(intent, "intercept"), ...meantHere()],
    take: [first(
      "take",
      // Untracked packets are left alone: nothing could tell their successors.
      [{ kind: "flowOriginal" }],
      { kind: "intercept", remember: true, fromHere: true },
      "a new connection is taken and remembered",
    )],
  }).chains;
}
