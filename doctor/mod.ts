/**
 * Judges a host: what of its kernel, settings, limits and other programs is in the way of interception, what that
 * breaks, and the command that mends it.
 *
 * @module
 */
export { examine } from "./examine.ts";
export * from "./findings.ts";
export { type Host, RealHost } from "./host.ts";
export * from "./report.ts";
export { tryInterception } from "./interception_trial.ts";
export type { Subject } from "./subject.ts";
