/**
 * The kinds of flags a command can have. A flag knows how to read itself and how to appear in the help, so one
 * table makes both.
 *
 * Only what a flag's text says by itself is judged here (a number, one of the choices); whether the value makes
 * sense is the configuration's business. How values of the network are read is config/network_value.ts's.
 *
 * @module
 */
import type { ListKind } from "../config/network_value.ts";

/** A text that is no value of its flag. */
export class Unreadable {
  readonly found: string;
  readonly wanted: string;
  /** @param wanted what would have been read. */
  constructor(found: string, wanted: string) {
    this.found = found;
    this.wanted = wanted;
  }
}

/** One flag of a command; its name is its key in the command's {@linkcode FlagSet}. */
export interface Flag<T> {
  /** `switch`: no value; `single`: one; `list`: one each time it is given. */
  readonly shape: "switch" | "single" | "list";
  /** Stands for the value in the help; empty for a switch. */
  readonly placeholder: string;
  /** One sentence, with the unit. */
  readonly help: string;
  /** The value when the flag is not given. */
  readonly fallback: T;
  /** The fallback as the help shows it; empty when "not given" says it all. */
  readonly fallbackText: string;
  /** Under which the help shows it, with those beside it that have the same; none: before all headings. */
  readonly heading?: string;
  /** Reads the texts given, at least one. */
  readonly read: (texts: readonly string[]) => T | Unreadable;
}

/** The flags of a command, by name without dashes. */
export type FlagSet = Readonly<Record<string, Flag<unknown>>>;

/** What the flags of a set are read as. */
export type FlagValues<F extends FlagSet> = {
  readonly [Name in keyof F]: F[Name] extends Flag<infer T> ? T : never;
};

/** On when given. */
export function toggle(help: string): Flag<boolean> {
  return { shape: "switch", placeholder: "", help, fallback: false, fallbackText: "", read: () => true };
}

/** One of a few words. `fallbackText` is for a default that is not one word. */
export function choice<const T extends string, const F extends T | undefined>(
  choices: readonly T[],
  fallback: F,
  help: string,
  fallbackText: string = fallback ?? "",
): Flag<T | F> {
  return {
    shape: "single",
    placeholder: choices.join("|"),
    help,
    fallback,
    fallbackText,
    read: ([text]) => choices.find((choice) => choice === text) ?? new Unreadable(text!, listWords(choices)),
  };
}

/** A whole number. `fallbackText` is for a default that is not one number. */
export function whole<T extends number | undefined>(
  fallback: T,
  help: string,
  fallbackText: string = String(fallback),
): Flag<T | number> {
  return {
    shape: "single",
    placeholder: "N",
    help,
    fallback,
    fallbackText,
    read: ([text]) => /^\d{1,15}$/.test(text!) ? Number(text) : new Unreadable(text!, "a whole number"),
  };
}

/** A time in seconds, kept in milliseconds. */
export function seconds(fallbackMs: number, help: string): Flag<number> {
  return {
    shape: "single",
    placeholder: "SECONDS",
    help,
    fallback: fallbackMs,
    fallbackText: `${fallbackMs / 1000} s`,
    read: ([text]) =>
      /^\d{1,9}(\.\d+)?$/.test(text!) ? Number(text) * 1000 : new Unreadable(text!, "a number of seconds"),
  };
}

/** Any number of texts as they are, one for each time the flag is given. */
export function texts(placeholder: string, help: string): Flag<readonly string[]> {
  return { shape: "list", placeholder, help, fallback: [], fallbackText: "", read: (texts) => texts };
}

/** Any number of values, parted by commas or by giving the flag again. `fallbackText` says what none means. */
export function list<T>(kind: ListKind<T>, help: string, fallbackText = ""): Flag<readonly T[]> {
  return {
    shape: "list",
    placeholder: kind.placeholder,
    help,
    fallback: [],
    fallbackText,
    read: (texts) => {
      const values: T[] = [];
      for (const text of texts) {
        for (const part of text.split(",")) {
          const value = part === "" ? undefined : kind.read(part);
          if (value === undefined) return new Unreadable(part === "" ? text : part, kind.wanted);
          values.push(value);
        }
      }
      return values;
    },
  };
}

/** The same flags under a heading of the help. */
export function under<F extends FlagSet>(heading: string, flags: F): F {
  const entries = Object.entries(flags).map(([name, flag]) => [name, { ...flag, heading }]);
  return Object.fromEntries(entries) as F;
}

function listWords(words: readonly string[]): string {
  return words.length < 2 ? words.join() : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}
