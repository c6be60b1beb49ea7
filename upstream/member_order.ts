/**
 * In which order a flow tries the members of a group. An order is made while it is walked: what becomes known of a
 * member meanwhile counts.
 *
 * @module
 */
import type { HealthState, Service } from "./health_state.ts";
import type { GroupSettings } from "./settings.ts";

/** Another member has to be better by both of these before flows move to it. */
const CLEARLY_BETTER = { share: 0.2, ms: 5 };

/** What an order is made from. */
export interface OrderSource {
  readonly state: HealthState;
  readonly service: Service;
  /** Members that carry the service, in the order of the configuration. */
  readonly members: readonly number[];
  /** Whether checks find out about a member; otherwise flows do. */
  isChecked(member: number): boolean;
}

/** Members that may be tried, the best first; none: all are down. */
export type Order = (nowMs: number) => Iterable<number>;

/** The order of groups of this kind. */
export function orderOf(kind: GroupSettings["kind"], source: OrderSource): Order {
  switch (kind) {
    case "failover":
      return (nowMs) => usable(source, source.members, nowMs);
    case "round-robin":
      return (nowMs) => inTurn(source, nowMs);
    case "least-latency":
      return (nowMs) => soonest(source, nowMs);
  }
}

/** Those that are up, and those that are down and due for a flow, which is then this one. */
function* usable({ state, isChecked }: OrderSource, members: readonly number[], nowMs: number) {
  for (const member of members) {
    if (state.isUp(member) || !isChecked(member) && state.claim(member, nowMs)) yield member;
  }
}

function* inTurn(source: OrderSource, nowMs: number): Generator<number> {
  const { state, service, members, isChecked } = source;
  // Only of those that can be used: the one after a member that is down would otherwise get its share too.
  const there = members.filter((member) =>
    state.isUp(member) || !isChecked(member) && state.isDue(member, nowMs)
  );
  if (there.length === 0) return;
  const first = state.nextTurn(service) % there.length;
  yield* usable(source, [...there.slice(first), ...there.slice(0, first)], nowMs);
}

function* soonest(source: OrderSource, nowMs: number): Generator<number> {
  const { state, members, isChecked } = source;
  const current = stayOrMove(source);
  const others = members.filter((member) => member !== current);
  const claimed: number[] = [];
  for (const member of others) {
    // Nobody else measures it, and nobody else finds out that it is back.
    if (isChecked(member) || !state.claim(member, nowMs)) continue;
    claimed.push(member);
    yield member;
  }
  if (current >= 0) yield current;
  const latency = (member: number): number => state.latencyMs(member) ?? Infinity;
  yield* others.filter((member) => state.isUp(member) && !claimed.includes(member))
    .sort((a, b) => latency(a) - latency(b) || 0);
}

/** The member that flows leave by: the same as before unless that is down, or another one clearly better. */
function stayOrMove({ state, service, members }: OrderSource): number {
  const before = state.current(service);
  const up = members.filter((member) => state.isUp(member));
  const best = up.reduce((best, member) => isSooner(state, member, best) ? member : best, up[0] ?? -1);
  const stays = up.includes(before) && !isClearlySooner(state, best, before);
  if (!stays && best >= 0) state.setCurrent(service, before, best);
  return stays ? before : best;
}

function isSooner(state: HealthState, member: number, than: number): boolean {
  return (state.latencyMs(member) ?? Infinity) < (state.latencyMs(than) ?? Infinity);
}

function isClearlySooner(state: HealthState, member: number, than: number): boolean {
  const latency = state.latencyMs(member), other = state.latencyMs(than);
  if (latency === undefined || other === undefined) return latency !== undefined;
  return other - latency >= Math.max(CLEARLY_BETTER.ms, other * CLEARLY_BETTER.share);
}
