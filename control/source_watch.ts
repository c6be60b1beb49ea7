/**
 * Something made from a configuration and from what it names on this host: files that list addresses, interfaces. It
 * is made anew when those have changed.
 *
 * A file that is written in place is read half-written by whoever looks too early, and half an exclude list takes
 * what was to be left alone. So a changed file is read when it has not changed again for a while, and what has become
 * empty is taken for a file that is still to be filled.
 *
 * @module
 */
import type { IntentSources } from "./resolve_intent.ts";

/** For so long a file has to be as it is. Looks are about a second apart: two of them agree. */
const SETTLED_MS = 900;

/** What a watch is given. */
export interface SourceWatchParts<T> {
  /** What it is made from beside the configuration. */
  readonly sources: IntentSources;
  /** Text that changes with the interfaces that matter. */
  readonly listInterfaces: () => string;
  /** Makes it. @throws {Error} when that cannot be done now. */
  readonly make: () => Promise<T>;
  readonly areSame: (a: T, b: T) => boolean;
}

/** Something in another one's place. */
export interface SourceChange<T> {
  readonly value: T;
  /** What it was made from. */
  readonly seen: Seen;
}

/** What changes with everything that it is made from. */
interface Seen {
  /** One line for each file. */
  readonly files: string;
  readonly interfaces: string;
  /** Paths of the files that hold nothing. */
  readonly empty: readonly string[];
}

/** What is made of one configuration, again and again. */
export class SourceWatch<T> {
  readonly #parts: SourceWatchParts<T>;
  #current: T | undefined;
  /** What that was made from. */
  #accepted: Seen = { files: "", interfaces: "", empty: [] };
  /** Files that held nothing at the start: they are meant to be empty at times. */
  #emptyAtStart: readonly string[] = [];
  /** Files that differ from the accepted ones, and since when they are as they are. */
  #unsettled = { files: "", since: 0 };
  /** What something was made from, or tried to be, that has not been accepted. */
  #tried: Seen | undefined;

  constructor(parts: SourceWatchParts<T>) {
    this.#parts = parts;
  }

  /** What was accepted last; undefined: nothing was made yet. */
  get current(): T | undefined {
    return this.#current;
  }

  /** Whether there is anything that could change. */
  get hasSources(): boolean {
    const { files, interfaces } = this.#parts.sources;
    return files.length > 0 || interfaces;
  }

  /** Whether the one that was accepted is known to be another than the one for now. */
  get isPending(): boolean {
    return this.#tried !== undefined;
  }

  /** The one for now, accepted. @throws {Error} of what makes it. */
  async make(): Promise<T> {
    this.#accepted = await this.#look();
    this.#emptyAtStart = this.#accepted.empty;
    return this.#current = await this.#parts.make();
  }

  /**
   * Another one, if the accepted one is not right any more. It is told once, and again when `retries` is set, until
   * it is accepted.
   *
   * @throws {Error} when none can be made, as often.
   */
  async readChange(retries: boolean): Promise<SourceChange<T> | undefined> {
    const seen = await this.#look();
    if (areSame(seen, this.#accepted)) {
      this.#tried = undefined;
      return undefined;
    }
    if (!this.#isSettled(seen.files)) return undefined;
    if (!retries && this.#tried !== undefined && areSame(seen, this.#tried)) return undefined;
    this.#tried = seen;
    const emptied = seen.empty.filter((path) => !this.#emptyAtStart.includes(path));
    if (emptied.length > 0) {
      throw new Error(
        `${emptied.join(", ")} is empty now; a line with # alone stands for a list that is to be`,
      );
    }
    const value = await this.#parts.make();
    // Changed while it was read.
    if ((await this.#look()).files !== seen.files) return undefined;
    if (this.#current !== undefined && this.#parts.areSame(value, this.#current)) {
      this.#accepted = seen;
      this.#tried = undefined;
      return undefined;
    }
    return { value, seen };
  }

  /** `change` is in force. */
  accept({ value, seen }: SourceChange<T>): void {
    this.#accepted = seen;
    this.#current = value;
    this.#tried = undefined;
  }

  #isSettled(files: string): boolean {
    if (files === this.#accepted.files) return true;
    const now = performance.now();
    if (files !== this.#unsettled.files) this.#unsettled = { files, since: now };
    return now - this.#unsettled.since >= SETTLED_MS;
  }

  async #look(): Promise<Seen> {
    const { sources: { files, interfaces }, listInterfaces } = this.#parts;
    const empty: string[] = [];
    const stats = await Promise.all(files.map(async (path) => {
      // A file that is being replaced is missing for a moment.
      const stat = await Deno.stat(path).catch(() => undefined);
      if (stat?.size === 0) empty.push(path);
      return `${path} ${stat?.mtime?.getTime()} ${stat?.size} ${stat?.ino}`;
    }));
    return { files: stats.join("\n"), interfaces: interfaces ? listInterfaces() : "", empty };
  }
}

function areSame(a: Seen, b: Seen): boolean {
  return a.files === b.files && a.interfaces === b.interfaces;
}
