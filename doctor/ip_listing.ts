/**
 * Reads `ip -N -d -j rule list` and `ip -N -d -j route list`.
 *
 * @module
 */
import type { IpFamily } from "../net/address.ts";

/** A routing rule, of anybody. */
export interface IpRuleFact {
  readonly family: IpFamily;
  readonly preference: number;
  /** The rule is about packets that do not match. */
  readonly negated: boolean;
  readonly mark: { readonly value: number; readonly mask: number } | undefined;
  /** Whether it asks for more than the mark: an address, an interface, a user, a port. */
  readonly asksMore: boolean;
  readonly incoming: string | undefined;
  /** 0: it does not look up a table. */
  readonly table: number;
  readonly protocol: number;
  /** Routes with a prefix this short are not taken (suppress_prefixlength). */
  readonly suppressed: boolean;
  /** For people, as `ip rule` prints it. */
  readonly text: string;
  /** The same without the preference, as `ip rule add` reads it. */
  readonly words: string;
}

/** A route that is ours, or where ours should be. */
export interface RouteFact {
  readonly family: IpFamily;
  readonly table: number;
  readonly protocol: number;
  readonly text: string;
}

type Fields = Readonly<Record<string, unknown>>;

/** Selectors beside mark and incoming interface. */
const OTHER_SELECTORS = [
  "oif",
  "tos",
  "ipproto",
  "sport",
  "dport",
  "sport_start",
  "dport_start",
  "uid_start",
  "l3mdev",
];

/** RT_TABLE_MAIN, which `ip` leaves out of a listing of all tables. */
const TABLE_MAIN = 254;

/** Every rule, in the order in which the kernel asks them. */
export function parseIpRules(text: string, family: IpFamily): IpRuleFact[] {
  return parseObjects(text).map((rule) => {
    const read = (key: string) => rule[key] === undefined ? undefined : String(rule[key]);
    const mark = read("fwmark"), incoming = read("iif");
    const words = describe(rule, read);
    const source = read("src") ?? "all", destination = read("dst");
    return {
      family,
      preference: Number(rule["priority"] ?? 0),
      negated: "not" in rule,
      mark: mark === undefined
        ? undefined
        : { value: Number(mark), mask: Number(read("fwmask") ?? 0xffffffff) },
      asksMore: source !== "all" || destination !== undefined || OTHER_SELECTORS.some((key) => key in rule),
      incoming,
      table: Number(rule["table"] ?? 0),
      protocol: Number(rule["protocol"] ?? 0),
      suppressed: "suppress_prefixlen" in rule,
      text: `${read("priority") ?? 0}: ${words}`,
      words,
    };
  });
}

function describe(rule: Fields, read: (key: string) => string | undefined): string {
  const mask = read("fwmask");
  const prefix = (key: "src" | "dst") => {
    const length = read(`${key}len`);
    return length === undefined ? read(key) : `${read(key)}/${length}`;
  };
  return [
    ...("not" in rule ? ["not"] : []),
    `from ${prefix("src") ?? "all"}`,
    ...(rule["dst"] === undefined ? [] : [`to ${prefix("dst")}`]),
    ...(rule["fwmark"] === undefined
      ? []
      : [`fwmark ${read("fwmark")}${mask === undefined ? "" : `/${mask}`}`]),
    ...(rule["iif"] === undefined ? [] : [`iif ${read("iif")}`]),
    ...(rule["oif"] === undefined ? [] : [`oif ${read("oif")}`]),
    ...(rule["table"] === undefined ? [] : [`lookup ${read("table")}`]),
    ...(rule["action"] === undefined ? [] : [read("action")!]),
    ...(rule["suppress_prefixlen"] === undefined
      ? []
      : [`suppress_prefixlength ${read("suppress_prefixlen")}`]),
  ].join(" ");
}

/** What `ip` was asked for it does not print; `asked` says it again. */
export function parseRoutes(
  text: string,
  family: IpFamily,
  asked: { readonly table?: number; readonly protocol?: number },
): RouteFact[] {
  return parseObjects(text).map((route) => {
    const table = asked.table ?? Number(route["table"] ?? TABLE_MAIN);
    const protocol = asked.protocol ?? Number(route["protocol"] ?? 0);
    const words = [
      route["dst"],
      ...(route["dev"] === undefined ? [] : ["dev", route["dev"]]),
      "table",
      table,
    ];
    return { family, table, protocol, text: words.join(" ") };
  });
}

/** A listing that broke off, as of a table that does not exist, is no JSON: then nothing is there. */
function parseObjects(text: string): Fields[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return [];
    throw error;
  }
  return Array.isArray(value) ? value.filter((item) => typeof item === "object" && item !== null) : [];
}
