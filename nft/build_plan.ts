/**
 * Composes the plan for an intent. Pure: asks no host, checks nothing (check_plan.ts does).
 *
 * The principles, which every rule below serves:
 * - A flow is taken over at its first packet or never. What existed before us, and the answers of servers to
 *   connections from outside, have no first packet any more and so stay as they are.
 * - Later packets are recognised by what the first one left behind: a transparent socket (TPROXY), the
 *   connection mark (this host's own traffic), the NAT mapping (REDIRECT).
 * - What is addressed to this host itself is never taken.
 *
 * The chains that only datagrams meet are in build_udp.ts, those of source keep in build_keep.ts.
 *
 * @module
 */
import type { IpFamily } from "../net/address.ts";
import { answerInterfaces, upstreamChains } from "./build_keep.ts";
import { udpInnerChains, udpRule, udpUntrackedChain } from "./build_udp.ts";
import { flowMark, incoming, MEANT_HERE, packetMark, routedElsewhere } from "./matches.ts";
import type { BaseChain, Chain, InterceptIntent, IpRule, LocalRoute, Match, Plan, Rule } from "./plan.ts";

const LOOPBACK = "lo";
const FAMILIES: readonly IpFamily[] = [4, 6];

/** The plan that carries out `intent`; empty when TCP and UDP are off or nothing is to be intercepted. */
export function buildPlan(intent: InterceptIntent): Plan {
  const empty: Plan = { intent, chains: [], ipRules: [], routes: [] };
  if (intent.tcp === "off" && intent.udp === "off") return empty;
  if (intent.from.length === 0 && !intent.local) return empty;
  const chains: Chain[] = [];
  // The address can be kept for this host's own programs too, but not the port: the program holds that tuple.
  // Then nothing is ambiguous and no answer is addressed to another host, so this is for forwarded traffic.
  const keepsClients = intent.source === "keep" && intent.from.length > 0;
  const hasTproxy = intent.tcp === "tproxy" || intent.udp === "tproxy";
  if (intent.udp === "tproxy") chains.push(udpUntrackedChain(intent));
  if (keepsClients) chains.push(...upstreamChains(intent));
  if (hasTproxy) chains.push(...tproxyChains(intent));
  if (intent.udp === "tproxy") chains.push(...udpInnerChains(intent));
  if (intent.tcp === "redirect") chains.push(...redirectChains(intent));

  const marked = new Set<string>();
  if (hasTproxy) intent.from.forEach((name) => marked.add(name));
  if (hasTproxy && intent.local) marked.add(LOOPBACK);
  if (keepsClients) answerInterfaces(intent).forEach((name) => marked.add(name));
  const families = marked.size > 0 ? FAMILIES : [];
  return {
    intent,
    chains,
    ipRules: families.flatMap((family) => [...marked].map((incoming) => ipRule(intent, family, incoming))),
    routes: families.map((family): LocalRoute => ({
      family,
      table: intent.routeTable,
      protocol: intent.routeProtocol,
    })),
  };
}

function ipRule(intent: InterceptIntent, family: IpFamily, incoming: string): IpRule {
  return {
    family,
    // One rule an interface: with a rule for every interface, src_valid_mark=1 makes the kernel check a
    // packet's source by the marked route and drop it.
    incoming,
    mark: intent.marks.intercept,
    mask: intent.marks.mask,
    table: intent.routeTable,
    preference: intent.rulePreference,
    protocol: intent.routeProtocol,
  };
}

function tproxyChains(intent: InterceptIntent): BaseChain[] {
  const { intercept } = intent.marks;
  const prerouting: Rule[] = [];
  if (intent.local) {
    prerouting.push({
      id: "loopback",
      during: "always",
      matches: [incoming(LOOPBACK), { kind: "mark", of: "packet", value: intercept, negate: true }],
      verdict: { kind: "pass" },
      why: "on lo only what our output chain sent there is ours",
    });
  }
  if (intent.udp === "tproxy") prerouting.push(udpRule("prerouting"));
  if (intent.tcp === "tproxy") prerouting.push(...tproxyIncoming(intent));
  const interfaces = intent.local ? [...intent.from, LOOPBACK] : intent.from;
  const chains: BaseChain[] = [{
    name: "tproxy_prerouting",
    type: "filter",
    hook: "prerouting",
    priority: "mangle",
    interfaces,
    why: intent.local
      ? "Traffic of other hosts, and this host's own, sent through lo by the output chain."
      : "Traffic of other hosts.",
    rules: prerouting,
  }];
  if (intent.local) chains.push(tproxyOutput(intent));
  return chains;
}

function tproxyIncoming(intent: InterceptIntent): Rule[] {
  return [...notForUs(), {
    id: "first",
    during: "intercept",
    matches: [{ kind: "tcpFirst" }],
    verdict: { kind: "tproxy", port: intent.port },
    why: "a new connection goes to the listener, or on its way when there is none",
  }, {
    id: "listener",
    during: "always",
    matches: [{ kind: "protocol", protocol: "tcp" }, { kind: "socket", property: "wildcard" }],
    verdict: { kind: "pass" },
    why: "a listener on this port is not a connection of this packet",
  }, {
    id: "follow",
    during: "always",
    matches: [{ kind: "protocol", protocol: "tcp" }, { kind: "socket", property: "transparent" }],
    verdict: { kind: "intercept", remember: false },
    why: "later packets follow the socket that took the first one",
  }];
}

function tproxyOutput(intent: InterceptIntent): BaseChain {
  return {
    name: "tproxy_output",
    // Type route: a changed mark makes the kernel route the packet again, this time to lo.
    type: "route",
    hook: "output",
    priority: "mangle",
    interfaces: "any",
    why: "This host's own traffic: what is marked is routed to lo and comes in again there.",
    rules: [
      ...sentByUs(intent, "always"),
      ...(intent.udp === "tproxy" ? [udpRule("output")] : []),
      ...(intent.tcp === "tproxy" ? tproxyOutgoing(intent) : []),
    ],
  };
}

function tproxyOutgoing(intent: InterceptIntent): Rule[] {
  return [markedFirst(), ...notForUs(), {
    id: "first",
    during: "intercept",
    // Untracked packets are left alone: nothing could tell their successors.
    matches: [{ kind: "tcpFirst" }, { kind: "flowOriginal" }],
    verdict: { kind: "intercept", remember: true },
    why: "a new connection is taken and remembered",
  }, {
    id: "follow",
    during: "always",
    matches: [
      { kind: "protocol", protocol: "tcp" },
      { kind: "flowOriginal" },
      flowMark(intent.marks.intercept),
    ],
    verdict: { kind: "intercept", remember: false },
    why: "later packets of a remembered connection; answers of services here are none",
  }];
}

function redirectChains(intent: InterceptIntent): Chain[] {
  const first: Rule = {
    id: "first",
    during: "intercept",
    // Conntrack shows this chain a connection's first packet only, but takes one it meets half-way for new.
    matches: [{ kind: "tcpFirst" }],
    verdict: { kind: "redirect", port: intent.port },
    why: "a new connection goes to the listener; conntrack remembers where it was going",
  };
  // Stays while draining: the kernel translates the packets of open connections only while there is some nat
  // chain, and tracks connections only while some rule asks for one.
  const open: Rule = {
    id: "open",
    during: "always",
    matches: [{ kind: "flowOriginal" }],
    verdict: { kind: "pass" },
    why: "open connections are translated only while a rule here asks conntrack",
  };
  const chains: Chain[] = [];
  if (intent.from.length > 0) {
    chains.push({
      name: "redirect_prerouting",
      type: "nat",
      hook: "prerouting",
      priority: "dstnat",
      interfaces: intent.from,
      why: "Traffic of other hosts.",
      rules: [...notForUs(), first, open],
    });
  }
  if (intent.local) {
    chains.push({
      name: "redirect_output",
      type: "nat",
      hook: "output",
      priority: "dstnat",
      interfaces: "any",
      why: "This host's own traffic.",
      rules: [...sentByUs(intent, "intercept"), markedFirst(), ...notForUs(), first, open],
    });
  }
  return chains;
}

/** Only first packets are asked: an address lookup for every packet of an open connection would be wasted. */
function notForUs(): Rule[] {
  const pass = (id: string, match: Match, why: string): Rule => ({
    id,
    during: "intercept",
    matches: [{ kind: "tcpFirst" }, match],
    verdict: { kind: "pass" },
    why,
  });
  return [
    pass("here", { kind: "destinationHere" }, "to this host itself, or to many"),
    ...MEANT_HERE.map(({ id, match, why }) => pass(id, match, why)),
    // Another host's link-local address is an ordinary unicast address to the rule above.
    pass(
      "link",
      { kind: "destinationIn", family: 6, prefix: "fe80::/10" },
      "link-local addresses mean nothing beyond their link",
    ),
  ];
}

/** Only first packets are asked: a connection that was taken before its mark came cannot be carried on by others. */
function markedFirst(): Rule {
  return routedElsewhere([{ kind: "tcpFirst" }], "intercept");
}

function sentByUs(intent: InterceptIntent, during: Rule["during"]): Rule[] {
  const reply: Rule = {
    id: "reply",
    during,
    matches: [packetMark(intent.marks.reply)],
    verdict: { kind: "pass" },
    why: "our answer to a client, in a remote's name",
  };
  return [
    {
      id: "bypass",
      during,
      matches: [packetMark(intent.marks.bypass)],
      verdict: { kind: "pass" },
      why: "sent by our own sockets; taking it would be a loop",
    },
    ...(intent.udp === "tproxy" ? [reply] : []),
    {
      id: "loopback",
      during,
      matches: [{ kind: "outgoing", interface: LOOPBACK }],
      verdict: { kind: "pass" },
      why: "stays on this host anyway",
    },
  ];
}
