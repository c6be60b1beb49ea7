/**
 * What one life of a worker keeps in shared memory so that another can clear up after it, and the word by which the
 * control plane and a worker agree on who goes on when a policy module does not return.
 *
 * A thread that loops cannot be ended from outside: the runtime's `terminate` waits for its event loop. So it is given
 * up, but only while it is provably inside the module: it changes the word when it goes in and when it comes out, the
 * control plane changes it from what it saw, and of the two only one can succeed. A worker that comes out and finds
 * itself given up touches nothing any more. Its descriptors, and its clients' places in the tables of limits, are then
 * its successor's to give back.
 *
 * @module
 */

/** The memory of one life. */
export interface LifeMemory {
  /** One Int32: see {@linkcode PolicyTurn}. */
  readonly turn: SharedArrayBuffer;
  /** A byte for each descriptor number: 1 where it is this life's. */
  readonly descriptors: SharedArrayBuffer;
  /** An Int32 for each slot of the table of clients: how many of its flows are this life's; of connections and of sessions. */
  readonly clients: SharedArrayBuffer | undefined;
  readonly udpClients: SharedArrayBuffer | undefined;
}

/** The word of a life that was given up. All others have their lowest bit set inside the module, and clear outside. */
const TAKEN = -1;
/** Passes are counted, so that whoever looks now and then can tell two from one; -1 is never among them. */
const COUNTED = 0x3fff_ffff;

/** This life has been given up, and another has what was its. */
export class LifeTakenError extends Error {
  override readonly name = "LifeTakenError";
  /** Nobody is told: it ends the thread. */
  constructor() {
    super("worker: given up while its policy module did not return");
  }
}

/** The worker's side of the word. */
export class PolicyTurn {
  readonly #word: Int32Array;
  #passes = 0;

  constructor(memory: SharedArrayBuffer) {
    this.#word = new Int32Array(memory);
  }

  /** Before the module is called. */
  enter(): void {
    this.#passes = this.#passes + 1 & COUNTED;
    Atomics.store(this.#word, 0, 2 * this.#passes + 1);
  }

  /**
   * After it has returned.
   *
   * @throws {LifeTakenError} when this life was given up meanwhile.
   */
  leave(): void {
    const inside = 2 * this.#passes + 1;
    if (Atomics.compareExchange(this.#word, 0, inside, inside - 1) !== inside) throw new LifeTakenError();
  }

  /** @throws {LifeTakenError} when this life has been given up. */
  check(): void {
    if (Atomics.load(this.#word, 0) === TAKEN) throw new LifeTakenError();
  }
}

/** The control plane's side: what the word is now, if the worker is inside the module; else undefined. */
export function insideSince(turn: SharedArrayBuffer): number | undefined {
  const word = Atomics.load(new Int32Array(turn), 0);
  return word !== TAKEN && (word & 1) === 1 ? word : undefined;
}

/** Gives the life up, if it has not come out of the module since `seen` was read. @returns whether it is. */
export function takeLife(turn: SharedArrayBuffer, seen: number): boolean {
  return Atomics.compareExchange(new Int32Array(turn), 0, seen, TAKEN) === seen;
}

/** The sizes that a life's memory has. */
export interface LifeSizes {
  /** As many descriptors as the process may have. */
  readonly descriptors: number;
  /** Bytes of the tables of clients; undefined: there is none. */
  readonly clientTable: number | undefined;
  readonly udpClientTable: number | undefined;
}

/** Beyond so many, descriptors are not noted: no worker is allowed as many. */
const MOST_DESCRIPTORS = 4 * 1024 * 1024;

/** For a life that begins. */
export function makeLifeMemory({ descriptors, clientTable, udpClientTable }: LifeSizes): LifeMemory {
  return {
    turn: new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT),
    descriptors: new SharedArrayBuffer(Math.min(descriptors, MOST_DESCRIPTORS)),
    // Of a table's pairs (key, count), a count each.
    clients: clientTable === undefined ? undefined : new SharedArrayBuffer(clientTable / 2),
    udpClients: udpClientTable === undefined ? undefined : new SharedArrayBuffer(udpClientTable / 2),
  };
}
