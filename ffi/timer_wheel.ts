/**
 * Timeouts for thousands of connections at no cost while nothing happens.
 *
 * A hashed wheel: slot = due tick modulo the number of slots, a doubly linked list a slot, threaded through the
 * owners themselves, so that neither setting nor cancelling a timer allocates. Timers due in more than one
 * turn stay in their slot until their turn comes. See Varghese and Lauck, "Hashed and Hierarchical Timing
 * Wheels" (1987), scheme 6.
 *
 * Timers are coarse on purpose: a tick is 100 ms, and a timeout of two seconds or more is rounded up to whole
 * seconds, so that a process full of idle connections wakes up once a second at most.
 *
 * @module
 */

/** Length of a tick in milliseconds. */
export const TICK_MS = 100;
const TICKS_A_SECOND = 1000 / TICK_MS;
/** A whole number of seconds, so that timers on whole seconds share every tenth slot, whatever their turn. */
const SLOTS = 100 * TICKS_A_SECOND;

/** Something that can be due: the wheel's list runs through the owner of the timeout itself. */
export abstract class Timer {
  /** Tick at which it is due; meaningless while not scheduled. */
  dueTick = 0;
  next: Timer | null = null;
  previous: Timer | null = null;
  /** Called once when due; the timer is off the wheel by then and may be scheduled again. */
  abstract onTimer(): void;
}

/** Head of a circular list of timers; never due itself. */
class ListHead extends Timer {
  constructor() {
    super();
    this.next = this;
    this.previous = this;
  }
  override onTimer(): void {}
}

function append(list: ListHead, timer: Timer): void {
  timer.previous = list.previous;
  timer.next = list;
  list.previous!.next = timer;
  list.previous = timer;
}

function unlink(timer: Timer): void {
  timer.previous!.next = timer.next;
  timer.next!.previous = timer.previous;
  timer.next = null;
  timer.previous = null;
}

/** All timers of one worker. It has no clock: time is told to it. */
export class TimerWheel {
  readonly #slots: ListHead[] = Array.from({ length: SLOTS }, () => new ListHead());
  /** Taken from their slots by `expire`, about to be called. */
  readonly #due = new ListHead();
  #size = 0;
  #tick = 0;
  /** No timer is due before this tick; it may be early, never late. */
  #earliest = Infinity;

  /** @param nowMs the clock of `setNow`, in milliseconds. */
  constructor(nowMs: number) {
    this.#tick = Math.floor(nowMs / TICK_MS);
  }

  /** Timers that are scheduled. */
  get size(): number {
    return this.#size;
  }

  /** The current tick: a coarse clock for stamping activity, in units of {@linkcode TICK_MS}. */
  get tick(): number {
    return this.#tick;
  }

  /** Makes `timer` due in `delayMs` or a little later, replacing an earlier schedule. */
  schedule(timer: Timer, delayMs: number): void {
    this.cancel(timer);
    // The current tick has partly passed: one more, so that no timer is early.
    let due = this.#tick + Math.ceil(delayMs / TICK_MS) + 1;
    if (delayMs >= 2000) due = Math.ceil(due / TICKS_A_SECOND) * TICKS_A_SECOND;
    timer.dueTick = due;
    append(this.#slots[due % SLOTS]!, timer);
    this.#size++;
    if (due < this.#earliest) this.#earliest = due;
  }

  /** Takes `timer` off the wheel; a timer that is not on it is left alone. */
  cancel(timer: Timer): void {
    if (timer.next === null) return;
    unlink(timer);
    this.#size--;
  }

  /** Milliseconds until something may be due, for epoll_wait: -1 when nothing is scheduled. */
  waitMs(nowMs: number): number {
    if (this.#size === 0) return -1;
    return Math.max(0, Math.ceil(this.#earliest * TICK_MS - nowMs));
  }

  /** Moves the time on. Told apart from {@linkcode expire} so that what has just arrived counts as activity. */
  setNow(nowMs: number): void {
    this.#tick = Math.floor(nowMs / TICK_MS);
  }

  /** Calls every timer that has become due. */
  expire(): void {
    if (this.#tick < this.#earliest) return;
    // After a long sleep every slot is visited once.
    for (let tick = Math.max(this.#earliest, this.#tick - SLOTS + 1); tick <= this.#tick; tick++) {
      this.#collectDue(this.#slots[tick % SLOTS]!);
    }
    // A timer that is called may schedule or cancel any other, also one that is due: it is still in a list.
    while (this.#due.next !== this.#due) {
      const timer = this.#due.next!;
      this.cancel(timer);
      timer.onTimer();
    }
    this.#earliest = this.#findEarliest();
  }

  #collectDue(slot: ListHead): void {
    for (let timer = slot.next!; timer !== slot;) {
      const next = timer.next!;
      if (timer.dueTick <= this.#tick) {
        unlink(timer);
        append(this.#due, timer);
      }
      timer = next;
    }
  }

  #findEarliest(): number {
    if (this.#size === 0) return Infinity;
    for (let tick = this.#tick + 1; tick < this.#tick + SLOTS; tick++) {
      const slot = this.#slots[tick % SLOTS]!;
      if (slot.next !== slot) return tick;
    }
    return this.#tick + SLOTS;
  }
}
