/**
 * Reads what the kernel says of a packet's way: `nft monitor trace` and `xtables-monitor --trace`. Pure.
 *
 * A rule is known by its comment, `ID: WHY`, and its chain; what is not of the plan is left out.
 *
 * @module
 */
import { ruleComment } from "../nft/check_plan.ts";
import type { RuleName } from "../nft/evaluation.ts";
import type { Plan } from "../nft/plan.ts";

/** The rules of `plan` that the traced packet met, in order. */
export function readTrace(lines: readonly string[], plan: Plan): RuleName[] {
  return lines.flatMap((line) => {
    const found = NFT_RULE.exec(line) ?? IPTABLES_RULE.exec(line);
    if (found === null) return [];
    const [, chain, comment] = found;
    return rulesOf(plan).filter((rule) => rule.comment === comment && isChain(chain!, rule.chain, plan))
      .slice(0, 1).map(({ chain, rule }) => ({ chain, rule }));
  });
}

/** `trace id 8fa48c6c inet TABLE CHAIN rule … comment "ID: WHY" (verdict …)` */
const NFT_RULE = /^trace id \S+ inet \S+ (\S+) rule .*comment "([^"]*)" \(verdict [^)]*\)$/;
/** ` TRACE: 2 af0799cb mangle:CHAIN:rule:0x2:… -4 -t mangle -A CHAIN … --comment "ID: WHY" …` */
const IPTABLES_RULE = /^ ?TRACE: \S+ \S+ \w+:([^:]+):rule:.*--comment "([^"]*)"/;

function rulesOf(plan: Plan): (RuleName & { comment: string })[] {
  return plan.chains.flatMap((chain) =>
    chain.rules.map((rule) => ({ chain: chain.name, rule: rule.id, comment: ruleComment(rule) }))
  );
}

/** iptables chains have the table's name in front, and the body of one for some interfaces is `…_i`. */
function isChain(found: string, name: string, { intent }: Plan): boolean {
  const own = `${intent.tableName}_${name}`;
  return found === name || found === own || found === `${own}_i`;
}
