/**
 * UDP: listen, sessions, answers.
 *
 * @module
 */
export { UDP_BYTES } from "./carriage.ts";
export * from "./listener.ts";
export * from "./settings.ts";
export { type UdpEnvironment, type UdpFlowSink, type UdpWarning } from "./worker_context.ts";
