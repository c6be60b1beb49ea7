/**
 * Source keep: the chains on the side of the destinations, where our sockets carry the clients' addresses.
 *
 * @module
 */
import { packetMark } from "./matches.ts";
import type { BaseChain, InterceptIntent, Match } from "./plan.ts";

/**
 * Conntrack zone for connections to destinations that carry the client's address. 16 bits, local to this
 * network namespace; it only has to differ from zones other programs use.
 */
const UPSTREAM_ZONE = 7873;

/** Source keep: our sockets towards destinations carry the client's address, so their answers are not to us. */
export function upstreamChains(intent: InterceptIntent): BaseChain[] {
  const ours: Match = { kind: "mark", of: "socket", value: intent.marks.bypass, negate: false };
  const relayed: Match = { kind: "protocol", protocol: relayedProtocol(intent) };
  return [{
    name: "keep_output",
    type: "filter",
    hook: "output",
    priority: "raw",
    interfaces: "any",
    why:
      "Our connection to the destination has the client's five-tuple; conntrack must not take them for one.",
    rules: [{
      id: "zone",
      during: "always",
      matches: [relayed, packetMark(intent.marks.bypass)],
      verdict: { kind: "zone", zone: UPSTREAM_ZONE },
      why: "our own connections are tracked apart",
    }],
  }, {
    name: "keep_prerouting",
    type: "filter",
    hook: "prerouting",
    priority: "raw",
    interfaces: answerInterfaces(intent),
    why: "The answers, before conntrack looks at them.",
    rules: [{
      id: "zone",
      during: "always",
      matches: [relayed, ours],
      verdict: { kind: "zone", zone: UPSTREAM_ZONE },
      why: "answers to our own connections are tracked apart",
    }, {
      id: "zone-errors",
      during: "always",
      matches: [{ kind: "protocol", protocol: "icmp" }, ours],
      verdict: { kind: "zone", zone: UPSTREAM_ZONE },
      why: "so are the errors about them",
    }],
  }, {
    name: "keep_answers",
    type: "filter",
    hook: "prerouting",
    priority: "mangle",
    interfaces: answerInterfaces(intent),
    why: "Answers addressed to the client but meant for our socket.",
    rules: [{
      id: "answer",
      during: "always",
      matches: [relayed, { kind: "socket", property: "transparent" }, ours],
      verdict: { kind: "intercept", remember: false },
      why: "our socket asked as the client, so the answer is delivered here",
    }, {
      id: "error",
      during: "always",
      matches: [{ kind: "protocol", protocol: "icmp" }, { kind: "socket", property: "transparent" }, ours],
      verdict: { kind: "intercept", remember: false },
      why: "unreachable, too big: errors about our packets are addressed to the client as well",
    }],
  }];
}

/** Destinations may also be behind an interface we intercept on. */
export function answerInterfaces(intent: InterceptIntent): string[] {
  return [...new Set([...intent.from, ...intent.otherInterfaces])];
}

function relayedProtocol({ tcp, udp }: InterceptIntent): "tcp" | "udp" | "tcpOrUdp" {
  if (udp === "off") return "tcp";
  return tcp === "off" ? "udp" : "tcpOrUdp";
}
