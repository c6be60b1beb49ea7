/**
 * Groups of upstreams on a clock that a test moves, with members that do what they are told: no socket, no waiting.
 *
 * @module
 */
import {
  type Deferred,
  type Dialogue,
  EADDRNOTAVAIL,
  EMFILE,
  type Reactor,
  type Syscalls,
  TimerWheel,
} from "../ffi/mod.ts";
import type { DatagramPath, StreamFailure, StreamOpened } from "../flow/mod.ts";
import { UpstreamEnvironment } from "../upstream/environment.ts";
import { destinationFailed, socketFailed, upstreamFailed } from "../upstream/failure.ts";
import type { Member } from "../upstream/group.ts";
import { healthBytes, type MemberChange } from "../upstream/health_state.ts";
import type { GroupSettings } from "../upstream/settings.ts";
import { assert } from "./assert.ts";
import { Loopback } from "./loopback.ts";

/** What a member does with a flow, or with a check that has a target. */
export type Behaviour =
  | "opens"
  /** By its own fault. */
  | "fails"
  /** By the destination's. */
  | "refuses"
  /** By ours: no descriptor is free. */
  | "lacks"
  /** By ours: all ports towards it are taken. */
  | "is crowded"
  /** Until its deadline, then fails. */
  | "hangs";

const STEP_MS = 100;

/** The part of a reactor that has to do with time. */
class ClockedReactor {
  now = 0;
  readonly timers = new TimerWheel(0);
  #deferred: Deferred[] = [];

  get sharedNow(): number {
    return this.now + 0x7fff_fff0 | 0;
  }

  defer(work: Deferred): void {
    this.#deferred.push(work);
  }

  setHandler(): void {}
  forget(): void {}

  turn(): void {
    this.timers.setNow(this.now);
    this.timers.expire();
    for (const work of this.#deferred.splice(0)) work.onDeferred();
  }
}

/** A member of which a test says how it is. */
export class ToldMember implements Member {
  readonly streams: Member["streams"];
  readonly datagrams: Member["datagrams"];
  readonly timeoutMs = 1000;
  behaviour: Behaviour = "opens";
  /** How often it was asked for a stream or a path. */
  asked = 0;
  /** How long it takes to open. */
  latencyMs = 0;
  readonly #world: GroupClock;

  constructor(world: GroupClock, readonly name: string, carriesDatagrams = true) {
    this.#world = world;
    this.streams = { name, open: () => this.#open() };
    this.datagrams = carriesDatagrams
      ? { name, openDatagrams: () => this.#open() as Dialogue<DatagramPath | StreamFailure> }
      : undefined;
  }

  *#open(): Dialogue<StreamOpened> {
    this.asked++;
    const { reactor } = this.#world;
    if (this.behaviour === "hangs") yield { fd: 0, timeoutMs: this.timeoutMs };
    else if (this.latencyMs > 0) reactor.now += this.latencyMs;
    switch (this.behaviour) {
      case "opens":
        return { fd: this.#world.openDescriptor() };
      case "refuses":
        return destinationFailed("refused", `${this.name}: refused`);
      case "lacks":
        return socketFailed(EMFILE, this.name);
      case "is crowded":
        return socketFailed(EADDRNOTAVAIL, this.name);
      default:
        return upstreamFailed(`${this.name}: ${this.behaviour}`);
    }
  }
}

/** One or more workers with their parts of a group. */
export class GroupClock implements Disposable {
  readonly reactor = new ClockedReactor();
  readonly changes: MemberChange[] = [];
  /** Descriptors that have been opened and not closed. */
  readonly open = new Set<number>();
  readonly #loopback = new Loopback();
  #nextDescriptor = 1000;

  /** One worker's. */
  environment(index = 0, count = 1): UpstreamEnvironment {
    const sys: Syscalls = {
      ...this.#loopback.sys,
      close: (fd) => {
        assert(this.open.delete(fd), `close of ${fd}, which is not open`);
        return 0;
      },
    };
    return new UpstreamEnvironment({
      sys,
      arena: this.#loopback.arena,
      reactor: this.reactor as unknown as Reactor,
      mark: 0,
      source: "own",
      worker: { index, count },
      onMemberChange: (change) => this.changes.push(change),
    });
  }

  openDescriptor(): number {
    this.open.add(this.#nextDescriptor);
    return this.#nextDescriptor++;
  }

  members(count: number): ToldMember[] {
    return Array.from({ length: count }, (_, i) => new ToldMember(this, `m${i}`));
  }

  /** Lets time pass. */
  pass(ms: number): void {
    for (let passed = 0; passed < ms; passed += STEP_MS) {
      this.reactor.now += STEP_MS;
      this.reactor.turn();
    }
  }

  /** Runs a dialogue; its waits last as long as they say. */
  run<T>(dialogue: Dialogue<T>): T {
    let result = dialogue.next(0);
    while (!result.done) {
      this.pass(result.value.timeoutMs);
      result = dialogue.next(0);
    }
    this.reactor.turn();
    return result.value;
  }

  [Symbol.dispose](): void {
    this.#loopback[Symbol.dispose]();
  }
}

/** Of `members` members, without checks. */
export function groupSettings(members: number, change: Partial<GroupSettings> = {}): GroupSettings {
  return {
    kind: "failover",
    name: "g",
    members: Array.from({ length: members }, (_, i) => i),
    check: undefined,
    rise: 1,
    fall: 3,
    liveFlows: "keep",
    health: new SharedArrayBuffer(healthBytes(members)),
    ...change,
  };
}
