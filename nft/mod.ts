/**
 * From what the user wants intercepted to rules in the kernel, and back: intent → plan → check → nft text and
 * `ip` commands → apply → verify → revert.
 *
 * @module
 */
export * from "./apply.ts";
export * from "./build_plan.ts";
export { checkPlan, type PlanIssue } from "./check_plan.ts";
export { type BackendChoice, chooseBackend, findBackendInPlace } from "./choose_backend.ts";
export * from "./cleanup.ts";
export * from "./detect.ts";
export * from "./exec.ts";
export { type HostChange, HostChanges } from "./host_changes.ts";
export * from "./intent.ts";
export * from "./plan.ts";
export type { Backend, BackendName, Difference, Hold, RuleCounter } from "./backend.ts";
export { NftBackend } from "./nft_backend.ts";
export { renderNft } from "./render_nft.ts";
export { BACKENDS, openBackend } from "./open_backend.ts";
export { renderRoutes, type RouteCommand } from "./render_route.ts";
export * from "./rule_apply_error.ts";
export { shellLine } from "./shell_word.ts";
export type { OldSysctl } from "./sysctls.ts";
export { planForHost, verifyPlan } from "./verify.ts";
