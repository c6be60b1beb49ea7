/**
 * How flows leave other than straight from here: each kind of upstream, chains and groups of them.
 *
 * @module
 */
export * from "./environment.ts";
export * from "./make_upstreams.ts";
export type * from "./settings.ts";
