/**
 * From the configuration to the plan for the kernel.
 *
 * @module
 */
import type { RunConfig } from "../config/mod.ts";
import { mergePortRanges } from "../net/mod.ts";
import { buildPlan } from "../nft/build_plan.ts";
import { checkPlan } from "../nft/check_plan.ts";
import { DEFAULT_KERNEL_NUMBERS, type Plan } from "../nft/plan.ts";
import { listInterfaces } from "./interfaces.ts";
import { StartError } from "./start_error.ts";

/**
 * The plan that carries out `config`, checked. Asks the host for its interfaces where answers to kept client
 * addresses could come in by any of them.
 *
 * @throws {StartError} when the plan breaks an invariant that the configuration's own check does not know.
 */
export function planFor(config: RunConfig): Plan {
  const { tcp, udp, from, local, port, workers, source } = config;
  const others = source === "keep"
    ? listInterfaces().filter((name) => name !== "lo" && !from.includes(name))
    : [];
  const plan = buildPlan({
    ...DEFAULT_KERNEL_NUMBERS,
    tcp,
    udp,
    udpPorts: mergePortRanges(config.udpPorts),
    udpWorkers: workers,
    from,
    local,
    port,
    source,
    otherInterfaces: others,
  });
  const issues = checkPlan(plan);
  if (issues.length > 0) {
    throw new StartError(
      "rules-failed",
      `plan: ${issues.map((issue) => issue.message).join("; ")}`,
      "change the option that is named",
    );
  }
  return plan;
}

/** Whether the configuration names anything to intercept; with `rules: "none"` it need not. */
export function namesTraffic(config: RunConfig): boolean {
  return config.local || config.from.length > 0;
}

/** What is intercepted, in a few words. */
export function describeTraffic(config: RunConfig): string {
  const sources = [
    ...(config.from.length > 0 ? [`what arrives from ${config.from.join(", ")}`] : []),
    ...(config.local ? ["what this host sends"] : []),
  ];
  return sources.join(" and ");
}
