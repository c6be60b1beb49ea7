/**
 * What the user asked for: the typed configuration, its defaults and the check that it makes sense.
 *
 * @module
 */
export * from "./config_error.ts";
export * from "./check_run_config.ts";
export * from "./run_config.ts";
