/**
 * Dialogues as generator functions: code that spans several reads, such as a handshake, reads like blocking code
 * and is resumed by the reactor, at the cost of no promise.
 *
 *     function* greet(fd: number): Dialogue<string> {
 *       const events = yield* ready(fd, 1000);
 *       …
 *     }
 *     runTask(reactor, greet(fd), (outcome) => …);
 *
 * @module
 */
import { type EventHandler, Reactor } from "./reactor.ts";
import { Timer } from "./timer_wheel.ts";

/** What a dialogue waits for: an event of `fd`, or the passing of `timeoutMs` (0: no limit). */
export interface Wait {
  readonly fd: number;
  readonly timeoutMs: number;
}

/** A dialogue: yields waits, is resumed with the events that came (0: the time has passed), returns T. */
export type Dialogue<T> = Generator<Wait, T, number>;

/** Waits for the next event of a watched descriptor. Its events go to the task until the task ends. */
export function* ready(fd: number, timeoutMs: number): Dialogue<number> {
  return yield { fd, timeoutMs };
}

/** How a task ended. */
export type Outcome<T> = { readonly ok: true; readonly value: T } | {
  readonly ok: false;
  readonly error: unknown;
};

/**
 * Runs a dialogue to its first wait, and on as its events come.
 *
 * @param onDone called exactly once, unless the task is aborted first; possibly before this returns.
 * @returns a handle that aborts: the generator's `finally` blocks, which must not wait, run, `onDone` does not.
 */
export function runTask<T>(
  reactor: Reactor,
  dialogue: Dialogue<T>,
  onDone: (outcome: Outcome<T>) => void,
): { abort(): void } {
  const task = new Task(reactor, dialogue, onDone);
  task.step(0);
  return task;
}

class Task<T> extends Timer implements EventHandler {
  #waitingFor = -1;

  constructor(
    readonly reactor: Reactor,
    readonly dialogue: Dialogue<T>,
    readonly onDone: (outcome: Outcome<T>) => void,
  ) {
    super();
  }

  onEvents(fd: number, events: number): void {
    // An event of another descriptor of this dialogue than the one it waits for is not lost: reads and writes
    // go on until EAGAIN, so what it announced is found by the next one.
    if (fd !== this.#waitingFor) return;
    this.reactor.timers.cancel(this);
    this.step(events);
  }

  override onTimer(): void {
    this.step(0);
  }

  step(events: number): void {
    let result: IteratorResult<Wait, T>;
    try {
      result = this.dialogue.next(events);
    } catch (error) {
      this.#waitingFor = -1;
      this.onDone({ ok: false, error });
      return;
    }
    if (result.done) {
      this.#waitingFor = -1;
      this.onDone({ ok: true, value: result.value });
      return;
    }
    const { fd, timeoutMs } = result.value;
    this.#waitingFor = fd;
    this.reactor.setHandler(fd, this);
    if (timeoutMs > 0) this.reactor.timers.schedule(this, timeoutMs);
  }

  abort(): void {
    this.#waitingFor = -1;
    this.reactor.timers.cancel(this);
    this.dialogue.return(undefined as T);
  }
}
