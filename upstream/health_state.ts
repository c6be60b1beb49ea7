/**
 * What all workers know of a group's members: in memory that they share, changed by atomic operations alone, so that
 * nobody ever waits for anybody. Who makes a member go down or up learns that it was the one.
 *
 * Counts may be off by one where two workers count at once; a change of verdict is told exactly once.
 *
 * @module
 */

// Words of the whole group.
const STREAM_TURN = 0, DATAGRAM_TURN = 1;
/** Index + 1 of the member that flows leave by, of groups that stay with one; 0: none yet. */
const STREAM_CURRENT = 2, DATAGRAM_CURRENT = 3;
const GROUP_WORDS = 4;

// Words of each member.
const VERDICT = 0;
/** In a row. */
const FAILURES = 1;
const SUCCESSES = 2;
/** Running average in sixteenths of a millisecond; 0: not measured since it last was down. */
const LATENCY = 3;
/** When a flow may try it: on the clock of `nowMs`, see below; 0: at once. */
const DUE_AT = 4;
/** How often it went down. */
const DOWNS = 5;
/** When it went down. */
const DOWN_AT = 6;
const MEMBER_WORDS = 8;

const UP = 0, DOWN = 1;
const LATENCY_UNIT = 16;
/** Of a new measurement in the average. */
const WEIGHT = 1 / 4;
/** The longest time that is told apart. */
const MOST_LATENCY_MS = 60_000;

/** Size of the memory of a group; all zeros are members that are up and not measured. */
export function healthBytes(members: number): number {
  return Int32Array.BYTES_PER_ELEMENT * (GROUP_WORDS + members * MEMBER_WORDS);
}

/** A member of a group went down or is back. Of all workers, the one that found out tells. */
export interface MemberChange {
  readonly group: string;
  readonly member: string;
  readonly isUp: boolean;
  /** What its last failure was; undefined: it is up. */
  readonly reason: string | undefined;
  /** For how long it was down; undefined: it is down. */
  readonly downMs: number | undefined;
  /** How many members are up now, and of how many. */
  readonly membersUp: number;
  readonly members: number;
}

/** Streams and datagrams may leave by different members. */
export type Service = "streams" | "datagrams";

/** How many in a row it takes. */
export interface HealthLimits {
  readonly rise: number;
  readonly fall: number;
  /** How long flows leave a member alone that went down, and a measurement holds. */
  readonly coolDownMs: number;
}

/**
 * One worker's hold on the memory. Times are whole milliseconds of a clock that all workers share, of which the low 32
 * bits are kept: times are compared by their distance, which has to be less than 24 days.
 */
export class HealthState {
  readonly #words: Int32Array;
  readonly #limits: HealthLimits;

  constructor(health: SharedArrayBuffer, limits: HealthLimits) {
    this.#words = new Int32Array(health);
    this.#limits = limits;
  }

  isUp(member: number): boolean {
    return this.#load(member, VERDICT) === UP;
  }

  /** How often a member went down. */
  downs(member: number): number {
    return this.#load(member, DOWNS);
  }

  /** undefined: not measured since it last was down. */
  latencyMs(member: number): number | undefined {
    const latency = this.#load(member, LATENCY);
    return latency === 0 ? undefined : latency / LATENCY_UNIT;
  }

  /** @returns whether that made it go down, now and by this call. */
  fail(member: number, nowMs: number): boolean {
    this.#store(member, SUCCESSES, 0);
    const failures = Atomics.add(this.#words, at(member, FAILURES), 1) + 1;
    if (failures < this.#limits.fall || !this.isUp(member)) return false;
    // All before the verdict: whoever sees that is not to try it at once.
    this.#store(member, DUE_AT, nowMs + this.#limits.coolDownMs);
    this.#store(member, LATENCY, 0);
    this.#store(member, DOWN_AT, nowMs);
    if (!this.#change(member, UP, DOWN)) return false;
    Atomics.add(this.#words, at(member, DOWNS), 1);
    return true;
  }

  /** @returns for how long it had been down, if that made it go up, now and by this call; otherwise -1. */
  succeed(member: number, nowMs: number): number {
    this.#store(member, FAILURES, 0);
    if (this.isUp(member)) return -1;
    const successes = Atomics.add(this.#words, at(member, SUCCESSES), 1) + 1;
    if (successes < this.#limits.rise || !this.#change(member, DOWN, UP)) return -1;
    this.#store(member, SUCCESSES, 0);
    return Math.max(0, nowMs - this.#load(member, DOWN_AT) | 0);
  }

  /** It answered after so long. */
  measure(member: number, tookMs: number, nowMs: number): void {
    const latency = Math.min(tookMs, MOST_LATENCY_MS) * LATENCY_UNIT;
    const before = this.#load(member, LATENCY);
    const average = before === 0 ? latency : before + (latency - before) * WEIGHT;
    this.#store(member, LATENCY, Math.max(1, Math.round(average)));
    this.#store(member, DUE_AT, nowMs + this.#limits.coolDownMs);
  }

  /** Whether it is time for a flow to try a member that there is no other way to know about. */
  isDue(member: number, nowMs: number): boolean {
    const due = this.#load(member, DUE_AT);
    return due === 0 || (nowMs - due | 0) >= 0;
  }

  /** The same, and nobody else's turn for another while. @returns whether it is the caller's. */
  claim(member: number, nowMs: number): boolean {
    const due = this.#load(member, DUE_AT);
    if (due !== 0 && (nowMs - due | 0) < 0) return false;
    const next = nowMs + this.#limits.coolDownMs | 0;
    return Atomics.compareExchange(this.#words, at(member, DUE_AT), due, next) === due;
  }

  /** Counts flows, over all workers: 0, 1, 2 … */
  nextTurn(service: Service): number {
    const turn = Atomics.add(this.#words, service === "streams" ? STREAM_TURN : DATAGRAM_TURN, 1);
    return turn >>> 0;
  }

  /** The member that flows leave by; -1: none yet. */
  current(service: Service): number {
    return Atomics.load(this.#words, currentWord(service)) - 1;
  }

  /** Where others leave by another one since `before` was read, theirs holds. */
  setCurrent(service: Service, before: number, member: number): void {
    Atomics.compareExchange(this.#words, currentWord(service), before + 1, member + 1);
  }

  #load(member: number, word: number): number {
    return Atomics.load(this.#words, at(member, word));
  }

  #store(member: number, word: number, value: number): void {
    Atomics.store(this.#words, at(member, word), value);
  }

  #change(member: number, from: number, to: number): boolean {
    return Atomics.compareExchange(this.#words, at(member, VERDICT), from, to) === from;
  }
}

function at(member: number, word: number): number {
  return GROUP_WORDS + member * MEMBER_WORDS + word;
}

function currentWord(service: Service): number {
  return service === "streams" ? STREAM_CURRENT : DATAGRAM_CURRENT;
}
