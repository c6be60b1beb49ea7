/**
 * Source keep: the chains on the side of the destinations, where our sockets carry the clients' addresses.
 *
 * @module
 */
import type { InterceptIntent } from "./intent.ts";
import { always, flowMark, packetMark, protocol } from "./matches.ts";
import type { BaseChain, Match, Rule } from "./plan.ts";

/**
 * Conntrack zone for connections to destinations that carry the client's address. 16 bits, local to this
 * network namespace; it only has to differ from zones other programs use.
 */
export const UPSTREAM_ZONE = 7873;

/** Source keep: our sockets towards destinations carry the client's address, so their answers are not to us. */
export function upstreamChains(intent: InterceptIntent): BaseChain[] {
  const ours: Match = { kind: "mark", of: "socket", value: intent.marks.bypass, negate: false };
  const relayed = protocol(relayedProtocol(intent));
  const zone = { kind: "zone", zone: UPSTREAM_ZONE } as const;
  const intercept = { kind: "intercept", remember: false, fromHere: false } as const;
  const found: Match = { kind: "socket", property: "transparent" };
  return [{
    name: "keep_out",
    type: "filter",
    hook: "output",
    priority: "raw",
    interfaces: "any",
    why:
      "Our connection to the destination has the client's five-tuple; conntrack must not take them for one.",
    rules: [
      always(
        "zone",
        [relayed, packetMark(intent.marks.bypass)],
        zone,
        "our own connections are tracked apart",
      ),
    ],
  }, {
    name: "keep_in",
    type: "filter",
    hook: "prerouting",
    priority: "raw",
    interfaces: answerInterfaces(intent),
    why: "The answers, before conntrack looks at them.",
    rules: [
      always("zone", [relayed, ours], zone, "answers to our own connections are tracked apart"),
      always("zone-errors", [protocol("icmp"), ours], zone, "so are the errors about them"),
    ],
  }, {
    name: "keep_answers",
    type: "filter",
    hook: "prerouting",
    priority: "mangle",
    interfaces: answerInterfaces(intent),
    why: "Answers addressed to the client but meant for our socket.",
    rules: [
      always(
        "answer",
        [relayed, found, ours],
        intercept,
        "our socket asked as the client, so the answer is delivered here",
      ),
      always(
        "error",
        [protocol("icmp"), found, ours],
        intercept,
        "unreachable, too big: errors about our packets are addressed to the client as well",
      ),
      ...(intent.onProxyDown === "closed" ? [lost(intent, relayed)] : []),
    ],
  }];
}

/** Without our socket the answer looks like one to the client's own flow, which was taken. */
function lost({ marks }: InterceptIntent, relayed: Match): Rule {
  return always(
    "lost",
    [relayed, { kind: "flowReply" }, flowMark(marks.intercept)],
    { kind: "drop" },
    "its flow was taken, and the socket is gone",
  );
}

/** Destinations may also be behind an interface we intercept on. */
export function answerInterfaces(intent: InterceptIntent): string[] {
  return [...new Set([...intent.from, ...intent.otherInterfaces])];
}

function relayedProtocol({ tcp, udp }: InterceptIntent): "tcp" | "udp" | "tcpOrUdp" {
  if (udp === "off") return "tcp";
  return tcp === "off" ? "udp" : "tcpOrUdp";
}
