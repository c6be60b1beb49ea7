/**
 * What the `rules` commands understand beside what is intercepted.
 *
 * @module
 */
import { choice, toggle } from "./flag.ts";

/** Of `rules render`. */
export const RENDER_FLAGS = {
  format: choice(
    ["script", "nft", "iptables", "route", "json"],
    "script",
    "a shell script that stands alone, with its undoing; or the text for one tool; or the plan itself",
  ),
};

/** Of `rules counters`. */
export const COUNTERS_FLAGS = { json: toggle("a line of JSON for each rule") };
