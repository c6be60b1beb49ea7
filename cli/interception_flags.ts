/**
 * The flags that say what is intercepted: those of `run` that the `rules` commands understand too.
 *
 * @module
 */
import { defaultRunConfig, type RunConfig } from "../config/mod.ts";
import { choice, type FlagValues, list, toggle, whole } from "./flag.ts";

const defaults = defaultRunConfig();

/** What is intercepted and where it goes. */
export const INTERCEPTION_FLAGS = {
  tcp: choice(
    ["tproxy", "redirect", "off"],
    defaults.tcp,
    "how TCP is intercepted; off is refused: nothing else can be intercepted yet",
  ),
  from: list("IFACE", "intercept what is forwarded from this interface; may be given again"),
  local: toggle("intercept connections that this host itself opens"),
  port: whole(defaults.port, "port of the listeners, on every address"),
  source: choice(
    ["own", "keep"],
    defaults.source,
    "source address towards destinations: this host's own, or keep the client's",
  ),
};

/** The configuration that these flags alone describe. */
export function interceptionConfig(values: FlagValues<typeof INTERCEPTION_FLAGS>): RunConfig {
  const { tcp, from, local, port, source } = values;
  return { ...defaultRunConfig(), tcp, from, local, port, source };
}
