/**
 * From rules to the memory that every worker looks flows up in.
 *
 * Rules that differ in one list of prefixes alone (the destinations, or the sources where no destinations are named)
 * become one group with one table, whichever routes they lead to: so a policy of 100,000 rules of one prefix each is
 * as quick as one of a single rule with 100,000 prefixes. What a lookup costs grows with the number of groups.
 *
 * @module
 */
import { ANY, GROUP, HEADER, tableWords, writeTable } from "./layout.ts";
import { PrefixReader } from "./prefix_reader.ts";
import { PrefixRows, type Ranges, rangesOfNumbers } from "./ranges.ts";
import type { PolicyRule } from "./rule.ts";

/** As in an IP header. */
const PROTOCOL = { tcp: 6, udp: 17 } as const;
/** One byte has it, and one value of that means none. */
const LAST_ROUTE = 254;

/**
 * Compiles rules for {@linkcode PolicyTable}, in the order in which they are asked.
 *
 * @throws {RangeError} for a prefix that is none, or a route above 254.
 */
export function compilePolicy(rules: readonly PolicyRule[]): SharedArrayBuffer {
  const tables = new Tables();
  const records = groupRules(rules, tables).map((group) => group.toRecord(tables));
  const groupsAt = tables.end, routesAt = groupsAt + records.length * GROUP.words;
  const memory = new SharedArrayBuffer(4 * routesAt + rules.length);
  const words = new Uint32Array(memory, 0, routesAt);
  words[HEADER.groups] = groupsAt;
  words[HEADER.routes] = routesAt;
  tables.write(words);
  records.forEach((record, i) => words.set(record, groupsAt + i * GROUP.words));
  const routes = new Uint8Array(memory, 4 * routesAt);
  rules.forEach(({ to }, i) => {
    if (!Number.isInteger(to) || to < 0 || to > LAST_ROUTE) {
      throw new RangeError(`policy: found route ${to}, wanted 0 to ${LAST_ROUTE}`);
    }
    routes[i] = to;
  });
  return memory;
}

/** By the lowest of their rules, since they are made in the rules' order. */
function groupRules(rules: readonly PolicyRule[], tables: Tables): Group[] {
  const filters = new Filters(tables);
  const groups = new Map<string, Group>();
  const reader = new PrefixReader();
  rules.forEach((rule, i) => {
    const record = new Uint32Array(GROUP.words);
    record[GROUP.first] = i;
    record[GROUP.network] = rule.network === undefined ? ANY : PROTOCOL[rule.network];
    record[GROUP.destinationPorts] = filters.ofRanges(rule.destinationPorts);
    record[GROUP.sourcePorts] = filters.ofRanges(rule.sourcePorts);
    record[GROUP.facts] = filters.ofNumbers(rule.interfaces);
    record[GROUP.facts + 1] = filters.ofNumbers(rule.dscp);
    record[GROUP.facts + 2] = filters.ofRanges(rule.uids);
    const own = rule.destinations ?? rule.sources;
    if (rule.destinations !== undefined) {
      [record[GROUP.sources4], record[GROUP.sources6]] = filters.ofPrefixes(rule.sources);
    }
    const side = rule.destinations !== undefined ? "destinations" : own !== undefined ? "sources" : "none";
    const key = `${side} ${record.subarray(GROUP.network).join()}`;
    let group = groups.get(key);
    if (group === undefined) groups.set(key, group = new Group(record, side));
    for (const text of own ?? []) {
      reader.read(text);
      group.add(reader, i);
    }
  });
  return [...groups.values()];
}

/** Rules that differ in the prefixes of one side. */
class Group {
  readonly #record: Uint32Array;
  readonly #side: "destinations" | "sources" | "none";
  readonly #v4 = new PrefixRows(1);
  readonly #v6 = new PrefixRows(4);

  constructor(record: Uint32Array, side: "destinations" | "sources" | "none") {
    this.#record = record;
    this.#side = side;
  }

  add({ family, words, length }: PrefixReader, rule: number): void {
    (family === 4 ? this.#v4 : this.#v6).add(words, length, rule);
  }

  toRecord(tables: Tables): Uint32Array {
    const record = this.#record;
    if (this.#side !== "none") {
      const [at4, at6] = this.#side === "destinations"
        ? [GROUP.destinations4, GROUP.destinations6]
        : [GROUP.sources4, GROUP.sources6];
      record[at4] = tables.add(this.#v4.toRanges());
      record[at6] = tables.add(this.#v6.toRanges());
    }
    return record;
  }
}

/** Filters, each only once: rules have the same one when they have its table in the same place. */
class Filters {
  readonly #tables: Tables;
  readonly #numbers = new Map<string, number>();
  readonly #prefixes = new Map<string, [number, number]>();

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  ofNumbers(numbers: readonly number[] | undefined): number {
    return this.ofRanges(numbers?.map((number) => ({ first: number, last: number })));
  }

  ofRanges(ranges: readonly { readonly first: number; readonly last: number }[] | undefined): number {
    if (ranges === undefined) return ANY;
    const key = ranges.map(({ first, last }) => `${first}-${last}`).join();
    let at = this.#numbers.get(key);
    if (at === undefined) this.#numbers.set(key, at = this.#tables.add(rangesOfNumbers(ranges)));
    return at;
  }

  ofPrefixes(prefixes: readonly string[] | undefined): readonly [number, number] {
    if (prefixes === undefined) return [ANY, ANY];
    const key = prefixes.join();
    let places = this.#prefixes.get(key);
    if (places === undefined) {
      const v4 = new PrefixRows(1), v6 = new PrefixRows(4), reader = new PrefixReader();
      for (const text of prefixes) {
        reader.read(text);
        (reader.family === 4 ? v4 : v6).add(reader.words, reader.length, 0);
      }
      places = [this.#tables.add(v4.toRanges()), this.#tables.add(v6.toRanges())];
      this.#prefixes.set(key, places);
    }
    return places;
  }
}

/** Where tables will lie, one behind the other. */
class Tables {
  readonly #tables: { readonly ranges: Ranges; readonly at: number }[] = [];
  end: number = HEADER.words;

  add(ranges: Ranges): number {
    const at = this.end;
    this.#tables.push({ ranges, at });
    this.end += tableWords(ranges);
    return at;
  }

  write(into: Uint32Array): void {
    for (const { ranges, at } of this.#tables) writeTable(ranges, into, at);
  }
}
