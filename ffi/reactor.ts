/**
 * The loop everything in a worker hangs on: epoll, timers, a doorbell, and work put off to the end of a turn.
 *
 * Synchronous: it blocks in epoll_wait and never awaits. It knows descriptors and handlers, not what they are
 * for; the folders above give it handlers, dataplane/ runs it.
 *
 * Registrations are edge-triggered: a handler must go on until EAGAIN, or remember that it has not.
 *
 * @module
 */
import type { Arch } from "./arch.ts";
import type { Arena, Block } from "./arena.ts";
import {
  CLOCK_MONOTONIC_COARSE,
  EPOLL_CLOEXEC,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLLET,
  EPOLLIN,
  O_CLOEXEC,
  O_NONBLOCK,
} from "./constants.ts";
import { checked, EINTR, SyscallError } from "./errno.ts";
import type { Syscalls } from "./syscalls.ts";
import { TimerWheel } from "./timer_wheel.ts";

/** Receives the events of the descriptors it was registered for. */
export interface EventHandler {
  /**
   * @param fd the descriptor that is ready.
   * @param events EPOLLIN, EPOLLPRI, EPOLLOUT, EPOLLRDHUP, EPOLLHUP, EPOLLERR as epoll reports them.
   */
  onEvents(fd: number, events: number): void;
}

/** Work put off until every event of this turn has been seen, so that one busy flow cannot starve the others. */
export interface Deferred {
  onDeferred(): void;
}

const MAX_EVENTS = 256;
const DOORBELL_BYTES = 64;
/** CLOCK_MONOTONIC_COARSE stands still for a scheduler tick: 10 ms where CONFIG_HZ is 100. */
const COARSE_CLOCK_MS = 10;

/** One epoll instance and its loop. */
export class Reactor {
  readonly timers: TimerWheel;
  readonly #sys: Syscalls;
  readonly #epoll: number;
  readonly #events: Block;
  readonly #change: Block;
  readonly #clock: Block;
  readonly #eventWords: number;
  readonly #dataWord: number;
  /** By descriptor. */
  readonly #handlers: (EventHandler | null)[] = [];
  /**
   * By descriptor: how often it was taken off. An event carries the count of its registration, so one that
   * was fetched before its descriptor was closed (and the number perhaps given out again) is recognised.
   */
  readonly #generations: number[] = [];
  #deferred: (Deferred | null)[] = [];
  #spareDeferred: (Deferred | null)[] = [];
  /** How many of `#deferred` there are; the rest of the array is kept for the next ones. */
  #deferredCount = 0;
  #doorbell = -1;
  #running = false;
  /** Events of this turn: how busy the loop is. */
  turnEvents = 0;
  readonly #startSeconds: number = 0;
  #now: number;

  /** @throws {SyscallError} when epoll_create1 fails. */
  constructor(sys: Syscalls, arena: Arena, arch: Arch) {
    this.#sys = sys;
    this.#eventWords = arch.epollEventWords;
    this.#dataWord = arch.epollDataWord;
    this.#events = arena.allocate(MAX_EVENTS * 4 * arch.epollEventWords);
    this.#change = arena.allocate(4 * arch.epollEventWords);
    this.#clock = arena.allocate(16);
    this.#epoll = checked("epoll_create1", sys.epoll_create1(EPOLL_CLOEXEC));
    this.#startSeconds = Math.floor(this.#readClock() / 1000);
    this.#now = this.#readClock();
    this.timers = new TimerWheel(this.#now);
  }

  /**
   * When this turn of the loop began, in whole milliseconds of CLOCK_MONOTONIC_COARSE (a few of which are its
   * resolution) since this loop was made: small integers, which cost no allocation, for 24 days.
   */
  get now(): number {
    return this.#now;
  }

  /**
   * The same time on a clock that all loops of this host share: the low 32 bits of CLOCK_MONOTONIC_COARSE in
   * milliseconds, to be compared by their distance.
   */
  get sharedNow(): number {
    return this.#startSeconds * 1000 + this.#now | 0;
  }

  #readClock(): number {
    this.#sys.clock_gettime(CLOCK_MONOTONIC_COARSE, this.#clock.pointer);
    const words = this.#clock.words;
    // struct timespec: two 64-bit words; the low half of the seconds lasts 68 years of uptime.
    return (words[0]! - this.#startSeconds) * 1000 + (words[2]! / 1e6 | 0);
  }

  /**
   * Watches `fd`, edge-triggered.
   *
   * @returns 0, or -errno of epoll_ctl (ENOSPC: fs.epoll.max_user_watches; ENOMEM).
   */
  add(fd: number, events: number, handler: EventHandler): number {
    const generation = this.#generations[fd] ?? 0;
    const words = this.#change.words;
    words[0] = events | EPOLLET;
    words[this.#dataWord] = fd;
    words[this.#dataWord + 1] = generation;
    const result = this.#sys.epoll_ctl(this.#epoll, EPOLL_CTL_ADD, fd, this.#change.pointer);
    if (result < 0) return result;
    // Growing one by one keeps the arrays dense; a store far past the end would turn them into dictionaries.
    while (this.#handlers.length <= fd) {
      this.#handlers.push(null);
      this.#generations.push(0);
    }
    this.#handlers[fd] = handler;
    return 0;
  }

  /** Gives the events of a watched descriptor to another handler. */
  setHandler(fd: number, handler: EventHandler): void {
    this.#handlers[fd] = handler;
  }

  /**
   * Forgets a descriptor that is about to be closed: closing takes it out of epoll, since no other descriptor
   * refers to the same socket. Events of it that were already fetched will not be delivered.
   */
  forget(fd: number): void {
    if (this.#handlers[fd] === undefined || this.#handlers[fd] === null) return;
    this.#handlers[fd] = null;
    this.#generations[fd] = this.#generations[fd]! + 1 | 0;
  }

  /** Stops watching a descriptor that stays open. */
  remove(fd: number): void {
    this.#sys.epoll_ctl(this.#epoll, EPOLL_CTL_DEL, fd, this.#change.pointer);
    this.forget(fd);
  }

  /** Calls `work` once more before the next wait, after the events and timers of this turn. */
  defer(work: Deferred): void {
    const at = this.#deferredCount++;
    if (at < this.#deferred.length) this.#deferred[at] = work;
    else this.#deferred.push(work);
  }

  /**
   * Makes a doorbell: a byte written to the returned descriptor, by anyone in this process, calls `onRing`.
   *
   * A pipe and not an eventfd: another thread can open a pipe's end as /proc/self/fd/N and ring without FFI,
   * while an eventfd cannot be opened again (ENXIO).
   *
   * @returns the number of the write end. It is never closed: a number that another thread still knows must
   * not be given out again, or a ring would be a byte in a stranger's stream.
   */
  openDoorbell(arena: Arena, onRing: () => void): number {
    const ends = arena.allocate(8);
    checked("pipe2", this.#sys.pipe2(ends.pointer, O_NONBLOCK | O_CLOEXEC));
    const readEnd = this.#doorbell = ends.words[0]!;
    const rings = arena.allocate(DOORBELL_BYTES);
    const ring = {
      onEvents: () => {
        while (this.#sys.read(readEnd, rings.pointer, DOORBELL_BYTES) === DOORBELL_BYTES);
        onRing();
      },
    };
    const result = this.add(readEnd, EPOLLIN, ring);
    if (result < 0) {
      this.#sys.close(ends.words[1]!);
      throw new SyscallError("epoll_ctl", -result);
    }
    return ends.words[1]!;
  }

  /** Ends `run` after the current turn. */
  stop(): void {
    this.#running = false;
  }

  /**
   * Runs until `stop`.
   *
   * @throws {SyscallError} when epoll_wait fails, and whatever a handler throws.
   */
  run(): void {
    this.#running = true;
    const words = this.#events.words;
    while (this.#running) {
      const wait = this.#deferredCount > 0 ? 0 : this.timers.waitMs(this.#now);
      const count = this.#sys.epoll_wait(
        this.#epoll,
        this.#events.pointer,
        MAX_EVENTS,
        // Woken on the dot, the coarse clock would say that nothing is due yet.
        wait > 0 ? wait + COARSE_CLOCK_MS : wait,
      );
      if (count < 0 && count !== -EINTR) throw new SyscallError("epoll_wait", -count);
      this.turnEvents = Math.max(0, count);
      this.#now = this.#readClock();
      this.timers.setNow(this.#now);
      for (let i = 0, at = 0; i < count; i++, at += this.#eventWords) {
        const fd = words[at + this.#dataWord]!;
        if (this.#generations[fd] === words[at + this.#dataWord + 1]!) {
          this.#handlers[fd]!.onEvents(fd, words[at]!);
        }
      }
      this.timers.expire();
      if (this.#deferredCount > 0) this.#runDeferred();
    }
  }

  /** Closes the epoll instance and the doorbell's read end; watched descriptors belong to their handlers. */
  close(): void {
    if (this.#doorbell >= 0) this.#sys.close(this.#doorbell);
    this.#sys.close(this.#epoll);
  }

  #runDeferred(): void {
    // What is deferred meanwhile belongs to the next turn; the two arrays swap so that none is allocated.
    const work = this.#deferred, count = this.#deferredCount;
    this.#deferred = this.#spareDeferred;
    this.#deferredCount = 0;
    for (let i = 0; i < count; i++) {
      work[i]!.onDeferred();
      work[i] = null;
    }
    this.#spareDeferred = work;
  }
}
