/**
 * The kinds of values that fields of a configuration file have: how each is read, and how JSON Schema says it.
 *
 * @module
 */
import { z } from "zod";
import type { ListKind } from "../network_value.ts";

/** A value that is none of its kind. */
export class Misread {
  /** undefined: the value as it is. */
  readonly found: string | undefined;
  readonly wanted: string;
  /** Which of a list's elements it is; undefined: the whole. */
  readonly index: number | undefined;

  constructor(wanted: string, found?: string, index?: number) {
    this.wanted = wanted;
    this.found = found;
    this.index = index;
  }
}

/** One kind of values. */
export interface FieldKind<T> {
  readonly read: (value: unknown) => T | Misread;
  readonly schema: Readonly<Record<string, unknown>>;
}

/** A field that may be left out. */
export function field<T>(kind: FieldKind<T>, about: string, fallback?: unknown): z.ZodOptional<z.ZodType<T>> {
  return required(kind, about, fallback).optional();
}

/** A field that has to be there. */
export function required<T>(kind: FieldKind<T>, about: string, fallback?: unknown): z.ZodType<T> {
  return z.unknown().transform((value, context): T => {
    const read = kind.read(value);
    if (!(read instanceof Misread)) return read;
    const { found, wanted, index } = read;
    context.issues.push({
      code: "custom",
      message: wanted,
      input: value,
      path: index === undefined ? [] : [index],
      params: { found: found ?? describeValue(value) },
    });
    return z.NEVER;
  }).meta({
    ...kind.schema,
    description: about,
    ...(fallback === undefined ? {} : { default: fallback }),
  }) as unknown as z.ZodType<T>;
}

/** What was found, in a few words; of a list or a table only that it is one. */
export function describeValue(value: unknown): string {
  if (value === undefined) return "nothing";
  if (Array.isArray(value)) return "a list";
  if (value instanceof Date) return "a date";
  if (typeof value === "object") return "a table";
  // Who writes an address with a password in it where none belongs shall not see it in a log.
  const text = typeof value === "string"
    ? JSON.stringify(value).replace(/^"(.*\/\/)?.*@/, '"$1…@')
    : String(value);
  return text.length <= LONGEST_SHOWN ? text : `${text.slice(0, LONGEST_SHOWN)}…`;
}

const LONGEST_SHOWN = 60;

/** Any text. */
export function text(wanted: string): FieldKind<string> {
  return {
    read: (value) => typeof value === "string" ? value : new Misread(wanted),
    schema: { type: "string" },
  };
}

/** A text that is never shown. */
export const SECRET: FieldKind<string> = {
  read: (value) =>
    typeof value === "string" ? value : new Misread("a text in quotes", "something else (it is not shown)"),
  schema: { type: "string" },
};

/** A text that says something. */
export function parsed<T>(wanted: string, read: (text: string) => T | undefined): FieldKind<T> {
  return {
    read: (value) => (typeof value === "string" ? read(value) : undefined) ?? new Misread(wanted),
    schema: { type: "string" },
  };
}

/** One of a few words. */
export function word<const T extends string>(...words: readonly T[]): FieldKind<T> {
  return {
    read: (value) => words.find((word) => word === value) ?? new Misread(listed(words)),
    schema: { enum: words },
  };
}

/** One of a few numbers. */
export function oneOf<const T extends number>(...numbers: readonly T[]): FieldKind<T> {
  return {
    read: (value) => numbers.find((number) => number === value) ?? new Misread(numbers.join(" or ")),
    schema: { enum: numbers },
  };
}

/** `true` or `false`. */
export const SWITCH: FieldKind<boolean> = {
  read: (value) => typeof value === "boolean" ? value : new Misread("true or false, without quotes"),
  schema: { type: "boolean" },
};

/** A whole number; its range is the configuration's business, and here for editors only. */
export function whole(least: number, most: number): FieldKind<number> {
  return {
    read: (value) =>
      Number.isSafeInteger(value) ? value as number : new Misread(`a whole number from ${least} to ${most}`),
    schema: { type: "integer", minimum: least, maximum: most },
  };
}

/** A time, in milliseconds. */
export const DURATION: FieldKind<number> = {
  read: (value) => readDuration(value) ?? new Misread('a time such as "30s", "5m" or "2h", or seconds'),
  schema: {
    anyOf: [{ type: "number", minimum: 0 }, {
      type: "string",
      pattern: "^\\d{1,9}(\\.\\d{1,3})?(ms|s|m|h|d)$",
    }],
  },
};

const UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

function readDuration(value: unknown): number | undefined {
  if (typeof value === "number") return value >= 0 && value < 1e9 ? Math.round(value * 1000) : undefined;
  const match = typeof value === "string" ? /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)$/.exec(value) : null;
  return match === null ? undefined : Math.round(Number(match[1]) * UNITS_MS[match[2]!]!);
}

/** Values as a flag takes them: in a list, in one text with commas between, or one alone. */
export function several<T>(kind: ListKind<T>): FieldKind<readonly T[]> {
  return {
    read: (value) => {
      if (isEmptyList(value)) return EMPTY;
      const values: T[] = [];
      for (const [i, item] of asList(value).entries()) {
        const index = Array.isArray(value) ? i : undefined;
        if (typeof item !== "string" && !Number.isSafeInteger(item)) {
          return new Misread(kind.wanted, describeValue(item), index);
        }
        for (const part of String(item).split(",")) {
          const trimmed = part.trim();
          const read = trimmed === "" ? undefined : kind.read(trimmed);
          if (read === undefined) return new Misread(kind.wanted, describeValue(trimmed), index);
          values.push(read);
        }
      }
      return values;
    },
    schema: { anyOf: [ITEM, { type: "array", items: ITEM, minItems: 1 }] },
  };
}

/** Texts, each as it is: in a list, or one alone. */
export function texts(wanted: string): FieldKind<readonly string[]> {
  return {
    read: (value) => {
      if (isEmptyList(value)) return EMPTY;
      const list = asList(value);
      const index = list.findIndex((item) => typeof item !== "string");
      if (index < 0) return list as string[];
      return new Misread(wanted, describeValue(list[index]), Array.isArray(value) ? index : undefined);
    },
    schema: { anyOf: [{ type: "string" }, { type: "array", items: { type: "string" }, minItems: 1 }] },
  };
}

const ITEM = { type: ["string", "integer"] };

function asList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [value];
}

/** "None of them" and "no matter which" would be written the same way. */
const EMPTY = new Misread("at least one value, or no such key", "an empty list");

function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

function listed(words: readonly string[]): string {
  const quoted = words.map((word) => JSON.stringify(word));
  return quoted.length < 2 ? quoted.join() : `${quoted.slice(0, -1).join(", ")} or ${quoted.at(-1)}`;
}
