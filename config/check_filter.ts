/**
 * Whether the values of a filter make sense, one by one and together: of what an `include` names, something has to
 * be left.
 *
 * @module
 */
import {
  type Filter,
  formatIdRange,
  formatMarkMatch,
  formatPortRange,
  type IdRange,
  type MarkMatch,
  parseIdRange,
  parseMac,
  parsePortRange,
  parsePrefix,
  type PortRange,
  type Prefix,
  prefixOf,
} from "../net/mod.ts";
import { isCgroupPath } from "./check_value.ts";
import type { ConfigIssue } from "./config_error.ts";
import { fitsInterfacePattern, isInterfaceNameOrPattern, isInterfacePattern } from "./interface_pattern.ts";
import type { Account } from "./selector_config.ts";

/** How the values of a filter are judged. */
interface Kind<T> {
  readonly wanted: string;
  readonly format: (value: T) => string;
  readonly isSound: (value: T) => boolean;
  /** Whether all that `small` names is named by `large`. */
  readonly holds: (large: T, small: T) => boolean;
}

/** The flags of a filter. */
export interface FilterPaths {
  readonly include: string;
  readonly exclude: string;
}

/** What is wrong with `values`, each by itself. */
export function* checkValues<T>(path: string, values: readonly T[], kind: Kind<T>): Generator<ConfigIssue> {
  for (const value of values) {
    if (!kind.isSound(value)) yield { path, found: kind.format(value), wanted: kind.wanted };
  }
}

/** What is wrong with a filter's values, and what it includes in vain. */
export function* checkFilter<T>(
  paths: FilterPaths,
  filter: Filter<T>,
  kind: Kind<T>,
): Generator<ConfigIssue> {
  yield* checkValues(paths.include, filter.include, kind);
  yield* checkValues(paths.exclude, filter.exclude, kind);
  const excluded = filter.exclude.filter(kind.isSound);
  for (const value of filter.include.filter(kind.isSound)) {
    const by = excluded.find((large) => kind.holds(large, value));
    if (by === undefined) continue;
    yield {
      path: `${paths.include}, ${paths.exclude}`,
      found: `${kind.format(value)} and ${kind.format(by)}`,
      wanted: "something left of what is included",
      hint: "what both name is left alone",
    };
  }
}

/** Port ranges. */
export const PORTS: Kind<PortRange> = {
  wanted: "ports from 1 to 65535, the lower one first",
  format: formatPortRange,
  isSound: (range) => parsePortRange(formatPortRange(range)) !== undefined,
  holds: rangeHolds,
};

/** Users or groups. */
export const ACCOUNTS: Kind<Account> = {
  wanted: "a name, or numbers from 0 to 4294967294, the lower one first",
  format: (account) => "name" in account ? JSON.stringify(account.name) : formatIdRange(account),
  isSound: (account) =>
    "name" in account ? isAccountName(account.name) : parseIdRange(formatIdRange(account)) !== undefined,
  holds: (large, small) => {
    if ("name" in large || "name" in small) {
      return "name" in large && "name" in small && large.name === small.name;
    }
    return rangeHolds(large, small);
  },
};

/** Packet marks. */
export const MARKS: Kind<MarkMatch> = {
  wanted: "VALUE or VALUE/MASK of 32 bits, with no bit of VALUE outside a MASK that is not 0",
  format: formatMarkMatch,
  isSound: ({ value, mask }) => isMark(value) && isMark(mask) && mask !== 0 && (value & ~mask) === 0,
  // Under fewer bits, and the same there.
  holds: (large, small) =>
    (large.mask & ~small.mask) === 0 && (small.value & large.mask) === (large.value | 0),
};

/** Ethernet addresses. */
export const MACS: Kind<string> = {
  wanted: "an address of one network card such as 02:00:5e:10:00:01",
  format: JSON.stringify,
  isSound: (mac) => parseMac(mac) === mac,
  holds: (large, small) => large === small,
};

/** Paths of cgroups. */
export const CGROUPS: Kind<string> = {
  wanted: "a path below the cgroup file system such as system.slice/ssh.service",
  format: JSON.stringify,
  isSound: isCgroupPath,
  holds: (large, small) => small === large || small.startsWith(`${large}/`),
};

/** Names of interfaces, and patterns of them. */
export const INTERFACES: Kind<string> = {
  wanted: "an interface name (1 to 15 characters), or a pattern with *",
  format: JSON.stringify,
  isSound: isInterfaceNameOrPattern,
  holds: (large, small) =>
    isInterfacePattern(small) ? large === small || large === "*" : fitsInterfacePattern(large, small),
};

/** Prefixes and addresses. */
export const PREFIXES: Kind<string> = {
  wanted: "a prefix such as 192.0.2.0/24 or an address",
  format: String,
  isSound: (text) => parsePrefix(text) !== undefined,
  holds: (large, small) => prefixHolds(parsePrefix(large)!, parsePrefix(small)!),
};

function rangeHolds(large: IdRange | PortRange, small: IdRange | PortRange): boolean {
  return large.first <= small.first && small.last <= large.last;
}

function prefixHolds(large: Prefix, small: Prefix): boolean {
  if (large.family !== small.family || large.length > small.length) return false;
  const first = { family: small.family, text: small.text.slice(0, small.text.indexOf("/")) };
  return prefixOf(first, large.length).text === large.text;
}

/** What useradd(8) lets through, and upper case, dots and `@`, which directories of users bring. */
function isAccountName(name: string): boolean {
  return /^[A-Za-z_][A-Za-z0-9_.@-]{0,255}\$?$/.test(name);
}

function isMark(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff;
}
