/**
 * The kinds of flags a command can have. A flag knows how to read itself and how to appear in the help, so one
 * table makes both.
 *
 * Only what a flag's text says by itself is judged here (a number, one of the choices); whether the value makes
 * sense is the configuration's business.
 *
 * @module
 */
import {
  type Endpoint,
  parseAddress,
  parseEndpoint,
  parsePortRange,
  type PortRange,
  unmapV4,
} from "../net/mod.ts";

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

/** One of a few words. */
export function choice<T extends string>(choices: readonly T[], fallback: T, help: string): Flag<T> {
  return {
    shape: "single",
    placeholder: choices.join("|"),
    help,
    fallback,
    fallbackText: fallback,
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

/** Any number of texts, one for each time the flag is given. */
export function list(placeholder: string, help: string): Flag<readonly string[]> {
  return { shape: "list", placeholder, help, fallback: [], fallbackText: "", read: (texts) => texts };
}

/** Ports and ranges of ports, parted by commas. `fallbackText` says what none means. */
export function ports(help: string, fallbackText: string): Flag<readonly PortRange[]> {
  return {
    shape: "single",
    placeholder: "RANGES",
    help,
    fallback: [],
    fallbackText,
    read: ([text]) => {
      const ranges: PortRange[] = [];
      for (const part of text!.split(",")) {
        const range = parsePortRange(part);
        if (range === undefined) {
          return new Unreadable(part === "" ? text! : part, "ports from 1 to 65535 such as 53,1000-2000");
        }
        ranges.push(range);
      }
      return ranges;
    },
  };
}

/** Any number of endpoints, one for each time the flag is given; `port` where only an address is given. */
export function endpoints(port: number, help: string): Flag<readonly Endpoint[]> {
  return {
    shape: "list",
    placeholder: "ADDR[:PORT]",
    help,
    fallback: [],
    fallbackText: "",
    read: (texts) => {
      const found: Endpoint[] = [];
      for (const text of texts) {
        const address = parseAddress(text);
        const endpoint = address === undefined ? parseEndpoint(text) : { address, port };
        if (endpoint === undefined) {
          return new Unreadable(text, "an IP address, ADDR:PORT, or [ADDR]:PORT for IPv6");
        }
        found.push({ address: unmapV4(endpoint.address), port: endpoint.port });
      }
      return found;
    },
  };
}

function listWords(words: readonly string[]): string {
  return words.length < 2 ? words.join() : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}
