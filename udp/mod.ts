/**
 * UDP: listen, sessions, answers.
 *
 * @module
 */
export * from "./listener.ts";
export * from "./settings.ts";
export {
  type SessionEnd,
  UDP_CONTEXT_BYTES,
  type UdpEnvironment,
  type UdpFlowSink,
  type UdpWarning,
} from "./worker_context.ts";
