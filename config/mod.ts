/**
 * What the user asked for: the typed configuration, its defaults and the check that it makes sense.
 *
 * @module
 */
export { checkInterception } from "./check_interception.ts";
export * from "./check_run_config.ts";
export { secretProblem } from "./check_upstreams.ts";
export * from "./config_error.ts";
export * from "./interface_pattern.ts";
export * from "./policy_config.ts";
export * from "./run_config.ts";
export * from "./selector_config.ts";
export * from "./sidecar_config.ts";
export * from "./upstream_config.ts";
