/**
 * The control plane: starts, supervises and stops the proxy, and reports what happens.
 *
 * @module
 */
export { App, type AppParts } from "./app.ts";
export {
  END_REASONS,
  END_SIDES,
  type EndReason,
  type EndSide,
  type FlowEnd,
} from "../dataplane/flow_ring.ts";
export { type CounterName, COUNTERS } from "../dataplane/stats.ts";
export { ControlSocket } from "./control_socket.ts";
export * from "./events.ts";
export { type Interception } from "./interception.ts";
export { type Log, type LogOptions, openLog, writeStderrLine } from "./log.ts";
export { checkNamedFiles } from "./named_files.ts";
export { checkedPlan, planFor } from "./plan_for.ts";
export { type IntentSources, intentSources, resolveIntent } from "./resolve_intent.ts";
export { checkRouteMarks } from "./route_marks.ts";
export { explainRuleFailure, requireHost } from "./rule_failure.ts";
export { choose, chooseInPlace, describeRules } from "./rule_interception.ts";
export { refuseReload, type ReloadOutcome, type TellIssues } from "./reload.ts";
export { onStopSignals } from "./signals.ts";
export { StartError, type StartErrorCode } from "./start_error.ts";
