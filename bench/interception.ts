/**
 * The rules that hand traffic to a relay: for every contestant the very ones that Pellucid makes.
 *
 * @module
 */
import { buildPlan, type InterceptIntent, renderRoutes } from "../nft/mod.ts";
import { renderNft } from "../nft/render_nft.ts";
import { intentWith } from "../tests/fixtures/intents.ts";
import type { LabHost } from "../tests/lab/mod.ts";
import { LAN_INTERFACE } from "./bench_lab.ts";

/** Where every contestant listens. */
export const RELAY_PORT = 7870;

/** What is intercepted, and how. */
export type InterceptionModes = Pick<InterceptIntent, "tcp" | "udp">;

/** Makes `gateway` hand new connections and datagrams from its LAN to {@linkcode RELAY_PORT}. */
export async function intercept(gateway: LabHost, modes: InterceptionModes): Promise<void> {
  const plan = buildPlan(intentWith({ ...modes, from: [LAN_INTERFACE], port: RELAY_PORT }));
  for (const { argv } of renderRoutes(plan)) await gateway.output(argv);
  // A plain table: there is no process of ours that would hold an owner table.
  await gateway.output(["nft", "-f", "-"], { stdin: renderNft(plan, "intercept", "plain") });
}
