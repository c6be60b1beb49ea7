/**
 * Whether what is to be intercepted makes sense, and where it goes: all that the rules depend on, for what leaves
 * directly need not come here at all. The rest of the configuration is check_run_config.ts's.
 *
 * @module
 */
import { checkPolicy } from "./check_policy.ts";
import { checkSelectors } from "./check_selectors.ts";
import { checkSidecar } from "./check_sidecar.ts";
import { checkUpstreams } from "./check_upstreams.ts";
import { checkWhole } from "./check_value.ts";
import type { ConfigIssue } from "./config_error.ts";
import { namesTraffic, type RunConfig } from "./run_config.ts";
import { Routes } from "./upstream_kinds.ts";

/**
 * Every issue, in the order of the flags in the help; empty when there is none.
 *
 * @param mayBeForeign whether the rules may be somebody else's, as those of a `run` alone may.
 */
export function checkInterception(config: RunConfig, mayBeForeign = false): ConfigIssue[] {
  const routes = new Routes(config.upstreams, config.groups);
  return [
    ...checkTraffic(config, mayBeForeign),
    ...checkSelectors(config),
    ...checkWhole("--port", config.port, 1, 65_535),
    ...checkWhole("--workers", config.workers, 1, 256),
    ...checkUdpListeners(config),
    ...checkSidecar(config),
    ...checkUpstreams(config, routes),
    ...checkPolicy(config, routes),
  ];
}

function* checkTraffic(config: RunConfig, mayBeForeign: boolean): Generator<ConfigIssue> {
  if (config.tcp === "off" && config.udp === "off" && config.sidecar === null) {
    yield {
      path: "--tcp, --udp",
      found: "off and off",
      wanted: "one of them on",
      hint: "without TCP and UDP there is nothing to intercept",
    };
  } else if (config.rules !== "none" && !namesTraffic(config)) {
    yield {
      path: "--from, --local, --sidecar",
      found: "none of them",
      wanted: "at least one",
      hint:
        "--from IFACE intercepts what is forwarded from an interface, --local what this host opens itself, " +
        `--sidecar one pod${mayBeForeign ? "; with --rules none the rules are yours" : ""}`,
    };
  }
}

/** Each worker receives datagrams on a port of its own, since a client's must all reach the same one. */
function* checkUdpListeners({ udp, port, workers }: RunConfig): Generator<ConfigIssue> {
  // What is wrong with either number by itself has been said.
  const last = port + workers - 1;
  if (udp === "off" || port > 65_535 || workers > 256 || !(last > 65_535)) return;
  yield {
    path: "--port, --workers",
    found: `${port} and ${workers}`,
    wanted: `a port up to ${65_535 - workers + 1}`,
    hint: "UDP takes one port for each worker, counted from --port",
  };
}
