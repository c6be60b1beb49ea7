/**
 * A configuration file, read: what it says, everything that is wrong with it, and where.
 *
 * The text is the caller's to fetch. Whether what the file and the flags say together makes sense is for the checks of
 * the configuration; {@linkcode ConfigText.inItsWords} tells what they find by the file's keys and lines.
 *
 * @module
 */
import type { ConfigIssue, ConfigPlace } from "../config_error.ts";
import type { RoutingConfig } from "../run_config.ts";
import { buildRouting } from "./build_routing.ts";
import { readBySchema, type SchemaFault } from "./schema_issues.ts";
import { type FileSettings, keyOfFlag, settingsOf } from "./setting_keys.ts";
import { formatKeyPath, type KeyPath, type Position, readToml, type SyntaxFault } from "./toml_text.ts";

/** Settings that name files, whose paths are relative to the configuration's. */
const FILE_SETTINGS = [
  "include-cidr-file",
  "exclude-cidr-file",
  "include-source-file",
  "exclude-source-file",
] as const;

/** Reads the text of a configuration file. `file` is its path, as the user named it. */
export function readConfigText(text: string, file: string): ConfigText {
  return new ConfigText(text, file);
}

/** A configuration file as it was read. */
export class ConfigText {
  /** As the user named it. */
  readonly file: string;
  /** What flags could have said too; without what is wrong. */
  readonly settings: FileSettings;
  /** Where flows go; without what is wrong. */
  readonly routing: RoutingConfig;
  /** What is wrong with the file by itself. */
  readonly issues: readonly ConfigIssue[];
  readonly #places: ReadonlyMap<string, { readonly key: Position; readonly value: Position }>;
  readonly #leftOut: ReadonlySet<string>;
  /** Whether so little could be read that checks of the rest would mislead. */
  readonly #isTorn: boolean;

  /** @param text as {@linkcode readConfigText} takes it. */
  constructor(text: string, file: string) {
    this.file = file;
    const toml = readToml(text);
    this.#places = toml.places;
    this.#isTorn = toml.faults.length > 0;
    const { file: content, faults, leftOut } = readBySchema(toml.value as Record<string, unknown>);
    this.#leftOut = leftOut;
    const pathOf = relativeTo(file);
    const settings: Record<string, unknown> = settingsOf(content);
    for (const name of FILE_SETTINGS) {
      if (settings[name] !== undefined) settings[name] = (settings[name] as readonly string[]).map(pathOf);
    }
    this.settings = settings as FileSettings;
    const { routing, faults: loginFaults } = buildRouting(content, pathOf);
    this.routing = routing;
    // What a line with a fault in it has not said is not missing.
    const told = [...faults, ...loginFaults].filter(({ found }) => !this.#isTorn || found !== "nothing");
    this.issues = [
      ...toml.faults.map((fault) => this.#syntaxIssue(fault)),
      ...told.map((fault) => this.#schemaIssue(fault)),
      ...this.#checkMode(content.mode),
    ].sort((a, b) => a.place!.line - b.place!.line || a.place!.column - b.place!.column);
  }

  /** Keys that hold passwords themselves. */
  get secretKeys(): string[] {
    return [...this.#places.keys()].filter((key) => /^upstream\..*\.password$/.test(key));
  }

  /** Where `key` (`upstream.office.password`) is set; undefined: nowhere. */
  placeOf(key: string): ConfigPlace | undefined {
    const place = this.#places.get(key);
    return place === undefined ? undefined : { file: this.file, ...place.value };
  }

  /**
   * What checks of the configuration found, told in the words of the file: its keys in place of flags, and where they
   * are. Without what follows from something that is wrong in the file anyway.
   *
   * @param given names, without dashes, of the flags that were given: those override the file, and keep their names.
   */
  inItsWords(issues: readonly ConfigIssue[], given: ReadonlySet<string>): ConfigIssue[] {
    if (this.#isTorn) return [];
    return issues.filter((issue) => !this.#isEcho(issue)).map((issue) => this.#told(issue, given));
  }

  #told(issue: ConfigIssue, given: ReadonlySet<string>): ConfigIssue {
    const inWords = (text: string) =>
      text.replaceAll(
        /--([a-z]+(?:-[a-z]+)*)/g,
        (flag, name: string) => given.has(name) ? flag : MODES[name] ?? keyOfFlag(name) ?? flag,
      );
    const parts = issue.path.split(", ");
    const keys = parts.map((part) => {
      if (!part.startsWith("--")) return IN_FILE_ALONE.test(part) ? part : undefined;
      return given.has(part.slice(2)) ? undefined : keyOfFlag(part.slice(2));
    }).filter((key) => key !== undefined);
    const place = issue.place ?? this.#nearestPlace(keys);
    return {
      path: [
        ...new Set(parts.map((part) => {
          const name = part.slice(2);
          return part.startsWith("--") && !given.has(name) ? keyOfFlag(name) ?? part : part;
        })),
      ].join(", "),
      found: inWords(issue.found),
      wanted: inWords(issue.wanted),
      ...(issue.hint === undefined ? {} : { hint: inWords(issue.hint) }),
      ...(place === undefined ? {} : { place }),
    };
  }

  /** Of the first key that the file sets; else of the table that one would be in, or of the file's beginning. */
  #nearestPlace(keys: readonly string[]): ConfigPlace | undefined {
    if (keys.length === 0) return undefined;
    const set = keys.find((key) => this.#places.has(key));
    if (set !== undefined) return this.placeOf(set);
    for (let key = keys[0]!; key.includes(".");) {
      key = key.slice(0, key.lastIndexOf("."));
      const place = this.placeOf(key);
      if (place !== undefined) return place;
    }
    return { file: this.file, line: 1, column: 1 };
  }

  /** Whether an issue may be there only because something could not be read. */
  #isEcho({ path, found, wanted, hint }: ConfigIssue): boolean {
    if (this.#leftOut.size === 0) return false;
    const flags = [path, found, wanted, hint ?? ""].join(" ").matchAll(/--([a-z]+(?:-[a-z]+)*)/g);
    const keys = [...path.split(", "), ...[...flags].map(([, name]) => keyOfFlag(name!))];
    return [...this.#leftOut].some((left) =>
      keys.some((key) => key === left || key?.startsWith(`${left}.`)) ||
      // A table that was left out is missed by who names it.
      left.startsWith("upstream") && ["upstream", `upstream.${unquoted(found)}`].includes(left) ||
      left.startsWith("group") && ["group", `group.${unquoted(found)}`].includes(left) ||
      // What is left of a rule may be about more, or about less.
      left.startsWith("rule") && (path === "policy.default" || path.startsWith(left.replace(/\.[^.]*$/, "")))
    );
  }

  #checkMode(mode: string | undefined): ConfigIssue[] {
    if (mode !== "host" || this.settings.from === undefined) return [];
    return [{
      path: "mode, intercept.from",
      found: '"host", and interfaces',
      wanted: 'mode = "gateway-and-host", or without intercept.from',
      place: this.placeOf("mode")!,
    }];
  }

  #syntaxIssue({ at, found, wanted }: SyntaxFault): ConfigIssue {
    return { path: "syntax", found, wanted, place: { file: this.file, ...at } };
  }

  #schemaIssue({ path, atKey, found, wanted, hint }: SchemaFault): ConfigIssue {
    const place = this.#placeOfPath(path, atKey);
    return {
      // A list's elements are known by their place.
      path: formatKeyPath(typeof path.at(-1) === "number" && path.length > 2 ? path.slice(0, -1) : path),
      found,
      wanted,
      ...(hint === undefined ? {} : { hint }),
      place: { file: this.file, ...place },
    };
  }

  /** Of what is missing that of the table that lacks it. */
  #placeOfPath(path: KeyPath, atKey: boolean): Position {
    for (let length = path.length; length > 0; length--) {
      const place = this.#places.get(formatKeyPath(path.slice(0, length)));
      if (place !== undefined) return atKey && length === path.length ? place.key : place.value;
    }
    return { line: 1, column: 1 };
  }
}

/** Tables that have no flags. Other paths that are no flags are operands, files and such: not of this file. */
const IN_FILE_ALONE = /^(?:upstream|group|rule|policy)\b/;

/** What has to be written in place of the flags that are one key. */
const MODES: Readonly<Record<string, string>> = { local: 'mode = "host"', sidecar: 'mode = "sidecar"' };

function relativeTo(file: string): (path: string) => string {
  const folder = file.slice(0, file.lastIndexOf("/") + 1);
  return (path) => path === "" || path.startsWith("/") ? path : folder + path;
}

function unquoted(text: string): string {
  return text.replace(/^"(.*)"$/, "$1");
}
