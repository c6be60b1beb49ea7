/**
 * Which session, or reply socket, has been idle for longest, at no cost to datagrams: a first-in first-out queue in
 * which what was active since it was queued gets a second chance at the end ("clock", as in page replacement).
 *
 * @module
 */

/** How far from the end an entry may be put into its place: a queue of thousands is not searched for one. */
const MAX_STEPS = 64;

/** What can be queued: stamped with the tick of its last activity by its owner. */
export interface Queued {
  readonly activeTick: number;
}

/** An item's place in one queue. */
export class QueueEntry<T extends Queued> {
  readonly item: T;
  next: QueueEntry<T> | null = null;
  previous: QueueEntry<T> | null = null;
  /** The item's last activity when it was queued. */
  queuedTick = 0;

  constructor(item: T) {
    this.item = item;
  }
}

/** Items in the order in which they were queued. */
export class IdleQueue<T extends Queued> {
  #head: QueueEntry<T> | null = null;
  #tail: QueueEntry<T> | null = null;

  get isEmpty(): boolean {
    return this.#head === null;
  }

  /** Queues an entry that is in no queue: behind all that were active before it, as far as a few steps tell. */
  push(entry: QueueEntry<T>): void {
    entry.queuedTick = entry.item.activeTick;
    let before = this.#tail;
    for (
      let steps = 0;
      steps < MAX_STEPS && before !== null && before.queuedTick > entry.queuedTick;
      steps++
    ) {
      before = before.previous;
    }
    const after = before === null ? this.#head : before.next;
    entry.previous = before;
    entry.next = after;
    if (before === null) this.#head = entry;
    else before.next = entry;
    if (after === null) this.#tail = entry;
    else after.previous = entry;
  }

  /** Takes an entry out of this queue. */
  remove(entry: QueueEntry<T>): void {
    if (entry.previous === null) this.#head = entry.next;
    else entry.previous.next = entry.next;
    if (entry.next === null) this.#tail = entry.previous;
    else entry.next.previous = entry.previous;
    entry.next = entry.previous = null;
  }

  /** The item that has been idle for longest, as far as the ticks tell; it stays in the queue. */
  oldest(): T | undefined {
    // Ends: whoever goes to the end is queued with its latest tick.
    for (;;) {
      const entry = this.#head;
      if (entry === null) return undefined;
      if (entry.queuedTick === entry.item.activeTick) return entry.item;
      this.remove(entry);
      this.push(entry);
    }
  }
}
