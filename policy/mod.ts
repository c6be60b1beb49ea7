/**
 * Which way flows leave: ordered rules, compiled by the control plane and asked by the workers.
 *
 * @module
 */
export { compilePolicy } from "./compile_policy.ts";
export { type AskedFlow, explainPolicy, type PolicyExplanation } from "./explain_policy.ts";
export { type AskedFacts, PolicyTable } from "./policy_table.ts";
export { NO_FILTERS, type PolicyRule } from "./rule.ts";
