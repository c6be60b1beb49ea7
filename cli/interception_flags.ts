/**
 * The flags that say what is intercepted: those of `run` that the `rules` commands understand too.
 *
 * @module
 */
import {
  checkInterception,
  type ConfigIssue,
  defaultRunConfig,
  type RulesMode,
  type RunConfig,
  sidecarRunConfig,
} from "../config/mod.ts";
import { choice, type FlagValues, list, toggle, whole } from "./flag.ts";
import { endpoints, INTERFACES } from "../config/network_value.ts";
import { SELECTOR_FLAGS, selectorConfig } from "./selector_flags.ts";
import { checkSidecarFlags, SIDECAR_FLAGS, sidecarConfig } from "./sidecar_flags.ts";
import { checkUpstreamFlags, routingConfig, UPSTREAM_FLAGS, type UpstreamValues } from "./upstream_flags.ts";

const defaults = defaultRunConfig();
const sidecarDefaults = sidecarRunConfig();

/** What is intercepted and where it goes. */
export const INTERCEPTION_FLAGS = {
  from: list(
    INTERFACES,
    "intercept what is forwarded from this interface; a pattern such as br-* means those there are and those to " +
      "come, * all but lo",
  ),
  "exclude-from": list(INTERFACES, "interfaces that a pattern of --from does not mean"),
  local: toggle("intercept what this host itself sends"),
  sidecar: toggle("intercept one pod's connections, to it and from it, in its network namespace"),
  tcp: choice(
    ["tproxy", "redirect", "off"],
    undefined,
    "how TCP is intercepted; off: not at all",
    `${defaults.tcp}; with --sidecar ${sidecarDefaults.tcp}`,
  ),
  udp: choice(
    ["tproxy", "off"],
    undefined,
    "how UDP is intercepted; off: not at all",
    `${defaults.udp}; with --sidecar ${sidecarDefaults.udp}`,
  ),
  port: whole(
    undefined,
    "port of the listeners, on every address; for UDP the first worker's, the others have the next ones",
    `${defaults.port}; with --sidecar ${sidecarDefaults.port}`,
  ),
  workers: whole(defaults.workers, "data-plane threads", "number of CPUs, at most 4"),
  source: choice(
    ["own", "keep"],
    defaults.source,
    "source address towards destinations: this host's own, or keep the client's",
  ),
  rules: choice<Exclude<RulesMode, "none">, "auto">(
    ["auto", "nft", "iptables", "iptables-legacy"],
    "auto",
    "what manages rules; auto: what this host can do and already uses",
  ),
  "on-proxy-down": choice(
    ["open", "closed"],
    defaults.onProxyDown,
    "when no proxy runs, by whatever end: traffic flows as if it had never been there, or what it would have " +
      "taken is dropped until it is back or `rules cleanup` is run",
  ),
  // With a policy in the kernel the rules depend on it too.
  dns: list(
    endpoints(53),
    "answer intercepted DNS from this resolver instead of the one the client asks; may be given again: " +
      "the next one is asked when one does not answer",
  ),
  ...UPSTREAM_FLAGS,
  ...SELECTOR_FLAGS,
  ...SIDECAR_FLAGS,
};

/** What the flags are read as; `rules` may be more. */
export type InterceptionValues = Omit<FlagValues<typeof INTERCEPTION_FLAGS>, "rules"> & UpstreamValues & {
  readonly rules: RulesMode;
};

/** The configuration that these flags alone describe. */
export function interceptionConfig(values: InterceptionValues): RunConfig {
  const unasked = values.sidecar ? sidecarDefaults : defaults;
  return {
    ...unasked,
    ...routingConfig(values),
    tcp: values.tcp ?? unasked.tcp,
    udp: values.udp ?? unasked.udp,
    from: values.from,
    excludeFrom: values["exclude-from"],
    local: values.local,
    sidecar: values.sidecar ? sidecarConfig(values) : null,
    select: selectorConfig(values),
    port: values.port ?? unasked.port,
    workers: values.workers,
    source: values.source,
    rules: values.rules,
    onProxyDown: values["on-proxy-down"],
    dns: values.dns,
  };
}

/** What makes no sense about the flags, for a command that has no others. */
export function checkInterceptionFlags(values: InterceptionValues): ConfigIssue[] {
  return [
    ...checkInterception(interceptionConfig(values)),
    ...checkSidecarFlags(values),
    ...checkUpstreamFlags(values),
  ];
}
