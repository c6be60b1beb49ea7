/**
 * A plan's chains as nft chains: the text, comment and place of each, as render_nft.ts writes them and the backend
 * looks for them.
 *
 * @module
 */
import { ruleComment } from "./check_plan.ts";
import type { Marks } from "./intent.ts";
import { hex, ipWord, type MatchContext, matchedFamily, renderMatch } from "./nft_matches.ts";
import type { AddressSet, BaseChain, Chain, Match, Phase, Plan, Rule, Verdict } from "./plan.ts";

/** A chain as nft has it. */
export interface NftChain {
  readonly name: string;
  readonly why: string;
  /** Where it is hooked; undefined for one that rules lead to. */
  readonly place: NftPlace | undefined;
  readonly rules: readonly NftRule[];
}

/** Where on a packet's way, twice. */
export interface NftPlace {
  /** As a person writes it. */
  readonly text: string;
  /** As `nft -y` lists it. */
  readonly listed: string;
}

/** A rule as nft has it. */
export interface NftRule {
  /** Matches, counter and verdict. */
  readonly text: string;
  readonly comment: string;
  /** The plan's rule that its counter is of; undefined for one that only helps. */
  readonly counts: { readonly chain: string; readonly rule: string } | undefined;
}

/** Never another one: after a reload every client must still be with the worker that it was with. */
const SPREAD_SEED = "0x70656c6c";

/** In family inet nft has names for some of these only, and not at every hook. */
const PRIORITIES = {
  raw: { text: "raw", number: -300 },
  mangle: { text: "mangle", number: -150 },
  dstnat: { text: "-100", number: -100 },
  filter: { text: "filter", number: 0 },
} as const;

/** The chains of a plan in a phase, in order. */
export function nftChains(plan: Plan, phase: Phase): NftChain[] {
  const context = { marks: plan.intent.marks, sets: plan.sets };
  return plan.chains.flatMap((chain) => {
    const rules = rulesDuring(chain, phase);
    const further = rules.flatMap((rule) => socketChain(chain, rule, context));
    return [{
      name: chain.name,
      why: chain.why,
      place: chain.hook === "none" ? undefined : place(chain),
      rules: [
        ...(chain.hook === "none" || rules.length === 0 ? [] : scope(chain)),
        ...rules.map((rule) => nftRule(chain, rule, context)),
      ],
    }, ...further];
  });
}

/** The sets that rules ask for in that phase; there is no need for the others. */
export function setsAskedFor(plan: Plan, phase: Phase): AddressSet[] {
  const names = new Set(
    plan.chains.flatMap((chain) => rulesDuring(chain, phase)).flatMap(({ matches }) => matches)
      .flatMap((match) => match.kind === "addressSet" ? [match.set] : []),
  );
  return plan.sets.filter(({ name }) => names.has(name));
}

function rulesDuring(chain: Chain, phase: Phase): Rule[] {
  return chain.rules.filter((rule) => phase === "intercept" || rule.during === "always");
}

function place({ type, hook, priority }: BaseChain): NftPlace {
  const at = (value: string | number) => `type ${type} hook ${hook} priority ${value}`;
  return { text: at(PRIORITIES[priority].text), listed: at(PRIORITIES[priority].number) };
}

/** The rule that stands for a chain's `interfaces`. */
function scope({ interfaces }: BaseChain): NftRule[] {
  if (interfaces === "any") return [];
  const names = interfaces.map((name) => `"${name}"`);
  const set = names.length === 1 ? names[0] : `{ ${names.join(", ")} }`;
  // As many names as a comment holds.
  const which = names.length <= 4 ? interfaces.join(", ") : `these ${names.length} interfaces`;
  return [{
    text: `iifname != ${set} accept`,
    comment: `scope: only what comes in by ${which}`,
    counts: undefined,
  }];
}

function nftRule(chain: Chain, rule: Rule, context: MatchContext): NftRule {
  const matches = rule.matches.map((match) => renderMatch(match, context));
  const comment = ruleComment(rule);
  if (asksForTransparent(rule)) {
    return {
      text: [...matches, `jump ${socketChainName(chain, rule)}`].join(" "),
      comment,
      counts: undefined,
    };
  }
  return deciding(chain, rule, rule.matches, context);
}

/**
 * Where a rule for transparent sockets leads: nft calls a listener on every address transparent too, and to ask for
 * `wildcard 0` in the rule itself would leave out the sockets that the kernel keeps in brief, of which it does not
 * know. So a chain sends back what belongs to such a listener and decides the rest.
 */
function socketChain(chain: Chain, rule: Rule, context: MatchContext): NftChain[] {
  if (!asksForTransparent(rule)) return [];
  // `tproxy` wants the transport protocol named in its own rule.
  const matches = rule.verdict.kind === "tproxy" || rule.verdict.kind === "tproxyDatagram"
    ? rule.matches
    : [];
  return [{
    name: socketChainName(chain, rule),
    why: `What rule ${rule.id} of ${chain.name} decides.`,
    place: undefined,
    rules: [
      {
        text: "socket wildcard 1 return",
        comment: "listener: a listener on every address is not this packet's socket",
        counts: undefined,
      },
      deciding(chain, rule, matches, context),
    ],
  }];
}

function asksForTransparent({ matches }: Rule): boolean {
  return matches.some((match) => match.kind === "socket" && match.property === "transparent");
}

/** No plan's chain has a dot in its name. */
function socketChainName(chain: Chain, rule: Rule): string {
  return `${chain.name}.${rule.id}`;
}

function deciding(chain: Chain, rule: Rule, matches: readonly Match[], context: MatchContext): NftRule {
  // Counted after the matches and before what may end the rule: so it tells what the rule has met.
  const parts = [
    ...matches.map((match) => renderMatch(match, context)),
    "counter",
    renderVerdict(rule, context),
  ];
  return { text: parts.join(" "), comment: ruleComment(rule), counts: { chain: chain.name, rule: rule.id } };
}

function renderVerdict(rule: Rule, context: MatchContext): string {
  const { verdict } = rule, { marks } = context;
  switch (verdict.kind) {
    case "pass":
      return "accept";
    case "drop":
      return "drop";
    // tproxy ends the rule when there is no listener, so the marks come after it: the packet then goes on unmarked.
    // The other order would send it to lo, where nobody listens.
    case "tproxy": {
      const flow = verdict.remember ? ` ${mark("ct", marks.mask, marks.intercept)}` : "";
      return `${tproxyTo(rule, verdict.port, context)} ${
        mark("meta", marks.mask, marks.intercept)
      }${flow} accept`;
    }
    case "tproxyDatagram": {
      const bits = verdict.whole === null ? marks.intercept : marks.intercept | marks.dontFragment;
      return [
        tproxyTo(rule, verdict.port, context),
        mark("meta", marks.mask | marks.dontFragment, bits),
        mark("ct", marks.mask, marks.intercept),
        "accept",
      ].join(" ");
    }
    case "redirect":
      return `redirect to :${verdict.port}`;
    case "intercept":
      return renderIntercept(verdict, marks);
    case "zone":
      return `ct zone set ${verdict.zone} accept`;
    case "untrack":
      return "notrack accept";
    case "goto":
      return `goto ${verdict.chain}`;
    case "spread": {
      const map = verdict.chains.map((chain, i) => `${i} : goto ${chain}`).join(", ");
      return `jhash ${
        ipWord(verdict.family)
      } saddr . udp sport mod ${verdict.chains.length} seed ${SPREAD_SEED} ` +
        `vmap { ${map} }`;
    }
  }
}

/** nft must be told a family where the matches name one. */
function tproxyTo(rule: Rule, port: number, context: MatchContext): string {
  const whole = rule.verdict.kind === "tproxyDatagram" ? rule.verdict.whole : null;
  const family = matchedFamily(rule.matches, context) ?? whole;
  return `tproxy ${family === null ? "" : `${ipWord(family)} `}to :${port}`;
}

function renderIntercept({ remember, fromHere }: Verdict & { kind: "intercept" }, marks: Marks): string {
  const bit = fromHere ? marks.fromHere : 0;
  const flow = remember ? `${mark("ct", marks.mask, marks.intercept)} ` : "";
  return `${flow}${mark("meta", marks.mask | bit, marks.intercept | bit)} accept`;
}

/** Other programs' bits of the mark stay as they are. */
function mark(of: "meta" | "ct", mask: number, value: number): string {
  return `${of} mark set ${of} mark & ${hex(~mask)} | ${hex(value)}`;
}
