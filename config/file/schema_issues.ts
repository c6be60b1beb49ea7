/**
 * What the schema has against a file, in the words of our other issues, and what is left of the file without it.
 *
 * @module
 */
import { z } from "zod";
import { nearest } from "../nearest.ts";
import { describeValue } from "./field_kinds.ts";
import { CONFIG_FILE, type ConfigFile } from "./schema.ts";
import { SETTING_KEYS } from "./setting_keys.ts";
import { formatKeyPath, type KeyPath } from "./toml_text.ts";

/** Something that is wrong with one value, or one key. */
export interface SchemaFault {
  readonly path: KeyPath;
  /** Whether it is about the key, not what it is set to. */
  readonly atKey: boolean;
  readonly found: string;
  readonly wanted: string;
  readonly hint?: string;
}

/** A file as far as it could be read. */
export interface SchemaReading {
  /** Without what is wrong. */
  readonly file: ConfigFile;
  readonly faults: readonly SchemaFault[];
  /** Keys that were left out of `file`, as {@linkcode formatKeyPath} has them. */
  readonly leftOut: ReadonlySet<string>;
}

type Table = Record<string, unknown>;

/** Those whose keys are names that the user gives. */
const NAMED_TABLES = ["upstream", "group"];

/** Leaving something out can make what holds it wrong, level by level. */
const MOST_ROUNDS = 8;

/** Reads what TOML says. `value` is changed where it is wrong. */
export function readBySchema(value: Table): SchemaReading {
  const faults: SchemaFault[] = [];
  const leftOut = new Set<string>();
  for (const table of NAMED_TABLES) {
    const path = [table, "__proto__"];
    if (valueAt(value, path) === undefined) continue;
    // The schema passes over it without a word.
    faults.push({ path, atKey: true, found: "__proto__", wanted: "another name" });
    delete (value[table] as Table).__proto__;
    leftOut.add(formatKeyPath(path));
  }
  for (let round = 0; round < MOST_ROUNDS; round++) {
    const result = CONFIG_FILE.safeParse(value);
    if (result.success) return { file: result.data, faults, leftOut };
    const { issues } = result.error;
    // What is missing after something was left out was not the user's omission.
    if (round === 0) faults.push(...issues.flatMap((issue) => [...describe(issue, value)]));
    for (const issue of issues) leaveOut(value, issue, leftOut);
  }
  throw new Error("a configuration file that cannot be read and cannot be mended");
}

function* describe(issue: z.core.$ZodIssue, root: Table): Generator<SchemaFault> {
  const path = issue.path.filter((part) => typeof part !== "symbol");
  if (issue.code === "unrecognized_keys") {
    for (const key of issue.keys) yield unknownKey(root, [...path, key]);
    return;
  }
  const value = valueAt(root, path);
  const isTable = issue.code === "invalid_type" &&
    (issue.expected === "object" || issue.expected === "record");
  yield {
    path,
    atKey: value === undefined,
    found: issue.code === "custom" ? String(issue.params?.found) : describeValue(value),
    wanted: isTable ? "a table" : issue.message,
  };
  // Of which kind it is cannot be told, so no schema has looked at the rest.
  if (issue.code === "invalid_union" && path.length > 1) yield* unknownKeys(root, path.slice(0, -1));
}

function* unknownKeys(root: Table, path: KeyPath): Generator<SchemaFault> {
  const known = keysBeside(root, [...path, ""]);
  for (const key of Object.keys(valueAt(root, path) ?? {})) {
    if (!known.includes(key)) yield unknownKey(root, [...path, key]);
  }
}

function unknownKey(root: Table, path: KeyPath): SchemaFault {
  const key = String(path.at(-1));
  const known = keysBeside(root, path);
  const meant = likely(key, known) ?? (ROUTING.includes(path[0]!) ? undefined : keyElsewhere(key));
  const hint = meant !== undefined
    ? `did you mean ${meant}?`
    : known.length <= MOST_LISTED
    ? `there are ${known.join(", ")}`
    : undefined;
  return {
    path,
    atKey: true,
    found: "an unknown key",
    wanted: "one that docs/configuration.md lists",
    ...(hint === undefined ? {} : { hint }),
  };
}

/** Their keys are in no other table. */
const ROUTING: KeyPath = ["upstream", "group", "rule"];

/** A slip, or a part of a longer name. */
function likely(key: string, known: readonly string[]): string | undefined {
  const longer = known.filter((name) => name.split("-").includes(key));
  return nearest(key, known) ?? (longer.length > 0 ? longer.join(" or ") : undefined);
}

const MOST_LISTED = 14;

/** The same word, or nearly, in another table, or as a flag's name. */
function keyElsewhere(key: string): string | undefined {
  const words = new Map<string, string>();
  for (const [flag, path] of Object.entries(SETTING_KEYS)) {
    words.set(flag, path).set(path.slice(path.lastIndexOf(".") + 1), path);
  }
  return words.get(nearest(key, [...words.keys()]) ?? "");
}

/** Which keys there are in the table that `path` is in. */
function keysBeside(root: Table, path: KeyPath): string[] {
  const table = path.slice(0, -1);
  const schemas = schemasAt(CONFIG_FILE, table).filter((schema) => schema instanceof z.ZodObject);
  const { kind } = valueAt(root, table) as { kind?: unknown };
  const ofKind = schemas.filter(({ shape }) =>
    shape.kind instanceof z.ZodLiteral && shape.kind.values.has(kind as string)
  );
  const shapes = (ofKind.length > 0 ? ofKind : schemas).map(({ shape }) => shape);
  return [...new Set(shapes.flatMap((shape) => Object.keys(shape).filter((key) => key !== "$schema")))];
}

/** The schemas that may hold at `path`: of an upstream those of every kind. */
function schemasAt(schema: z.core.$ZodType, path: KeyPath): z.core.$ZodType[] {
  if (schema instanceof z.ZodOptional) return schemasAt(schema.unwrap(), path);
  if (schema instanceof z.ZodUnion) return schema.options.flatMap((option) => schemasAt(option, path));
  const [part, ...rest] = path;
  if (part === undefined) return [schema];
  if (schema instanceof z.ZodRecord) return schemasAt(schema.valueType, rest);
  if (schema instanceof z.ZodArray) return schemasAt(schema.element, rest);
  if (!(schema instanceof z.ZodObject) || !Object.hasOwn(schema.shape, part)) return [];
  return schemasAt(schema.shape[part], rest);
}

function leaveOut(root: Table, issue: z.core.$ZodIssue, leftOut: Set<string>): void {
  const path = issue.path.filter((part) => typeof part !== "symbol");
  if (issue.code === "unrecognized_keys") {
    const table = valueAt(root, path) as Table | undefined;
    for (const key of issue.keys) if (table !== undefined) delete table[key];
    return;
  }
  const at = heldBy(root, path);
  leftOut.add(formatKeyPath(at));
  if (at[0] === "rule" && typeof at[1] === "number") {
    const rules = root.rule as unknown[];
    const rule = rules[at[1]];
    // Rules keep their numbers.
    if (at.length === 2 || typeof rule !== "object" || rule === null) rules[at[1]] = { use: "direct" };
    else if (at[2] === "use") (rule as Table).use = "direct";
    else delete (rule as Table)[at[2]!];
    return;
  }
  const parent = valueAt(root, at.slice(0, -1)) as Table | undefined;
  if (parent !== undefined) delete parent[at.at(-1)!];
}

/** What has to go when what is at `path` is wrong: a field with all its values, a table that lacks one. */
function heldBy(root: Table, path: KeyPath): KeyPath {
  const isRule = path[0] === "rule";
  if (isRule && path.length <= 2) return path;
  if (typeof path.at(-1) === "number") return path.slice(0, -1);
  if (isRule) return path;
  const isMissing = valueAt(root, path) === undefined;
  return path.length > 1 && (isMissing || path.at(-1) === "kind") ? path.slice(0, -1) : path;
}

function valueAt(root: Table, path: KeyPath): unknown {
  let value: unknown = root;
  for (const part of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Table)[part];
  }
  return value;
}
