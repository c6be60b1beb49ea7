/**
 * The chains that choose which first packets are taken.
 *
 * A packet comes to NAME_new. Rules there leave alone what is excluded. What is included is asked in a chain for each
 * filter that includes something, NAME_src, NAME_dst and so on: a rule for each item sends the packet on to the next
 * chain, and a packet that no rule sends on is left alone, since a chain that ends decides nothing. In NAME_pass the
 * policy may leave it alone, see build_policy.ts. The last chain, NAME_take, takes it. So no rule needs a negation,
 * which no tool has for lists, and an exclusion always wins.
 *
 * @module
 */
import type { PortRange } from "../net/port_range.ts";
import { policyChain, policyChainName } from "./build_policy.ts";
import type { SetCollection } from "./build_sets.ts";
import type { InterceptIntent, Selectors } from "./intent.ts";
import { first, protocol, spared, toPorts } from "./matches.ts";
import type { InnerChain, Match, Rule } from "./plan.ts";

/** What a selection is made from. */
export interface SelectionRequest {
  /** Beginning of the names of its chains, at most 12 bytes. */
  readonly name: string;
  readonly intent: InterceptIntent;
  readonly sets: SetCollection;
  /** Whose packets: sent here, or come in; each has selectors that the other lacks. */
  readonly way: "in" | "out";
  readonly protocol: "tcp" | "udp";
  /** What is left alone whatever the selectors say. */
  readonly spared: readonly Rule[];
  /** Taken whatever addresses are included. */
  readonly ports?: readonly PortRange[];
  /** What happens to the packets that are chosen. */
  readonly take: readonly Rule[];
}

/** A filter, as far as it is asked of this selection's packets. */
interface Stage {
  readonly id: string;
  readonly what: string;
  readonly exclude: readonly Match[];
  readonly include: readonly Match[];
  /** Whether something is included, even if nothing that can be met here. */
  readonly asked: boolean;
}

/** Where to send first packets, and the chains that then decide. */
export function selection(
  request: SelectionRequest,
): { readonly entry: string; readonly chains: InnerChain[] } {
  const { name } = request;
  const stages = stagesOf(request);
  const asked = stages.filter((stage) => stage.asked);
  const take = `${name}_take`;
  const policy = policyChain({
    ...request,
    chain: policyChainName(name),
    verdicts: request.intent.policy,
    take,
  });
  const names = [...asked.map(({ id }) => `${name}_${id}`), policy?.name ?? take];
  const chains: InnerChain[] = [{
    name: `${name}_new`,
    hook: "none",
    why: "First packets: what is to be left alone.",
    rules: [
      ...request.spared,
      ...stages.flatMap(({ id, what, exclude }) =>
        exclude.map((match, i) => spared(numbered(`not-${id}`, i, exclude), [match], `excluded ${what}`))
      ),
      first("chosen", [protocol(request.protocol)], { kind: "goto", chain: names[0]! }, "what is left"),
    ],
  }];
  asked.forEach(({ id, what, include }, i) => {
    const verdict = { kind: "goto", chain: names[i + 1]! } as const;
    const ports = id === "dst" ? request.ports ?? [] : [];
    chains.push({
      name: names[i]!,
      hook: "none",
      why: `First packets: only included ${what}s go on.`,
      rules: [
        ...(ports.length === 0 ? [] : [
          first("ports", [toPorts(request.protocol, ports)], verdict, "included whatever the address"),
        ]),
        ...include.map((match, n) => first(numbered(id, n, include), [match], verdict, `included ${what}`)),
      ],
    });
  });
  if (policy !== undefined) chains.push(policy);
  chains.push({
    name: take,
    hook: "none",
    why: "First packets that were chosen.",
    rules: request.take,
  });
  return { entry: `${name}_new`, chains };
}

function numbered(id: string, index: number, of: readonly unknown[]): string {
  return of.length === 1 ? id : `${id}-${index + 1}`;
}

function stagesOf({ intent, sets, way, protocol: name }: SelectionRequest): Stage[] {
  const { select } = intent;
  const ports = name === "tcp" ? select.tcpPorts : select.udpPorts;
  const portMatches = (ranges: readonly PortRange[]) => ranges.length === 0 ? [] : [toPorts(name, ranges)];
  return [
    ...(way === "in" ? stagesIn(select) : stagesOut(select)),
    stage("mark", "mark", select.marks, (match): Match => ({ kind: "packetMark", match })),
    {
      id: "port",
      what: "port",
      exclude: portMatches(ports.exclude),
      include: portMatches(ports.include),
      asked: ports.include.length > 0,
    },
    addresses(sets, "src", "source address", select.sources),
    addresses(sets, "dst", "destination address", select.destinations),
  ];
}

function stagesIn({ macs }: Selectors): Stage[] {
  return [stage("mac", "sender", macs, (address): Match => ({ kind: "mac", address }))];
}

function stagesOut({ outgoing, uids, gids, cgroups }: Selectors): Stage[] {
  return [
    stage("if", "interface", outgoing, (name): Match => ({ kind: "outgoing", interface: name })),
    stage("uid", "user", uids, (ids): Match => ({ kind: "owner", of: "uid", ids })),
    stage("gid", "group", gids, (ids): Match => ({ kind: "owner", of: "gid", ids })),
    stage("cg", "cgroup", cgroups, (path): Match => ({ kind: "cgroup", path })),
  ];
}

function stage<T>(
  id: string,
  what: string,
  filter: { readonly include: readonly T[]; readonly exclude: readonly T[] },
  toMatch: (item: T) => Match,
): Stage {
  const { include, exclude } = filter;
  return {
    id,
    what,
    exclude: exclude.map(toMatch),
    include: include.map(toMatch),
    asked: include.length > 0,
  };
}

function addresses(
  sets: SetCollection,
  id: "src" | "dst",
  what: string,
  { include, exclude }: { readonly include: readonly string[]; readonly exclude: readonly string[] },
): Stage {
  return {
    id,
    what,
    exclude: sets.matches(`${id}_no`, exclude, `Excluded ${what}es.`),
    include: sets.matches(`${id}_in`, include, `Included ${what}es.`),
    asked: include.length > 0,
  };
}
