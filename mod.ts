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
export { App, type AppEvent, type AppEventName, type AppEvents, type AppParts } from "./control/mod.ts";
export { type EventSink, type Interception, StartError, type StartErrorCode } from "./control/mod.ts";
export type { EndReason, EndSide, FlowEnd } from "./dataplane/flow_ring.ts";
export type { CounterName } from "./dataplane/stats.ts";
export * from "./net/mod.ts";
export * from "./nft/mod.ts";

if (import.meta.main) {
  const { main } = await import("./cli/main.ts");
  Deno.exit(await main(Deno.args));
}
