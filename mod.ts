/**
 * Pellucid: a transparent proxy for Linux, as a library and (as main) as a command line.
 *
 * ```ts
 * import { App, defaultRunConfig } from "./mod.ts";
 *
 * const app = new App({ ...defaultRunConfig(), from: ["eth1"] }, (event) => console.log(event));
 * await app.start();
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
  StartError,
  type StartErrorCode,
} from "./control/mod.ts";
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
