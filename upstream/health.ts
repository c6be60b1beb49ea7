/**
 * How the members of a group are, as one worker finds out and acts on it: by what flows meet with, and by checks. Each
 * member is checked by one worker alone.
 *
 * @module
 */
import type { LiveFlows } from "../flow/mod.ts";
import type { UpstreamEnvironment } from "./environment.ts";
import type { Member } from "./group.ts";
import { canCheck, MemberCheck } from "./health_check.ts";
import { HealthState } from "./health_state.ts";
import { GroupFlows } from "./live_flows.ts";
import type { GroupSettings } from "./settings.ts";

/** How long flows leave a member alone that they found to be down; the next one after that finds out whether it is back. */
export const COOL_DOWN_MS = 10_000;

/** One worker's part in the health of one group. */
export class GroupHealth {
  readonly state: HealthState;
  readonly #environment: UpstreamEnvironment;
  readonly #settings: GroupSettings;
  readonly #members: readonly Member[];
  readonly #isChecked: readonly boolean[];
  readonly #checks: readonly MemberCheck[];
  readonly #flows: GroupFlows | undefined;

  /** Checks begin. */
  constructor(
    environment: UpstreamEnvironment,
    settings: GroupSettings,
    members: readonly Member[],
    coolDownMs: number,
  ) {
    const { rise, fall, health, check, liveFlows } = settings;
    const { index, count } = environment.worker;
    this.#environment = environment;
    this.#settings = settings;
    this.#members = members;
    this.state = new HealthState(health, { rise, fall, coolDownMs });
    this.#isChecked = members.map((member) => canCheck(member, check));
    this.#flows = liveFlows === "reset" ? new GroupFlows(environment, this.state, members.length) : undefined;
    this.#checks = members.flatMap((member, i) => {
      if (!this.#isChecked[i] || i % count !== index) return [];
      return new MemberCheck(environment, check!, member, (failure, tookMs) => {
        if (failure !== undefined) return this.fail(i, failure);
        this.succeed(i);
        this.state.measure(i, tookMs, environment.reactor.sharedNow);
      });
    });
  }

  /** Whether checks find out about a member; otherwise flows do. */
  isChecked(member: number): boolean {
    return this.#isChecked[member]!;
  }

  /** Where flows by a member are to be entered, if they are to end with it. */
  flowsOf(member: number): LiveFlows | undefined {
    return this.#flows?.of(member);
  }

  /** A flow was opened. How long that took counts where nothing better is known: its destination has a part in it. */
  onOpened(member: number, tookMs: number): void {
    this.succeed(member);
    if (!this.isChecked(member)) this.state.measure(member, tookMs, this.#environment.reactor.sharedNow);
  }

  succeed(member: number): void {
    const downMs = this.state.succeed(member, this.#environment.reactor.sharedNow);
    if (downMs >= 0) this.#tell(member, { isUp: true, reason: undefined, downMs });
  }

  fail(member: number, reason: string): void {
    if (!this.state.fail(member, this.#environment.reactor.sharedNow)) return;
    this.#tell(member, { isUp: false, reason, downMs: undefined });
    this.#flows?.endSoon();
  }

  /** No check comes any more. What flows meet with still counts, and they still end with their member. */
  close(): void {
    for (const check of this.#checks) check.close();
  }

  #tell(
    member: number,
    change: { isUp: boolean; reason: string | undefined; downMs: number | undefined },
  ): void {
    this.#environment.onMemberChange({
      group: this.#settings.name,
      member: this.#members[member]!.name,
      ...change,
      membersUp: this.#members.filter((_, i) => this.state.isUp(i)).length,
      members: this.#members.length,
    });
  }
}
