/**
 * How a compiled policy lies in memory, in words: a header, range tables, groups. compile_policy.ts writes it,
 * policy_table.ts reads it.
 *
 * A rule is known by its place among the rules, and behind it, in the lowest byte, the route that it leads to: so of two
 * the lower one is the earlier, and what is found in a table is all that has to be read.
 *
 * @module
 */

/** The header's words: where groups begin, and where they end. */
export const HEADER = { groups: 0, end: 1, words: 2 } as const;

/** Bits of a rule that are its route. */
export const ROUTE_BITS = 8;

/**
 * The words of a group: rules that have every filter in common but one list of prefixes. Its tables give each address
 * the lowest of the rules that name it, or 0 where the list is the same for all, so the highest of the values is the
 * rule. {@linkcode ANY} in the place of a table: it is not asked.
 */
export const GROUP = {
  /** The lowest of the rules. */
  first: 0,
  /** IPPROTO_TCP, IPPROTO_UDP or {@linkcode ANY}. */
  network: 1,
  destinationPorts: 2,
  sourcePorts: 3,
  destinations4: 4,
  destinations6: 5,
  sources4: 6,
  sources6: 7,
  /** Filters of interfaces, DSCP and users: those of which a flow is asked last. */
  facts: 8,
  words: 11,
} as const;

/** No filter. */
export const ANY = 0;
