/**
 * Throw-away network namespaces in which rules are tried on real packets.
 *
 * @module
 */
export { type Comparison } from "./compare.ts";
export { type Fate } from "./guard.ts";
export { type LiveRequest, tryLive } from "./live.ts";
export { ScratchError, ScratchNamespace } from "./namespace.ts";
