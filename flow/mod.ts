/**
 * What TCP connections and UDP sessions have in common on the data side.
 *
 * @module
 */
export * from "./client_key.ts";
export * from "./client_limit.ts";
export * from "./connection_end.ts";
export * from "./datagram_listener.ts";
export type * from "./datagram_service.ts";
export type * from "./router.ts";
export type * from "./upstream.ts";
export * from "./socket_options.ts";
