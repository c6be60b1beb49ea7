/**
 * DNS: queries answered from resolvers of our own.
 *
 * @module
 */
export type { DnsEnvironment } from "./dns_context.ts";
export * from "./listener.ts";
export { DNS_BYTES, DnsForwarder, MAX_RESOLVERS } from "./forwarder.ts";
export type * from "./settings.ts";
