/**
 * What tells that something in the kernel is ours: what it says of itself, and the names of chains. Strict, because
 * what is ours is removed: somebody else's rule may well speak of us, or have a chain whose name begins as ours do.
 *
 * @module
 */
import { COMMENT_PREFIX, parseState, type RulesState } from "./state_comment.ts";

/** content_hash.ts; what is claimed has none. */
const HASH = /^[0-9a-f]{16}$/;

/** What `comment` says of rules of ours; undefined when it is not one that we write. */
export function ownState(comment: string): RulesState | undefined {
  const state = comment.startsWith(`${COMMENT_PREFIX} `) ? parseState(comment) : undefined;
  return state?.hash === undefined || HASH.test(state.hash) ? state : undefined;
}

/** The same for iptables jumps, as far as grep -E and sed -E need to know; without the slashes, which end it there. */
export const STATE_PATTERN =
  `${COMMENT_PREFIX} (intercept|drain) [0-9a-f]{16}( closed)?( by [^ "]+)?( sysctl [^"]*)?`;

/** `_i`: the rules of a chain that is for some interfaces alone (render_iptables.ts). */
const PLAN_CHAINS = [
  "(keep_out|keep_in|keep_answers|redirect_in|redirect_out|redirect_closed|tproxy_in|tproxy_out)",
  "(tcp_take|tcp_in|tcp_out|udp_in|udp_out|udp_untracked|udp_steer|udp_worker_[0-9]+)",
  "(side_valid|side_in|side_out|side_nat_in|side_nat_out|side_dns_in|side_dns_out)",
  "side_(self|in_take|in_port|in_new)",
  "(tcp_in|tcp_out|udp_in|udp_out|virt)_(new|pass|take|mark|port|src|dst|mac|if|uid|gid|cg)",
];

/** What verdicts need (iptables_verdicts.ts). */
const VERDICT_CHAINS = [
  "TAKE(_FLOW)?(_HERE)?",
  "(TPROXY|WHOLE|UDP)_[0-9]+",
  "ZONE_[0-9]+(_0)?",
  "UNTRACK",
];

/** The chains that plans have on iptables, by what follows the table's name and `_`; for grep -E and sed -E too. */
export const CHAIN_PATTERN = `(${[`(${PLAN_CHAINS.join("|")})(_i)?`, ...VERDICT_CHAINS].join("|")})`;

const CHAIN = new RegExp(`^${CHAIN_PATTERN}$`);

/** Whether a plan of ours can have that chain on iptables under that table name. */
export function isOwnChainName(name: string, tableName: string): boolean {
  return name.startsWith(`${tableName}_`) && CHAIN.test(name.slice(tableName.length + 1));
}
