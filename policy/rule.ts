/**
 * A rule of a policy, as plain data: names are resolved, lists read.
 *
 * @module
 */
import type { IdRange, PortRange } from "../net/mod.ts";

/** It is about a flow that every filter names. A filter that is undefined names every flow, an empty one none. */
export interface PolicyRule {
  readonly network: "tcp" | "udp" | undefined;
  /** Prefixes, canonical text (`192.0.2.0/24`, `2001:db8::/32`), families mixed. */
  readonly destinations: readonly string[] | undefined;
  readonly destinationPorts: readonly PortRange[] | undefined;
  readonly sources: readonly string[] | undefined;
  readonly sourcePorts: readonly PortRange[] | undefined;
  /** Incoming interfaces, by index. */
  readonly interfaces: readonly number[] | undefined;
  readonly uids: readonly IdRange[] | undefined;
  readonly dscp: readonly number[] | undefined;
  /** Number of the route, 0 to 254. */
  readonly to: number;
}

/** The filters of a rule that is about every flow. */
export const NO_FILTERS: Omit<PolicyRule, "to"> = {
  network: undefined,
  destinations: undefined,
  destinationPorts: undefined,
  sources: undefined,
  sourcePorts: undefined,
  interfaces: undefined,
  uids: undefined,
  dscp: undefined,
};
