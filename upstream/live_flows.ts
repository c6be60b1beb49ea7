/**
 * Flows of a group's members, of groups whose flows are to end with the member that they leave by.
 *
 * Another worker may have found out that a member is down: as long as there are flows, the shared memory is looked at
 * every second, whether or not the group is still one that new flows leave by.
 *
 * @module
 */
import { type Deferred, Timer } from "../ffi/mod.ts";
import type { LiveFlow, LiveFlows } from "../flow/mod.ts";
import type { UpstreamEnvironment } from "./environment.ts";
import type { HealthState } from "./health_state.ts";

const LOOK_MS = 1000;

/** All flows of one group in this worker. */
export class GroupFlows extends Timer implements Deferred {
  readonly #environment: UpstreamEnvironment;
  readonly #state: HealthState;
  readonly #members: readonly MemberFlows[];
  #isWatching = false;
  #isDeferred = false;

  constructor(environment: UpstreamEnvironment, state: HealthState, members: number) {
    super();
    this.#environment = environment;
    this.#state = state;
    this.#members = Array.from({ length: members }, (_, i) => new MemberFlows(state, i, () => this.#watch()));
  }

  /** Those of a member. */
  of(member: number): LiveFlows {
    return this.#members[member]!;
  }

  /** A member has gone down. Its flows end with this turn of the loop: one of them may be what found out. */
  endSoon(): void {
    if (this.#isDeferred) return;
    this.#isDeferred = true;
    this.#environment.reactor.defer(this);
  }

  onDeferred(): void {
    this.#isDeferred = false;
    this.#endThose();
  }

  override onTimer(): void {
    this.#isWatching = false;
    this.#endThose();
    if (this.#members.some(({ isEmpty }) => !isEmpty)) this.#watch();
  }

  #endThose(): void {
    this.#members.forEach((flows, member) => flows.endBefore(this.#state.downs(member)));
  }

  #watch(): void {
    if (this.#isWatching) return;
    this.#isWatching = true;
    this.#environment.reactor.timers.schedule(this, LOOK_MS);
  }
}

/** Flows by one member. */
class MemberFlows implements LiveFlows {
  /** How often the member had been down when each began. */
  readonly #flows = new Map<LiveFlow, number>();
  readonly #state: HealthState;
  readonly #member: number;
  readonly #onAdded: () => void;
  #downs: number;

  constructor(state: HealthState, member: number, onAdded: () => void) {
    this.#state = state;
    this.#member = member;
    this.#onAdded = onAdded;
    this.#downs = state.downs(member);
  }

  get isEmpty(): boolean {
    return this.#flows.size === 0;
  }

  add(flow: LiveFlow): void {
    this.#flows.set(flow, this.#state.downs(this.#member));
    this.#onAdded();
  }

  delete(flow: LiveFlow): void {
    this.#flows.delete(flow);
  }

  /** Ends those that began before the member went down for the last time. */
  endBefore(downs: number): void {
    if (downs === this.#downs) return;
    this.#downs = downs;
    for (const [flow, atStart] of this.#flows) {
      if (atStart !== downs) flow.endByUpstream();
    }
  }
}
