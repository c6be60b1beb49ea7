/**
 * TCP: accept, dial, relay.
 *
 * @module
 */
export * from "./carrier.ts";
export type { ConnectionEnd } from "../flow/connection_end.ts";
export type { Carrier } from "./half_pipe.ts";
export * from "./listener.ts";
export * from "./settings.ts";
export { CONTEXT_BYTES, type FlowSink, type TcpEnvironment, type TcpWarning } from "./worker_context.ts";
