/**
 * Addresses, prefixes, endpoints, port ranges and five-tuples: values only, no I/O.
 *
 * @module
 */
export * from "./address.ts";
export * from "./endpoint.ts";
export * from "./five_tuple.ts";
export * from "./port_range.ts";
export * from "./prefix.ts";
