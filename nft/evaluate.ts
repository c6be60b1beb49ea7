/**
 * What a plan does to one packet: a pure interpreter, which `explain` shows to people and the parity tests hold
 * against the kernel.
 *
 * A packet meets the base chains of its hooks in the kernel's order: raw, then conntrack looks, then mangle,
 * dstnat, filter. In each chain the first rule decides whose matches all hold, and the next chain is asked whatever
 * it decided, unless the packet was dropped. What this host sends and a rule marks for us leaves by lo and comes in
 * again there. It knows nothing of nft or iptables; where they differ the plan must not depend on it, so neither
 * does this file.
 *
 * @module
 */
import type { IpAddress } from "../net/address.ts";
import type { Evaluation, Hook, RuleName, RuleStep, Step } from "./evaluation.ts";
import { LocalAddresses, loopbackAddress } from "./local_addresses.ts";
import type { Flow, FoundSocket, Packet, PacketHost } from "./packet.ts";
import { matchHolds, type PacketHere, type Surroundings } from "./packet_matches.ts";
import type { BaseChain, Chain, IpRule, Plan, Rule, Verdict } from "./plan.ts";

/** What `plan` does to `packet` on `host`. Total and deterministic. */
export function evaluate(plan: Plan, packet: Packet, host: PacketHost): Evaluation {
  if (host.proxy === "down" && plan.intent.onProxyDown === "open") {
    return {
      ...UNTOUCHED,
      trail: [{ kind: "rulesGone" }],
      mark: packet.mark,
      flowMark: flowMark(packet.flow),
    };
  }
  return new Walk(plan, packet, host).run();
}

const UNTOUCHED = { verdict: "pass", how: null, decidedBy: null, zone: null, untracked: false } as const;

const PRIORITIES: readonly BaseChain["priority"][] = ["raw", "mangle", "dstnat", "filter"];
const LOOPBACK = "lo";

/** No rule asks what marks a listener of ours carries after a packet was given to it. */
const LISTENER: FoundSocket = { transparent: true, wildcard: true, mark: 0 };

/** What a base chain came to. */
interface Decision {
  readonly step: RuleStep;
  /** Of the listeners that may get it. */
  readonly ports: readonly number[];
}

/** One packet's way, and what has become of the packet so far. */
class Walk {
  readonly #plan: Plan;
  readonly #packet: Packet;
  readonly #host: PacketHost;
  readonly #around: Surroundings;
  readonly #chains: ReadonlyMap<string, Chain>;
  readonly #trail: Step[] = [];
  #incoming: string | null;
  #outgoing: string | null;
  #destination: IpAddress;
  #destinationPort: number;
  #mark: number;
  #flow: Flow | null = null;
  #zone: number | null = null;
  #untracked = false;
  #rerouted = false;
  /** The last rule of its kind; what it means shows when the packet has arrived. */
  #passedBy: RuleStep | undefined;
  #markedBy: RuleStep | undefined;
  #droppedBy: RuleStep | undefined;
  #tproxy: Decision | undefined;
  #redirect: Decision | undefined;

  constructor(plan: Plan, packet: Packet, host: PacketHost) {
    this.#plan = plan;
    this.#packet = packet;
    this.#host = host;
    this.#around = {
      marks: plan.intent.marks,
      sets: new Map(plan.sets.map((set) => [set.name, set])),
      local: new LocalAddresses(host),
    };
    this.#chains = new Map(plan.chains.map((chain) => [chain.name, chain]));
    this.#incoming = packet.way.kind === "arriving" ? packet.way.interface : null;
    this.#outgoing = packet.way.kind === "sent" ? packet.way.interface : null;
    this.#destination = { family: packet.family, text: packet.destination };
    this.#destinationPort = packet.destinationPort;
    this.#mark = packet.mark;
  }

  run(): Evaluation {
    if (this.#packet.way.kind === "sent") {
      this.#meet("output");
      const why = this.#whyLoopback();
      if (this.#droppedBy !== undefined || why === undefined) return this.#result();
      this.#trail.push({ kind: "loopback", why });
      this.#leaveByLoopback();
    }
    this.#meet("prerouting");
    const why = this.#whyDelivered();
    if (this.#droppedBy !== undefined || why === undefined) return this.#result();
    this.#trail.push({ kind: "delivered", why });
    this.#meet("input");
    return this.#result();
  }

  #whyLoopback(): "marked" | "redirected" | "route" | undefined {
    if (this.#redirect !== undefined || this.#isOldRedirect()) return "redirected";
    if (this.#rerouted) return "marked";
    return this.#outgoing === LOOPBACK ? "route" : undefined;
  }

  #leaveByLoopback(): void {
    this.#incoming = LOOPBACK;
    this.#outgoing = null;
    // Conntrack confirms a flow when its packet leaves, and the packet keeps its entry on lo.
    if (this.#flow?.tracking === "tracked") this.#flow = { ...this.#flow, seen: true };
  }

  /** The local table is asked before any rule of ours. */
  #whyDelivered(): "address" | "marked" | undefined {
    if (this.#around.local.isHere(this.#destination)) return "address";
    return this.#plan.ipRules.some((rule) => this.#isRouted(rule, this.#incoming)) ? "marked" : undefined;
  }

  #isRouted(rule: IpRule, incoming: string | null): boolean {
    const { family } = this.#packet;
    return rule.family === family && rule.incoming === incoming &&
      (this.#mark & rule.mask) >>> 0 === rule.mark &&
      this.#plan.routes.some((route) => route.family === family && route.table === rule.table);
  }

  #meet(hook: Hook): void {
    for (const priority of PRIORITIES) {
      if (priority === "mangle") this.#track();
      if (priority === "dstnat" && hook !== "input") this.#translateOld();
      for (const chain of this.#plan.chains) {
        if (chain.hook !== hook || chain.priority !== priority) continue;
        if (chain.type === "nat" && !this.#isToBeTranslated()) continue;
        this.#ask(chain);
        if (this.#droppedBy !== undefined) return;
      }
    }
  }

  /** What has an entry keeps it, also over lo. */
  #track(): void {
    this.#flow ??= this.#untracked ? { tracking: "untracked" } : this.#packet.flow;
  }

  /** An open flow that was redirected: conntrack translates its packets by itself. */
  #isOldRedirect(): boolean {
    const { flow } = this.#packet;
    return flow.tracking === "tracked" && flow.direction === "original" && flow.redirectedTo !== null &&
      this.#flow?.tracking === "tracked";
  }

  #translateOld(): void {
    const { flow } = this.#packet;
    if (!this.#isOldRedirect() || flow.tracking !== "tracked" || flow.redirectedTo === null) return;
    this.#rewriteDestination(flow.redirectedTo);
  }

  #rewriteDestination(port: number): void {
    const { family } = this.#packet;
    this.#destination = this.#incoming === null
      ? loopbackAddress(family)
      : this.#incoming === LOOPBACK
      ? this.#destination
      : this.#around.local.ownAddress(family);
    this.#destinationPort = port;
  }

  /** NAT asks its chains for a flow's first packet, once, and for nothing that has no flow. */
  #isToBeTranslated(): boolean {
    const flow = this.#flow;
    return flow?.tracking === "tracked" && flow.isNew && !flow.seen && flow.redirectedTo === null;
  }

  #ask(chain: BaseChain): void {
    if (chain.interfaces !== "any" && !chain.interfaces.includes(this.#incoming ?? "")) {
      const name = this.#incoming ?? "";
      this.#trail.push({ kind: "outside", hook: chain.hook, chain: chain.name, interface: name });
      return;
    }
    const steps: Step[] = [];
    const decision = this.#decide(chain, chain.hook, [], steps);
    this.#trail.push(...steps);
    if (decision === undefined) this.#trail.push({ kind: "undecided", hook: chain.hook, chain: chain.name });
    else this.#carryOut(decision, chain);
  }

  #decide(chain: Chain, hook: Hook, oneOf: readonly string[], steps: Step[]): Decision | undefined {
    const here = this.#here();
    for (const rule of chain.rules) {
      if (!rule.matches.every((match) => matchHolds(match, here, this.#around))) continue;
      const step = this.#stepOf(chain, rule, hook, oneOf);
      // A hash of an address of the other family cannot be made: the rule is left.
      if (rule.verdict.kind === "spread" && rule.verdict.family !== this.#packet.family) continue;
      steps.push(step);
      if (!step.done) continue;
      if (rule.verdict.kind === "goto") return this.#follow(rule.verdict.chain, hook, oneOf, steps);
      if (rule.verdict.kind === "spread") return this.#spread(rule.verdict.chains, hook, steps);
      return { step, ports: this.#portsOf(rule.verdict) };
    }
    return undefined;
  }

  #stepOf(chain: Chain, { id, why, verdict }: Rule, hook: Hook, oneOf: readonly string[]): RuleStep {
    const needsSocket = verdict.kind === "tproxy" || verdict.kind === "tproxyDatagram";
    const done = !needsSocket || (this.#connected()?.transparent ?? this.#host.proxy === "up");
    return { kind: "rule", hook, chain: chain.name, rule: id, why, verdict, done, oneOf };
  }

  /** The packet's own connection: TPROXY looks for it before it looks for a listener. */
  #connected(): FoundSocket | null {
    return this.#packet.socket?.wildcard === false ? this.#packet.socket : null;
  }

  #portsOf(verdict: Verdict): number[] {
    if (!("port" in verdict)) return [];
    return verdict.kind !== "redirect" && this.#connected() !== null ? [] : [verdict.port];
  }

  #follow(name: string, hook: Hook, oneOf: readonly string[], steps: Step[]): Decision | undefined {
    const chain = this.#chains.get(name);
    return chain === undefined ? undefined : this.#decide(chain, hook, oneOf, steps);
  }

  /** The chains differ in their ports alone, so the first speaks for all. */
  #spread(names: readonly string[], hook: Hook, steps: Step[]): Decision | undefined {
    const decisions = names.map((name, i) => this.#follow(name, hook, names, i === 0 ? steps : []));
    const [first] = decisions;
    return first && { step: first.step, ports: decisions.flatMap((decision) => decision?.ports ?? []) };
  }

  #here(): PacketHere {
    const { way } = this.#packet;
    return {
      packet: this.#packet,
      incoming: this.#incoming,
      outgoing: this.#outgoing,
      mac: way.kind === "arriving" && way.mac !== "" ? way.mac : null,
      owner: way.kind === "sent" && this.#incoming === null ? way.owner : null,
      destination: this.#destination,
      destinationPort: this.#destinationPort,
      mark: this.#mark,
      flow: this.#flow,
      socket: this.#socket(),
    };
  }

  /** As the kernel finds it here: TPROXY and NAT change which socket a packet belongs to. */
  #socket(): FoundSocket | null {
    if (this.#tproxy !== undefined) return LISTENER;
    const isTranslated = this.#destinationPort !== this.#packet.destinationPort ||
      this.#destination.text !== this.#packet.destination;
    if (!isTranslated) return this.#isOldRedirect() ? null : this.#packet.socket;
    return this.#packet.socket ?? (this.#isForListener() ? LISTENER : null);
  }

  /** Whether a listener takes it, or only the socket of its own connection. */
  #isForListener(): boolean {
    const { protocol, tcpFirst } = this.#packet;
    return this.#host.proxy === "up" && (protocol !== "tcp" || tcpFirst);
  }

  #carryOut(decision: Decision, chain: BaseChain): void {
    const { step } = decision;
    const { intercept, mask, dontFragment, fromHere } = this.#around.marks;
    const { verdict } = step;
    switch (verdict.kind) {
      case "pass":
        this.#passedBy = step;
        return;
      case "drop":
        this.#droppedBy = step;
        return;
      case "tproxy":
        this.#tproxy = decision;
        this.#mark = setBits(this.#mark, mask, intercept);
        if (verdict.remember) this.#markFlow(intercept);
        return;
      case "tproxyDatagram": {
        this.#tproxy = decision;
        const bits = verdict.whole === null ? intercept : intercept | dontFragment;
        this.#mark = setBits(this.#mark, mask | dontFragment, bits);
        this.#markFlow(intercept);
        return;
      }
      case "redirect":
        this.#redirect = decision;
        if (this.#flow?.tracking === "tracked") this.#flow = { ...this.#flow, redirectedTo: verdict.port };
        this.#rewriteDestination(verdict.port);
        return;
      case "intercept":
        this.#markedBy = step;
        if (verdict.remember) this.#markFlow(intercept);
        this.#mark = verdict.fromHere
          ? setBits(this.#mark, mask | fromHere, intercept | fromHere)
          : setBits(this.#mark, mask, intercept);
        // Only such a chain has the kernel route a packet again.
        if (chain.type === "route") {
          this.#rerouted = this.#plan.ipRules.some((rule) => this.#isRouted(rule, LOOPBACK));
        }
        return;
      case "zone":
        if (this.#flow === null) this.#zone = verdict.zone;
        return;
      case "untrack":
        if (this.#flow === null) this.#untracked = true;
        return;
      case "goto":
      case "spread":
        throw new Error(`${step.chain}/${step.rule}: ${verdict.kind} is followed, not carried out`);
    }
  }

  #markFlow(value: number): void {
    if (this.#flow?.tracking !== "tracked") return;
    this.#flow = { ...this.#flow, mark: setBits(this.#flow.mark, this.#around.marks.mask, value) };
  }

  #result(): Evaluation {
    return {
      ...this.#outcome(),
      trail: this.#trail,
      mark: this.#mark,
      flowMark: this.#flow === null ? flowMark(this.#packet.flow) : flowMark(this.#flow),
      zone: this.#zone,
      untracked: this.#untracked,
    };
  }

  #outcome(): Pick<Evaluation, "verdict" | "how" | "decidedBy"> {
    if (this.#droppedBy !== undefined) return lost(this.#droppedBy);
    const delivered = this.#trail.find((step) => step.kind === "delivered");
    if (this.#tproxy !== undefined) {
      // A packet that has been given to a socket and is then routed away is lost.
      const { step, ports } = this.#tproxy;
      return this.#trail.some(({ kind }) => kind === "delivered")
        ? takenBy("tproxy", ports, step)
        : lost(step);
    }
    if (this.#redirect !== undefined || this.#isOldRedirect()) {
      const port = this.#flow?.tracking === "tracked" ? this.#flow.redirectedTo : null;
      const step = this.#redirect?.step;
      return this.#socket() === null ? lost(step) : takenBy("redirect", port === null ? [] : [port], step);
    }
    const isRoutedHere = delivered?.why === "marked";
    if (delivered !== undefined && (this.#markedBy !== undefined || isRoutedHere)) {
      if (this.#packet.socket !== null) return takenBy("socket", [], this.#markedBy);
      if (isRoutedHere) return lost(this.#markedBy);
    }
    return { verdict: "pass", how: null, decidedBy: nameOf(this.#passedBy) };
  }
}

function lost(step: RuleStep | undefined): Pick<Evaluation, "verdict" | "how" | "decidedBy"> {
  return { verdict: "drop", how: null, decidedBy: nameOf(step) };
}

function takenBy(
  how: "tproxy" | "redirect" | "socket",
  ports: readonly number[],
  step: RuleStep | undefined,
): Pick<Evaluation, "verdict" | "how" | "decidedBy"> {
  return { verdict: { taken: ports }, how, decidedBy: nameOf(step) };
}

function nameOf(step: RuleStep | undefined): RuleName | null {
  return step === undefined ? null : { chain: step.chain, rule: step.rule };
}

/** Other programs' bits stay as they are; unsigned, as the kernel has it. */
function setBits(mark: number, mask: number, value: number): number {
  return ((mark & ~mask) | value) >>> 0;
}

function flowMark(flow: Flow): number | null {
  return flow.tracking === "tracked" ? flow.mark : null;
}
