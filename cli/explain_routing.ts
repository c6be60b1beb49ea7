/**
 * The part of `explain` about the policy: where a flow that is taken goes and why, and which rules the kernel knows.
 *
 * @module
 */
import {
  BUILT_IN_UPSTREAMS,
  type ConfigPlace,
  type GroupConfig,
  type RunConfig,
  type UpstreamConfig,
} from "../config/mod.ts";
import { type DescribedFlow, explainChoice, explainPushDown } from "../control/explain_routing.ts";
import type { PushedRule } from "../control/push_down.ts";
import { type Endpoint, parseAddress } from "../net/mod.ts";
import { isPolicyChain } from "../nft/build_policy.ts";
import type { Evaluation } from "../nft/evaluation.ts";
import type { Packet } from "../nft/packet.ts";
import { describeGroup, describeUpstream } from "./config_summary.ts";

/** Neighbours of which the same is to be said. */
export interface RuleNote {
  /** The first of them, counted from 1. */
  readonly first: number;
  readonly last: number;
  readonly why: string;
}

/** What is said of many rules: of the first ones, and how many there are beside. */
export interface RuleNotes<Note extends RuleNote = RuleNote> {
  readonly notes: readonly Note[];
  readonly more: number;
}

/** Which rules of the policy the kernel knows, and why others not. */
export interface KernelNotes extends RuleNotes<RuleNote & { readonly isPushed: boolean }> {
  /** How many there are. */
  readonly rules: number;
  /** How many the kernel knows. */
  readonly known: number;
}

/** Where a flow goes that the policy is asked about. */
export interface Destiny {
  /** Asked before the rules, which then decide only where it does not; null: there is none. */
  readonly module: string | null;
  /** Rules that come first and do not name the flow. */
  readonly notBefore: RuleNotes;
  /** The rule that decides, counted from 1; null: what holds for the rest. */
  readonly rule: number | null;
  /** `FILE:LINE` of what decides; null: a flag, or nobody said it. */
  readonly place: string | null;
  readonly because: string;
  /** Name of the upstream or group. */
  readonly to: string;
  readonly kind: (UpstreamConfig | GroupConfig)["kind"];
  /** What that is, in words. */
  readonly what: string;
  /** Of a group, in its order; of a chain, its hops. */
  readonly members: readonly string[];
  /** Whether the kernel lets it pass, as the policy says, so that no proxy sees it. */
  readonly isPushedDown: boolean;
}

/** All that is said about the policy. */
export interface RoutingExplanation {
  /** Absent where the policy is not asked. */
  readonly flow?: Destiny;
  /** Why the policy is not asked. */
  readonly notAsked?: string;
  /** Which rules the kernel knows. */
  readonly kernel: KernelNotes;
}

/** What is known of a flow beside its first packet. */
export interface RoutingQuestion {
  readonly config: RunConfig;
  readonly packet: Packet;
  readonly dscp: number;
  /** What becomes of the packet. */
  readonly evaluation: Evaluation;
  /** Where the configuration says something, by its key. */
  readonly placeOf: (key: string) => Promise<ConfigPlace | undefined>;
}

/** More lines than this nobody reads. */
const MOST_NOTES = 12;

/** undefined: everything leaves from here as it is, which needs no words. */
export async function explainRouting(question: RoutingQuestion): Promise<RoutingExplanation | undefined> {
  const { config, packet, evaluation } = question;
  if (isTrivial(config)) return undefined;
  const notAsked = whyNotAsked(config, packet, evaluation);
  const flow = notAsked === undefined ? await destinyOf(question) : undefined;
  const kernel = knownToKernel(await explainPushDown(config), flow?.rule ?? null);
  return flow === undefined ? { notAsked: notAsked!, kernel } : { flow, kernel };
}

/** @param deciding the rule, counted from 1, that is told of in any case. */
function knownToKernel(pushed: readonly PushedRule[], deciding: number | null): KernelNotes {
  const { notes, more } = inShort(
    pushed,
    (a, b) => a.isPushed === b.isPushed && a.why === b.why,
    ({ isPushed, why }, place) => ({ ...place, isPushed, why }),
  );
  const isMissing = deciding !== null && deciding > pushed.length - more;
  return {
    rules: pushed.length,
    known: pushed.filter(({ isPushed }) => isPushed).length,
    notes: isMissing ? [...notes, { first: deciding, last: deciding, ...pushed[deciding - 1]! }] : notes,
    more: isMissing ? more - 1 : more,
  };
}

function isTrivial({ policy: { rules, otherwise, module }, upstreams }: RunConfig): boolean {
  const isBuiltIn = BUILT_IN_UPSTREAMS.some((one) => one.name === "direct" && upstreams.includes(one));
  return rules.length === 0 && module === undefined && otherwise === "direct" && isBuiltIn;
}

function whyNotAsked(
  { sidecar, dns }: RunConfig,
  { destinationPort }: Packet,
  { verdict, how, decidedBy }: Evaluation,
): string | undefined {
  if (verdict === "pass") {
    const isPolicys = decidedBy !== null && isPolicyChain(decidedBy.chain);
    return isPolicys ? undefined : "this packet is not taken";
  }
  if (verdict === "drop") return "this packet is dropped";
  if (how === "socket") return "it was, about the flow's first packet";
  if (sidecar !== null && verdict.taken.includes(sidecar.inboundPort)) {
    return "connections to the pod go to the pod, whatever it says";
  }
  const isAnswered = sidecar === null
    ? dns.length > 0 && destinationPort === DNS_PORT
    : sidecar.dns !== null && verdict.taken.includes(sidecar.dns.port);
  return isAnswered ? "resolvers of --dns answer, whatever it says" : undefined;
}

const DNS_PORT = 53;

async function destinyOf(question: RoutingQuestion): Promise<Destiny> {
  const { config, evaluation: { verdict }, placeOf } = question;
  const { policy, upstreams, groups } = config;
  const { rule, because, notBefore, to } = await explainChoice(config, describedFlow(question));
  const upstream = upstreams.find(({ name }) => name === to), group = groups.find(({ name }) => name === to);
  const members = group?.members ?? (upstream?.kind === "chain" ? upstream.hops : []);
  const place = await placeOf(rule === undefined ? "policy.default" : `rule[${rule + 1}]`);
  return {
    module: policy.module ?? null,
    notBefore: inShort(notBefore, (a, b) => a === b, (why, place) => ({ ...place, why })),
    rule: rule === undefined ? null : rule + 1,
    place: place === undefined ? null : `${place.file}:${place.line}`,
    because,
    to,
    kind: (group ?? upstream!).kind,
    what: group === undefined ? wayText(upstream!) : describeGroup(group),
    members: members.map((name) =>
      `${name}: ${describeUpstream(upstreams.find((one) => one.name === name)!)}`
    ),
    isPushedDown: verdict === "pass",
  };
}

function wayText(upstream: UpstreamConfig): string {
  const text = describeUpstream(upstream);
  if (upstream.kind === "direct") return text.replace("direct", "from this host");
  return upstream.kind === "block" ? text.replace("block", "nowhere") : text;
}

function describedFlow({ packet, dscp }: RoutingQuestion): DescribedFlow {
  const { protocol, source, sourcePort, destination, destinationPort, way } = packet;
  const endpoint = (address: string, port: number): Endpoint => ({ address: parseAddress(address)!, port });
  return {
    // Nothing else is taken.
    network: protocol === "tcp" ? "tcp" : "udp",
    source: endpoint(source, sourcePort),
    destination: endpoint(destination, destinationPort),
    interface: way.kind === "arriving" ? way.interface : undefined,
    uid: way.kind === "sent" ? way.owner?.uid : undefined,
    dscp,
  };
}

/** Neighbours that are the same become one, and of many the first are taken. */
export function inShort<T, Note extends RuleNote>(
  rules: readonly T[],
  areSame: (a: T, b: T) => boolean,
  noteOf: (rule: T, place: Pick<RuleNote, "first" | "last">) => Note,
): RuleNotes<Note> {
  const notes: Note[] = [];
  let first = 0;
  while (first < rules.length && notes.length < MOST_NOTES) {
    let end = first + 1;
    while (end < rules.length && areSame(rules[first]!, rules[end]!)) end++;
    notes.push(noteOf(rules[first]!, { first: first + 1, last: end }));
    first = end;
  }
  return { notes, more: rules.length - first };
}

/** The explanation as lines of text. */
export function renderRouting({ flow, notAsked, kernel }: RoutingExplanation): string[] {
  return [
    ...(flow === undefined ? [`The policy is not asked: ${notAsked}.`] : renderDestiny(flow)),
    ...(kernel.notes.length === 0
      ? []
      : ["", `Rules of the policy in the kernel, ${kernel.known} of ${kernel.rules}:`]),
    ...kernel.notes.map((note) =>
      `  ${rulesText(note)}: ${note.isPushed ? "there" : "not there"}, ${note.why}`
    ),
    ...moreText(kernel, ""),
  ];
}

function renderDestiny(flow: Destiny): string[] {
  const { module, notBefore, rule, place, because, to, what, members, isPushedDown } = flow;
  const where = place === null ? "" : ` (${place})`;
  const who = rule === null ? `the default${where}` : `rule ${rule}${where}`;
  return [
    "The policy:",
    ...(module === null
      ? []
      : [`  ${module} is asked first, and not by this command; where it leaves it to the rules:`]),
    ...notBefore.notes.map((note) =>
      `  ${rulesText(note)} ${note.first === note.last ? "does" : "do"} not decide: ${note.why}`
    ),
    ...moreText(notBefore, " do not decide"),
    `  ${who} decides: ${because}`,
    isPushedDown
      ? `By ${to}, and the kernel does that itself: it lets the packet pass, and no proxy sees the flow.`
      : `It leaves by ${to}: ${what}${members.length === 0 ? "." : ":"}`,
    ...members.map((member, i) => `  ${i + 1}. ${member}`),
  ];
}

function moreText({ more }: RuleNotes, what: string): string[] {
  return more === 0 ? [] : [`  and ${more} more${what}`];
}

function rulesText({ first, last }: RuleNote): string {
  return first === last ? `rule ${first}` : `rules ${first} to ${last}`;
}
