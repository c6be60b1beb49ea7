/**
 * The chains that only datagrams meet. A datagram has no SYN, so conntrack says which is a flow's first, and the
 * connection mark which flows were taken:
 *
 * - A flow is new while none of its packets has got through. A flow that nobody answers would stay `new` in
 *   conntrack's own word, and then one from before us would be taken half-way.
 * - The flow is marked only when a listener has taken its packet: what passed because there was none passes on.
 * - One worker has one port, and a hash of the client's endpoint chooses it: so one worker sees all that an
 *   endpoint sends, whoever it writes to.
 * - Our answers carry a remote's address and are not tracked. One that came before the client wrote to that
 *   remote would otherwise be the first packet of a flow, and what the client then writes its answer.
 *
 * A packet of an open flow costs one look at its connection mark and the hash.
 *
 * @module
 */
import { flowMark, incoming, MEANT_HERE, packetMark, routedElsewhere } from "./matches.ts";
import type { BaseChain, InnerChain, InterceptIntent, Match, Rule, Verdict } from "./plan.ts";

const PREROUTING = "udp_prerouting";
const OUTPUT = "udp_output";
const STEER = "udp_steer";

/** Where the base chain at `hook` sends its datagrams. */
export function udpRule(hook: "prerouting" | "output"): Rule {
  return {
    id: "udp",
    during: "always",
    matches: [{ kind: "protocol", protocol: "udp" }],
    verdict: { kind: "goto", chain: hook === "prerouting" ? PREROUTING : OUTPUT },
    why: "datagrams have rules of their own",
  };
}

/** Our answers must not begin a flow. */
export function udpUntrackedChain({ marks }: InterceptIntent): BaseChain {
  return {
    name: "udp_untracked",
    type: "filter",
    hook: "output",
    priority: "raw",
    interfaces: "any",
    why: "Answers in a remote's name, before conntrack looks at them.",
    rules: [{
      id: "reply",
      during: "always",
      matches: [{ kind: "protocol", protocol: "udp" }, packetMark(marks.reply)],
      verdict: { kind: "untrack" },
      why: "tracked, an unasked answer would make what the client writes back pass us by",
    }],
  };
}

/** The rules on datagrams, in the order in which a datagram meets them. */
export function udpInnerChains(intent: InterceptIntent): InnerChain[] {
  const workers = Array.from({ length: intent.udpWorkers }, (_, i) => workerChain(intent, i));
  return [
    preroutingChain(intent),
    ...(intent.local ? [outputChain(intent)] : []),
    ...(workers.length > 1 ? [steerChain(workers.map(({ name }) => name))] : []),
    ...workers,
  ];
}

function preroutingChain(intent: InterceptIntent): InnerChain {
  const steer: Verdict = { kind: "goto", chain: intent.udpWorkers > 1 ? STEER : workerName(0) };
  const rules: Rule[] = [];
  if (intent.local) {
    rules.push({
      id: "own",
      during: "always",
      matches: [incoming("lo")],
      verdict: steer,
      why: "this host's own: our output chain has decided",
    });
  }
  rules.push(
    {
      id: "follow",
      during: "always",
      matches: openFlow(intent),
      verdict: steer,
      why: "later datagrams follow the first one",
    },
    ...notForUs(),
    {
      id: "first",
      during: "intercept",
      matches: newFlow(intent),
      verdict: steer,
      why: "a new flow goes to the listener, or on its way when there is none",
    },
  );
  return { name: PREROUTING, hook: "none", why: "Datagrams that come in.", rules };
}

function outputChain(intent: InterceptIntent): InnerChain {
  return {
    name: OUTPUT,
    hook: "none",
    why: "Datagrams of this host.",
    rules: [
      // Of a flow that was taken too: wg-quick sets the mark when its first datagram may have left already.
      routedElsewhere([], "always"),
      {
        id: "follow",
        during: "always",
        matches: openFlow(intent),
        verdict: { kind: "intercept", remember: false },
        why: "later datagrams follow the first one",
      },
      ...notForUs(),
      {
        id: "first",
        during: "intercept",
        matches: newFlow(intent),
        verdict: { kind: "intercept", remember: true },
        why: "a new flow is taken and remembered",
      },
    ],
  };
}

/** The other direction belongs to the flow too, but is not addressed to us. */
function openFlow({ marks }: InterceptIntent): Match[] {
  return [{ kind: "flowOriginal" }, flowMark(marks.intercept)];
}

function newFlow({ udpPorts }: InterceptIntent): Match[] {
  const ports: Match[] = udpPorts.length > 0 ? [{ kind: "udpPorts", ports: udpPorts }] : [];
  return [...ports, { kind: "flowNew" }];
}

function notForUs(): Rule[] {
  const pass = (id: string, matches: readonly Match[], why: string): Rule => ({
    id,
    during: "intercept",
    matches,
    verdict: { kind: "pass" },
    why,
  });
  return [
    pass("later", [{ kind: "flowSeen" }], "a flow that was not taken at its first datagram never is"),
    pass("here", [{ kind: "destinationHere" }], "to this host itself, or to many"),
    ...MEANT_HERE.map(({ id, match, why }) => pass(id, [match], why)),
    // Another host's link-local address is an ordinary unicast address to the rule above.
    pass(
      "link",
      [{ kind: "destinationIn", family: 6, prefix: "fe80::/10" }],
      "link-local addresses mean nothing beyond their link",
    ),
    pass("link-4", [{ kind: "destinationIn", family: 4, prefix: "169.254.0.0/16" }], "the same in IPv4"),
    pass("dhcp", [{ kind: "udpPorts", ports: DHCP_PORTS }], "DHCP speaks of this link's addresses"),
  ];
}

const DHCP_PORTS = [{ first: 67, last: 68 }, { first: 546, last: 547 }] as const;

function steerChain(chains: readonly string[]): InnerChain {
  return {
    name: STEER,
    hook: "none",
    why: "Which worker owns the client's endpoint.",
    rules: ([4, 6] as const).map((family) => ({
      id: `spread-${family}`,
      during: "always",
      matches: [],
      verdict: { kind: "spread", family, chains },
      why: "one worker for all that an endpoint sends",
    })),
  };
}

function workerName(index: number): string {
  return `udp_worker_${index}`;
}

/** The hash could choose the port in one rule, but nft 1.0.6 would list that rule without its port. */
function workerChain({ port, local }: InterceptIntent, index: number): InnerChain {
  const udp: Match = { kind: "protocol", protocol: "udp" };
  const listener = port + index;
  const rules: Rule[] = [{
    id: "whole-4",
    during: "always",
    matches: [udp, { kind: "dontFragment" }],
    verdict: { kind: "tproxyDatagram", port: listener, whole: 4 },
    why: "not to be fragmented, which the mark tells the listener",
  }];
  if (local) {
    rules.push({
      id: "own",
      during: "always",
      matches: [udp, incoming("lo")],
      verdict: { kind: "tproxyDatagram", port: listener, whole: null },
      why: "this host may fragment what it sends itself, also over IPv6",
    });
  }
  rules.push({
    id: "whole-6",
    during: "always",
    matches: [udp, { kind: "family", family: 6 }],
    verdict: { kind: "tproxyDatagram", port: listener, whole: 6 },
    why: "only its sender fragments an IPv6 packet",
  }, {
    id: "any",
    during: "always",
    matches: [udp],
    verdict: { kind: "tproxyDatagram", port: listener, whole: null },
    why: "a router may fragment it",
  });
  return { name: workerName(index), hook: "none", why: `To worker ${index}.`, rules };
}
