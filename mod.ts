/**
 * Pellucid: a transparent proxy for Linux, as a library and (as main) as a command line.
 *
 * ```ts
 * import { intercept } from "./mod.ts";
 *
 * await using proxy = await intercept({ from: ["eth1"] }, { onEvent: (event) => console.log(event) });
 * ```
 *
 * @module
 */
export * from "./config/mod.ts";
export {
  App,
  type AppEvent,
  type AppEventName,
  type AppEvents,
  type AppParts,
  type CounterName,
  COUNTERS,
  END_REASONS,
  END_SIDES,
  type EndReason,
  type EndSide,
  type EventSink,
  type FlowEnd,
  type Interception,
  planFor,
  type ReadyLeg,
  type ReloadOutcome,
  StartError,
  type StartErrorCode,
  type TellIssues,
} from "./control/mod.ts";
export * from "./control/intercept.ts";
export type { InterceptionChange } from "./control/interception.ts";
export * from "./net/mod.ts";
export {
  buildPlan,
  checkPlan,
  DEFAULT_KERNEL_NUMBERS,
  type Hold,
  type OldSysctl,
  type PlanIssue,
  renderNft,
  renderRoutes,
  type RouteCommand,
} from "./nft/mod.ts";
export type * from "./nft/intent.ts";
export type * from "./nft/plan.ts";

if (import.meta.main) {
  const { main } = await import("./cli/main.ts");
  Deno.exit(await main(Deno.args));
}
