/**
 * Addresses, prefixes, endpoints, ranges of ports and ids, marks, five-tuples and checksums: values only, no I/O.
 *
 * @module
 */
export * from "./address.ts";
export * from "./endpoint.ts";
export * from "./filter.ts";
export * from "./five_tuple.ts";
export * from "./id_range.ts";
export * from "./internet_checksum.ts";
export * from "./mac.ts";
export * from "./mark_match.ts";
export * from "./merge_prefixes.ts";
export * from "./port_range.ts";
export * from "./prefix.ts";
export * from "./prefix_list.ts";
