/**
 * What is known of the members of groups, carried over into another routing.
 *
 * @module
 */
import { textOfWay } from "../upstream/same_way.ts";
import type { GroupSettings, RoutingSettings, UpstreamSettings } from "../upstream/settings.ts";

/** `next`, in which a group that `before` had with the same members goes on with what is known of them. */
export function keepHealth(next: RoutingSettings, before: RoutingSettings | undefined): RoutingSettings {
  if (before === undefined) return next;
  const upstreams = next.upstreams.map((one): UpstreamSettings => {
    if (!isGroup(one)) return one;
    const old = before.upstreams.find(({ name }) => name === one.name);
    const isSame = old !== undefined && isGroup(old) && membersOf(old, before) === membersOf(one, next);
    return isSame ? { ...one, health: old.health } : one;
  });
  return { ...next, upstreams };
}

function isGroup(upstream: UpstreamSettings): upstream is GroupSettings {
  return "health" in upstream;
}

/** Whom the memory is about: another server by the same name is another one. */
function membersOf({ members }: GroupSettings, { upstreams }: RoutingSettings): string {
  return JSON.stringify(members.map((index) => textOfWay(upstreams, index)));
}
