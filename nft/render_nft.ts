/**
 * Plan → nft text. Pure; the syntax of nft is known here and nowhere else but in table_listing.ts, which reads
 * nft's own listing.
 *
 * The text replaces whatever table of the same name is there, in one transaction. Its table comment names us
 * and carries a hash of the rest, which is how a later process knows the table and what it holds: nft does not
 * print rules back as they were written.
 *
 * @module
 */
import { formatPortRange } from "../net/port_range.ts";
import { ruleComment } from "./check_plan.ts";
import type { BaseChain, Chain, Marks, Match, Phase, Plan, Rule, Verdict } from "./plan.ts";

/** `owner`: the table belongs to the nft process that made it and ends with it. `plain`: it stays. */
export type Hold = "owner" | "plain";

/** First word of the comment of every table of ours. */
export const TABLE_COMMENT_PREFIX = "pellucid:";

/** Never another one: after a reload every client must still be with the worker that it was with. */
const SPREAD_SEED = "0x70656c6c";

const PRIORITY = { raw: "raw", mangle: "mangle", dstnat: "-100" } as const;

/**
 * The whole text for `nft -f -`; empty when the plan has no chains.
 *
 * @param claimed the process that loads the text owns the table already; a drain follows upon that.
 */
export function renderNft(
  plan: Plan,
  phase: Phase,
  hold: Hold,
  claimed: boolean = phase === "drain" && hold === "owner",
): string {
  if (plan.chains.length === 0) return "";
  const name = plan.intent.tableName;
  const lines = [
    // A table must exist to be deleted, so it is made first; but who owns one already may not make it again.
    ...(claimed ? [] : [`table inet ${name}`]),
    `delete table inet ${name}`,
    `table inet ${name} {`,
    ...(hold === "owner" ? ["\tflags owner"] : []),
    `\tcomment "${tableComment(plan, phase)}"`,
    renderChains(plan, phase),
    "}",
    "",
  ];
  return lines.join("\n");
}

/**
 * Text that makes the table, without rules, the property of the nft process that loads it.
 *
 * @param comment from {@linkcode claimComment}.
 * @param claimed it is so already, with rules.
 */
export function renderClaim(tableName: string, comment: string, claimed: boolean): string {
  return [
    ...(claimed ? [] : [`table inet ${tableName}`]),
    `delete table inet ${tableName}`,
    `table inet ${tableName} {`,
    "\tflags owner",
    `\tcomment "${comment}"`,
    "}",
    "",
  ].join("\n");
}

/** Comment of a table that has an owner and no rules: not yet, or not any more. `token` tells owners apart. */
export function claimComment(token: string): string {
  return `${TABLE_COMMENT_PREFIX} claimed ${token}`;
}

/** The comment of the table of this plan in this phase: who made it, and a hash of its chains. */
export function tableComment(plan: Plan, phase: Phase): string {
  return `${TABLE_COMMENT_PREFIX} ${phase} ${fnv1a64(renderChains(plan, phase))}`;
}

/** Comments of a chain's rules, in order, as they come back in nft's listing. */
export function chainComments(chain: Chain, phase: Phase): string[] {
  return rulesDuring(chain, phase).map(ruleComment);
}

function rulesDuring(chain: Chain, phase: Phase): readonly Rule[] {
  const rules = chain.rules.filter((rule) => phase === "intercept" || rule.during === "always");
  if (chain.hook === "none" || chain.interfaces === "any" || rules.length === 0) return rules;
  return [{ ...SCOPE, why: `only what comes in by ${scopeText(chain.interfaces)}` }, ...rules];
}

/** The rule that stands for a chain's `interfaces`; its match is written by {@linkcode renderRule}. */
const SCOPE: Omit<Rule, "why"> = { id: "scope", during: "always", matches: [], verdict: { kind: "pass" } };

/** Names as far as a comment holds them. */
function scopeText(interfaces: readonly string[]): string {
  return interfaces.length <= 4 ? interfaces.join(", ") : `these ${interfaces.length} interfaces`;
}

function renderChains(plan: Plan, phase: Phase): string {
  return plan.chains.map((chain) => renderChain(chain, phase, plan.intent.marks)).join("\n");
}

function renderChain(chain: Chain, phase: Phase, marks: Marks): string {
  const lines = [
    `\t# ${chain.why}`,
    `\tchain ${chain.name} {`,
    ...(chain.hook === "none" ? [] : [place(chain)]),
    ...rulesDuring(chain, phase).map((rule) => `\t\t${renderRule(rule, chain, marks)}`),
    "\t}",
  ];
  return lines.join("\n");
}

function place({ type, hook, priority }: BaseChain): string {
  return `\t\ttype ${type} hook ${hook} priority ${PRIORITY[priority]}; policy accept;`;
}

function renderRule(rule: Rule, chain: Chain, marks: Marks): string {
  const matches = rule.id === SCOPE.id && chain.hook !== "none" && chain.interfaces !== "any"
    ? [`iifname != ${nameSet(chain.interfaces)}`]
    : rule.matches.map((match) => renderMatch(match, marks));
  return [...matches, renderVerdict(rule.verdict, marks), `comment "${ruleComment(rule)}"`].join(" ");
}

function nameSet(names: readonly string[]): string {
  return names.length === 1 ? `"${names[0]}"` : `{ ${names.map((name) => `"${name}"`).join(", ")} }`;
}

const PROTOCOLS = { tcp: "tcp", udp: "udp", tcpOrUdp: "{ tcp, udp }", icmp: "{ icmp, ipv6-icmp }" } as const;
const MARK_EXPRESSION = { packet: "meta mark", flow: "ct mark", socket: "socket mark" } as const;

function renderMatch(match: Match, marks: Marks): string {
  switch (match.kind) {
    case "family":
      return `meta nfproto ${match.family === 4 ? "ipv4" : "ipv6"}`;
    case "protocol":
      return `meta l4proto ${PROTOCOLS[match.protocol]}`;
    case "tcpFirst":
      return "tcp flags & (fin | syn | rst | ack) == syn";
    case "udpPorts":
      return `udp dport { ${match.ports.map(formatPortRange).join(", ")} }`;
    case "dontFragment":
      return "ip frag-off & 0x4000 != 0";
    case "destinationHere":
      return "fib daddr type { local, broadcast, anycast, multicast }";
    case "destinationIn":
      return `${match.family === 4 ? "ip" : "ip6"} daddr ${match.prefix}`;
    case "incoming":
      return `iifname "${match.interface}"`;
    case "outgoing":
      return `oifname "${match.interface}"`;
    case "mark": {
      const sign = match.negate ? "!=" : "==";
      return `${MARK_EXPRESSION[match.of]} & ${hex(marks.mask)} ${sign} ${hex(match.value)}`;
    }
    case "foreignMark":
      return `meta mark & ${hex(~(marks.mask | marks.dontFragment) >>> 0)} != 0x00000000`;
    case "socket":
      return `socket ${match.property} 1`;
    case "flowOriginal":
      return "ct direction original";
    case "flowSeen":
      return "ct status confirmed";
    case "flowNew":
      return "ct state new";
  }
}

function renderVerdict(verdict: Verdict, marks: Marks): string {
  switch (verdict.kind) {
    case "pass":
      return "accept";
    case "tproxy":
      // tproxy ends the rule when there is no listener, so the mark comes after it: the packet then goes on
      // unmarked. The other order would send it to lo, where nobody listens.
      return `tproxy to :${verdict.port} ${mark("meta", marks.mask, marks.intercept)} accept`;
    case "tproxyDatagram": {
      const bits = marks.intercept + (verdict.whole === null ? 0 : marks.dontFragment);
      // nft must be told a family where the matches name one.
      return `tproxy ${
        verdict.whole === null ? "" : verdict.whole === 4 ? "ip " : "ip6 "
      }to :${verdict.port} ` +
        `${mark("meta", marks.mask + marks.dontFragment, bits)} ${
          mark("ct", marks.mask, marks.intercept)
        } accept`;
    }
    case "redirect":
      return `redirect to :${verdict.port}`;
    case "intercept": {
      const flow = verdict.remember ? `${mark("ct", marks.mask, marks.intercept)} ` : "";
      return `${flow}${mark("meta", marks.mask, marks.intercept)} accept`;
    }
    case "zone":
      return `ct zone set ${verdict.zone}`;
    case "untrack":
      return "notrack accept";
    case "goto":
      return `goto ${verdict.chain}`;
    case "spread": {
      const source = verdict.family === 4 ? "ip saddr" : "ip6 saddr";
      const map = verdict.chains.map((chain, i) => `${i} : goto ${chain}`).join(", ");
      return `jhash ${source} . udp sport mod ${verdict.chains.length} seed ${SPREAD_SEED} vmap { ${map} }`;
    }
  }
}

/** Other programs' bits of the mark stay as they are. */
function mark(of: "meta" | "ct", mask: number, value: number): string {
  return `${of} mark set ${of} mark & ${hex(~mask >>> 0)} | ${hex(value)}`;
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, "0")}`;
}

/** FNV-1a, 64 bits: tells two plans apart; nobody gains by forging it, since the host is theirs already. */
function fnv1a64(text: string): string {
  let hash = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(text)) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  }
  return hash.toString(16).padStart(16, "0");
}
