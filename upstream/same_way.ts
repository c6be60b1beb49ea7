/**
 * Whether two configurations mean the same way to leave, wherever in their lists it stands.
 *
 * Used by the control plane, for what is known of a group's members, and by each worker, for what it has open: both
 * have to come to the same answer, or they would look at different memories of one group.
 *
 * @module
 */
import type { UpstreamSettings } from "./settings.ts";

/** All that an upstream is, with those that it leads through: the same text for the same way. Holds its secrets. */
export function textOfWay(all: readonly UpstreamSettings[], index: number): string {
  const settings = all[index]!;
  switch (settings.kind) {
    case "chain":
      return JSON.stringify({ ...settings, hops: textsOf(all, settings.hops) });
    case "failover":
    case "round-robin":
    case "least-latency":
      // Nobody can tell memory that was posted twice from two memories.
      return JSON.stringify({ ...settings, health: undefined, members: textsOf(all, settings.members) });
    default:
      return JSON.stringify(settings);
  }
}

function textsOf(all: readonly UpstreamSettings[], indexes: readonly number[]): string[] {
  return indexes.map((index) => textOfWay(all, index));
}
