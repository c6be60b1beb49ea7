/**
 * The chain in which rules of the policy that the kernel can ask leave first packets alone, NAME_pass. It comes before
 * NAME_take, to which it sends everything else.
 *
 * @module
 */
import { type SetCollection, WRITTEN_OUT } from "./build_sets.ts";
import type { PolicyVerdict } from "./intent.ts";
import { first, incoming, protocol, toPorts } from "./matches.ts";
import type { InnerChain, Match, Rule } from "./plan.ts";

/** What such a chain is made from. */
export interface PolicyRequest {
  readonly chain: string;
  readonly verdicts: readonly PolicyVerdict[];
  readonly sets: SetCollection;
  /** Whose packets, as for the selectors. */
  readonly way: "in" | "out";
  readonly protocol: "tcp" | "udp";
  /** Where the packets go that are taken. */
  readonly take: string;
}

const SUFFIX = "_pass";

/** Name of the chain before NAME_take. */
export function policyChainName(name: string): string {
  return name + SUFFIX;
}

/** Whether a chain is one of a policy's. */
export function isPolicyChain(chain: string): boolean {
  return chain.endsWith(SUFFIX);
}

/** undefined: none of the packets is left alone. */
export function policyChain(request: PolicyRequest): InnerChain | undefined {
  const { chain, verdicts, take } = request;
  const asked = verdicts.filter((verdict) => mayName(request, verdict));
  const last = asked.findLastIndex(({ verdict }) => verdict === "pass");
  if (last < 0) return undefined;
  return {
    name: chain,
    hook: "none",
    why: "First packets that the policy lets leave from here as they are.",
    rules: [
      ...asked.slice(0, last + 1).flatMap((verdict) => rulesOf(request, verdict)),
      first(
        "others",
        [protocol(request.protocol)],
        { kind: "goto", chain: take },
        "the policy decides about them here",
      ),
    ],
  };
}

/** How many rules a verdict becomes at most in one chain. */
export function countPolicyRules({ destinations, sources, incoming, uids }: PolicyVerdict): number {
  const isV6 = (text: string) => text.includes(":");
  const matches = (prefixes: readonly string[] | null, v6: boolean) => {
    if (prefixes === null) return undefined;
    const count = prefixes.filter((text) => isV6(text) === v6).length;
    return count <= WRITTEN_OUT ? count : 1;
  };
  const addresses = destinations === null && sources === null ? 1 : [false, true].reduce(
    (sum, v6) => sum + (matches(destinations, v6) ?? 1) * (matches(sources, v6) ?? 1),
    0,
  );
  return addresses * (incoming?.length ?? 1) * (uids?.length ?? 1);
}

function mayName({ way, protocol }: PolicyRequest, { network, incoming, uids }: PolicyVerdict): boolean {
  return (network ?? protocol) === protocol && (way === "in" ? uids : incoming) === null;
}

function rulesOf({ sets, protocol: name, take }: PolicyRequest, given: PolicyVerdict): Rule[] {
  const ports: Match[] = [];
  if (given.destinationPorts !== null) ports.push(toPorts(name, given.destinationPorts));
  if (given.sourcePorts !== null) {
    ports.push({ kind: "ports", protocol: name, side: "source", ports: given.sourcePorts });
  }
  const alternatives = both(
    both(
      each(given.incoming, incoming),
      each(given.uids, (ids): Match => ({ kind: "owner", of: "uid", ids })),
    ),
    addressesOf(sets, given).map((addresses) => [...ports, ...addresses]),
  );
  const verdict = given.verdict === "pass"
    ? { kind: "pass" } as const
    : { kind: "goto", chain: take } as const;
  return alternatives.map((matches, i) =>
    first(alternatives.length === 1 ? given.id : `${given.id}-${i + 1}`, matches, verdict, given.why)
  );
}

/** Matches for each pair of a destination and a source of the same family. */
function addressesOf(sets: SetCollection, { destinations, sources }: PolicyVerdict): Match[][] {
  const to = destinations && sets.matches("dst_to", destinations, "Destinations of a rule of the policy.");
  const from = sources && sets.matches("src_to", sources, "Sources of a rule of the policy.");
  return both(each(to, (match) => match), each(from, (match) => match)).filter((matches) =>
    new Set(matches.map((match) => sets.familyOf(match))).size <= 1
  );
}

/** Alternatives, of which each is to be asked in a rule of its own; null: one that asks nothing. */
function each<T>(items: readonly T[] | null, toMatch: (item: T) => Match): Match[][] {
  return items === null ? [[]] : items.map((item) => [toMatch(item)]);
}

/** One of these and one of those. */
function both(these: readonly Match[][], those: readonly Match[][]): Match[][] {
  return these.flatMap((one) => those.map((other) => [...one, ...other]));
}
