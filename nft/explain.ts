/**
 * What a plan does to a packet, in words: each step with its reason, then what it comes to and which rule settled
 * it. Pure; evaluate.ts finds out, this file only says it.
 *
 * @module
 */
import type { Evaluation, RuleName, Step } from "./evaluation.ts";
import type { Packet, PacketHost } from "./packet.ts";
import type { Chain, Plan, Verdict } from "./plan.ts";

/** An evaluation for people, and for programs that show it to people. */
export interface Explanation extends Omit<Evaluation, "trail"> {
  /** Who sends what to whom, by which way. */
  readonly packet: string;
  /** What happened, in order. */
  readonly steps: readonly string[];
  /** What it comes to. */
  readonly outcome: string;
  /** The rule that settled it, with its reason; or why there is none. */
  readonly because: string;
}

/** Puts `evaluation`, of that plan, packet and host, into words. */
export function explain(
  plan: Plan,
  packet: Packet,
  host: PacketHost,
  { trail, ...evaluation }: Evaluation,
): Explanation {
  return {
    packet: packetText(packet, host),
    steps: trail.map((step, i) => stepText(step, trail[i - 1], plan)),
    outcome: outcomeText(evaluation),
    because: reasonText(plan, trail, evaluation),
    ...evaluation,
  };
}

/** The explanation as lines of text. */
export function renderExplanation({ packet, steps, outcome, because }: Explanation): string {
  return [
    packet,
    "",
    ...steps.map((step, i) => `${String(i + 1).padStart(3)}. ${step}`),
    "",
    `${outcome}: ${because}.`,
  ].join("\n");
}

/** `CHAIN/RULE`, as listings and counters name it. */
export function ruleText({ chain, rule }: RuleName): string {
  return `${chain}/${rule}`;
}

function packetText(packet: Packet, host: PacketHost): string {
  const from = endpointText(packet, packet.source, packet.sourcePort);
  const to = endpointText(packet, packet.destination, packet.destinationPort);
  const mark = packet.mark === 0 ? "" : `, marked ${hex(packet.mark)}`;
  const proxy = host.proxy === "up" ? "" : ", while no proxy listens";
  return `${packet.protocol} ${from} → ${to}: ${flowText(packet)}, ${wayText(packet)}${mark}${proxy}`;
}

function endpointText({ family, protocol }: Packet, address: string, port: number): string {
  if (protocol !== "tcp" && protocol !== "udp") return address;
  return family === 4 ? `${address}:${port}` : `[${address}]:${port}`;
}

function wayText({ way }: Packet): string {
  if (way.kind === "arriving") {
    return `coming in by ${way.interface}${way.mac === "" ? "" : ` from ${way.mac}`}`;
  }
  const { owner } = way;
  const who = owner === null
    ? "by the kernel itself"
    : `by uid ${owner.uid}, gid ${owner.gid}${owner.cgroup === "" ? "" : `, cgroup ${owner.cgroup}`}`;
  return `sent here ${who}, to leave by ${way.interface}`;
}

function flowText({ flow, protocol, tcpFirst, socket }: Packet): string {
  if (flow.tracking === "invalid") return "a packet that conntrack cannot place";
  const kind = flow.tracking === "untracked"
    ? `a packet that is not tracked${tcpFirst ? ", with SYN" : ""}`
    : flow.direction === "reply"
    ? "an answer in an open flow"
    : flow.seen || (protocol === "tcp" && !tcpFirst)
    ? "a later packet of a flow"
    : "the first packet of a flow";
  return socket?.transparent === true ? `${kind} that a transparent socket here belongs to` : kind;
}

function stepText(step: Step, before: Step | undefined, plan: Plan): string {
  switch (step.kind) {
    case "rule": {
      const what = step.done
        ? verdictText(step.verdict)
        : `there is no listener on port ${portOf(step.verdict)}, so the next rule is asked`;
      return `${step.hook} ${ruleText(step)} (${step.why}): ${what}`;
    }
    case "outside": {
      const chain = chainOf(plan, step.chain);
      const only = chain !== undefined && chain.hook !== "none" && chain.interfaces !== "any"
        ? chain.interfaces.join(", ")
        : "others";
      return `${step.hook} ${step.chain}: not asked, it is for what comes in by ${only}, not by ${step.interface}`;
    }
    case "undecided": {
      const chain = lastChain(before, step.hook) ?? step.chain;
      return `${step.hook} ${chain}: none of its rules is about this packet, which goes on as it is`;
    }
    case "loopback":
      return {
        marked: "its mark has changed, so it is routed again: out by lo, and in again there",
        redirected: "its destination is this host now: out by lo, and in again there",
        route: "out by lo, and in again there",
      }[step.why];
    case "delivered":
      return step.why === "marked"
        ? `its mark has it routed by table ${plan.intent.routeTable}: delivered to this host`
        : "its destination is this host: delivered here";
    case "rulesGone":
      return "the rules have gone with the proxy (--on-proxy-down open): no packet is looked at";
  }
}

/** The chain that the rule before has sent it to. */
function lastChain(before: Step | undefined, hook: string): string | undefined {
  if (before?.kind !== "rule" || before.hook !== hook) return undefined;
  return before.verdict.kind === "goto" ? before.verdict.chain : undefined;
}

function verdictText(verdict: Verdict): string {
  switch (verdict.kind) {
    case "pass":
      return "left alone";
    case "drop":
      return "dropped";
    case "tproxy":
    case "tproxyDatagram":
      return `marked and handed to the listener on port ${verdict.port}, its addresses as they are`;
    case "redirect":
      return `its destination becomes this host's port ${verdict.port}`;
    case "intercept":
      return `marked, to be delivered to this host${verdict.remember ? "; its flow is remembered" : ""}`;
    case "zone":
      return `tracked in conntrack zone ${verdict.zone}`;
    case "untrack":
      return "not tracked";
    case "goto":
      return `the rules of ${verdict.chain} decide`;
    case "spread":
      return `a hash of its sender chooses one of ${verdict.chains.length} workers`;
  }
}

function portOf(verdict: Verdict): number | undefined {
  return "port" in verdict ? verdict.port : undefined;
}

function outcomeText({ verdict, how }: Omit<Evaluation, "trail">): string {
  if (verdict === "drop") return "dropped";
  if (verdict === "pass") return "passes untouched";
  if (how === "socket") return "taken by the socket that it belongs to";
  const ports = verdict.taken.length < 2
    ? `port ${verdict.taken.join()}`
    : `one of the ports ${verdict.taken.join(", ")}`;
  return `taken by ${how === "tproxy" ? "TPROXY" : "REDIRECT"}, on ${ports}`;
}

function reasonText(plan: Plan, trail: readonly Step[], evaluation: Omit<Evaluation, "trail">): string {
  const { decidedBy, verdict, how } = evaluation;
  if (decidedBy !== null) {
    const why = chainOf(plan, decidedBy.chain)?.rules.find(({ id }) => id === decidedBy.rule)?.why;
    return `decided by ${ruleText(decidedBy)}, ${why}`;
  }
  if (how === "redirect") return "conntrack rewrites the packets of a redirected flow by itself";
  if (verdict === "drop") return "delivered to this host, where no socket takes it";
  if (trail.some(({ kind }) => kind === "rulesGone")) return "there are no rules";
  const isAsked = trail.some(({ kind }) => kind === "rule" || kind === "undecided");
  return isAsked ? "no rule decides about it" : "no chain is asked about it";
}

function chainOf(plan: Plan, name: string): Chain | undefined {
  return plan.chains.find((chain) => chain.name === name);
}

function hex(mark: number): string {
  return `0x${mark.toString(16)}`;
}
