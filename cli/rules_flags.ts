/**
 * What the `rules` commands understand beside what is intercepted.
 *
 * @module
 */
import type { ConfigIssue } from "../config/mod.ts";
import { choice, type FlagValues, toggle } from "./flag.ts";
import { checkInterceptionFlags, type InterceptionValues } from "./interception_flags.ts";

/** Of `rules render`. */
export const RENDER_FLAGS = {
  format: choice(
    ["script", "nft", "iptables", "route", "json"],
    "script",
    "a shell script that stands alone, with its undoing; or the text for one tool; or the plan itself",
  ),
};

/** What `rules render` is told. */
export type RenderValues = InterceptionValues & FlagValues<typeof RENDER_FLAGS>;

/** What makes no sense about the flags of `rules render`. */
export function checkRender(values: RenderValues): ConfigIssue[] {
  const { format, rules } = values;
  const issues = checkInterceptionFlags(values);
  const isText = format === "nft" || format === "iptables";
  if (isText && rules !== "auto" && rules.startsWith("iptables") !== (format === "iptables")) {
    issues.push({ path: "--format, --rules", found: `${format} and ${rules}`, wanted: "one tool" });
  }
  return issues;
}

/** Of `rules cleanup`. */
export const CLEANUP_FLAGS = {
  "if-open": toggle("leave alone what is to be there without a proxy: --on-proxy-down closed, `rules apply`"),
};

/** Of `rules counters`. */
export const COUNTERS_FLAGS = { json: toggle("a line of JSON for each rule") };
