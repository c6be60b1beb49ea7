/**
 * A plan's address sets → ipsets. A set's name changes with its content, so a set that rules ask for is never
 * changed: the new one is filled beside it, the rules change over, and the old one goes.
 *
 * Short lists need no ipset: they are written out as rules, so that a host without the program has them too.
 *
 * @module
 */
import type { IpFamily } from "../net/address.ts";
import type { AddressSet, Plan } from "./plan.ts";

/** Up to so many prefixes become a rule each. */
const WRITTEN_OUT = 32;
/** What the kernel takes when nothing is said; a longer list must ask for more. */
const DEFAULT_MAX_ELEMENTS = 65_536;
/** IPSET_MAXNAMELEN without the terminating NUL. */
export const IPSET_NAME_BYTES = 31;

/** Whether a list is long enough to be an ipset. */
export function isIpset({ prefixes }: AddressSet): boolean {
  return prefixes.length > WRITTEN_OUT;
}

/** The ipsets that `plan` needs for these families. */
export function ipsetsOf(plan: Plan, families: readonly IpFamily[]): AddressSet[] {
  return plan.sets.filter((set) => isIpset(set) && families.includes(set.family));
}

/** The ipset's name. */
export function ipsetName(tableName: string, setName: string): string {
  return `${tableName}_${setName}`;
}

/** Whether an ipset of that name is one of `tableName`'s: `WHAT_FAMILY_HASH`, or one being filled. */
export function isOwnIpset(tableName: string, name: string): boolean {
  return name.startsWith(`${tableName}_`) &&
    /^(?:[a-z]\w*_[46]_[0-9a-f]{8,}|fill)$/.test(name.slice(tableName.length + 1));
}

/** The ipset that is filled before it takes another's place. */
export function fillingName(tableName: string): string {
  return ipsetName(tableName, "fill");
}

/** Text for `ipset restore` that makes the set under `name`. @param withElements false: an empty one. */
export function renderIpset(set: AddressSet, name: string, withElements = true): string {
  const lines = [`create ${name} ${ipsetType(set)}`];
  if (withElements) { for (const prefix of set.prefixes) lines.push(`add ${name} ${prefix}`); }
  return lines.join("\n") + "\n";
}

function ipsetType({ family, prefixes }: AddressSet): string {
  // The table of a set that grows is rebuilt again and again; a quarter of the elements are the kernel's own measure.
  const buckets = 2 ** Math.max(10, Math.ceil(Math.log2(prefixes.length / 4)));
  return `hash:net family ${family === 4 ? "inet" : "inet6"} hashsize ${buckets} ` +
    `maxelem ${Math.max(DEFAULT_MAX_ELEMENTS, prefixes.length)}`;
}

/** Each ipset's number of elements, from the text of `ipset list -t`. */
export function parseIpsetCounts(text: string): Map<string, number> {
  const counts = new Map<string, number>();
  let name: string | undefined;
  for (const line of text.split("\n")) {
    const [, key, value] = /^(Name|Number of entries): (.*)$/.exec(line) ?? [];
    if (key === "Name") name = value;
    else if (key !== undefined && name !== undefined) counts.set(name, Number(value));
  }
  return counts;
}
