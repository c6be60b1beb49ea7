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
import { selection } from "./build_selectors.ts";
import type { SetCollection } from "./build_sets.ts";
import type { InterceptIntent } from "./intent.ts";
import {
  always,
  first,
  flowMark,
  foreign,
  incoming,
  LOOPBACK,
  meantHere,
  packetMark,
  protocol,
  spared,
  toPorts,
} from "./matches.ts";
import type { BaseChain, InnerChain, Match, Rule, Verdict } from "./plan.ts";

const STEER = "udp_steer";

/** Where a base chain sends its datagrams. */
export function udpRule(way: "in" | "out"): Rule {
  return always(
    "udp",
    [protocol("udp")],
    { kind: "goto", chain: `udp_${way}` },
    "datagrams have rules of their own",
  );
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
export function udpInnerChains(intent: InterceptIntent, sets: SetCollection): InnerChain[] {
  const workers = Array.from({ length: intent.udpWorkers }, (_, i) => workerChain(intent, i));
  const steer: Verdict = { kind: "goto", chain: workers.length > 1 ? STEER : workerName(0) };
  const request = { intent, sets, protocol: "udp" } as const;
  return [
    incomingChain(intent, steer),
    ...(intent.local ? [outgoingChain(intent)] : []),
    ...selection({
      ...request,
      name: "udp_in",
      way: "in",
      spared: meantHereOrDhcp(),
      take: [first("take", [], steer, "a new flow goes to the worker that owns its client's endpoint")],
    }).chains,
    ...(intent.local
      ? selection({
        ...request,
        name: "udp_out",
        way: "out",
        spared: meantHereOrDhcp(),
        take: [first(
          "take",
          [],
          { kind: "intercept", remember: true, fromHere: true },
          "a new flow is taken and remembered",
        )],
      }).chains
      : []),
    ...(workers.length > 1 ? [steerChain(workers.map(({ name }) => name))] : []),
    ...workers,
  ];
}

function incomingChain(intent: InterceptIntent, steer: Verdict): InnerChain {
  const own = always("own", [incoming(LOOPBACK)], steer, "this host's own: our output chain has decided");
  return {
    name: "udp_in",
    hook: "none",
    why: "Datagrams that come in.",
    rules: [
      ...(intent.local ? [own] : []),
      always("follow", openFlow(intent), steer, "later datagrams follow the first one"),
      ...newRules("udp_in_new"),
    ],
  };
}

function outgoingChain(intent: InterceptIntent): InnerChain {
  return {
    name: "udp_out",
    hook: "none",
    why: "Datagrams of this host.",
    rules: [
      // Of a flow that was taken too: wg-quick sets the mark when its first datagram may have left already.
      ...foreign(intent, "always"),
      always(
        "follow",
        openFlow(intent),
        { kind: "intercept", remember: false, fromHere: true },
        "later datagrams follow the first one",
      ),
      ...newRules("udp_out_new"),
    ],
  };
}

/** The other direction belongs to the flow too, but is not addressed to us. */
function openFlow({ marks }: InterceptIntent): Match[] {
  return [{ kind: "flowOriginal" }, flowMark(marks.intercept)];
}

function newRules(entry: string): Rule[] {
  return [
    spared("later", [{ kind: "flowSeen" }], "a flow that was not taken at its first datagram never is"),
    first("new", [{ kind: "flowNew" }], { kind: "goto", chain: entry }, "a new flow"),
  ];
}

function meantHereOrDhcp(): Rule[] {
  return [
    ...meantHere(),
    spared(
      "link-4",
      [{ kind: "address", side: "destination", family: 4, prefix: "169.254.0.0/16" }],
      "link-local addresses mean nothing beyond their link",
    ),
    spared("dhcp", [toPorts("udp", DHCP_PORTS)], "DHCP speaks of this link's addresses"),
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
function workerChain({ port, local, onProxyDown }: InterceptIntent, index: number): InnerChain {
  const udp = protocol("udp");
  const listener = port + index;
  const to = (whole: 4 | 6 | null): Verdict => ({ kind: "tproxyDatagram", port: listener, whole });
  return {
    name: workerName(index),
    hook: "none",
    why: `To worker ${index}.`,
    rules: [
      always(
        "whole-4",
        [udp, { kind: "family", family: 4 }, { kind: "dontFragment" }],
        to(4),
        "not to be fragmented, which the mark tells the listener",
      ),
      ...(local
        ? [always(
          "own",
          [udp, incoming(LOOPBACK)],
          to(null),
          "this host may fragment what it sends itself, also over IPv6",
        )]
        : []),
      always(
        "whole-6",
        [udp, { kind: "family", family: 6 }],
        to(6),
        "only its sender fragments an IPv6 packet",
      ),
      always("any", [udp], to(null), "a router may fragment it"),
      ...(onProxyDown === "closed"
        ? [always("closed", [udp], { kind: "drop" }, "there is no listener")]
        : []),
    ],
  };
}
