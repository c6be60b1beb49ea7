/**
 * From rules to the memory that every worker looks flows up in.
 *
 * Rules that differ in one list of prefixes alone (the destinations, or the sources where no destinations are named)
 * become one group with one table, whichever routes they lead to: so a policy of 100,000 rules of one prefix each is
 * as quick as one of a single rule with 100,000 prefixes. What a lookup costs grows with the number of groups.
 *
 * @module
 */
import { ANY, GROUP, HEADER, ROUTE_BITS } from "./layout.ts";
import { PrefixReader } from "./prefix_reader.ts";
import { writeRanges } from "./range_table.ts";
import { NONE, PrefixRows, rangesOfNumbers } from "./ranges.ts";
import type { PolicyRule } from "./rule.ts";
import { WordBuffer } from "./word_buffer.ts";

/** As in an IP header. */
const PROTOCOL = { tcp: 6, udp: 17 } as const;
/** One byte has it, and one value of that means none. */
const LAST_ROUTE = 254;
const MOST_RULES = NONE >> ROUTE_BITS;

/**
 * Compiles rules for {@linkcode PolicyTable}, in the order in which they are asked.
 *
 * @throws {RangeError} for a prefix that is none, a route above 254, or more than eight million rules.
 */
export function compilePolicy(rules: readonly PolicyRule[]): ArrayBuffer {
  if (rules.length > MOST_RULES) {
    throw new RangeError(`policy: found ${rules.length} rules, wanted at most ${MOST_RULES}`);
  }
  const buffer = new WordBuffer();
  buffer.reserve(HEADER.words);
  const groups = groupRules(rules, buffer);
  for (const group of groups) group.writeTables(buffer);
  const groupsAt = buffer.reserve(groups.length * GROUP.words);
  groups.forEach(({ record }, i) => buffer.words.set(record, groupsAt + i * GROUP.words));
  buffer.words[HEADER.groups] = groupsAt;
  buffer.words[HEADER.end] = buffer.length;
  const memory = new ArrayBuffer(4 * buffer.length);
  new Uint32Array(memory).set(buffer.words.subarray(0, buffer.length));
  return memory;
}

/** With its route in one number. */
function ruleNumber(index: number, { to }: PolicyRule): number {
  if (!Number.isInteger(to) || to < 0 || to > LAST_ROUTE) {
    throw new RangeError(`policy: found route ${to}, wanted 0 to ${LAST_ROUTE}`);
  }
  return index << ROUTE_BITS | to;
}

/** By the lowest of their rules, since they are made in the rules' order. */
function groupRules(rules: readonly PolicyRule[], buffer: WordBuffer): Group[] {
  const filters = new Filters(buffer);
  const groups = new Map<string, Group>();
  const reader = new PrefixReader();
  const record = new Uint32Array(GROUP.words);
  let group: Group | undefined;
  rules.forEach((rule, i) => {
    const { destinations, sources } = rule;
    const side = destinations !== undefined ? DESTINATIONS : sources !== undefined ? SOURCES : NEITHER;
    const number = ruleNumber(i, rule);
    record[GROUP.first] = number;
    record[GROUP.network] = rule.network === undefined ? ANY : PROTOCOL[rule.network];
    record[GROUP.destinationPorts] = filters.ofRanges(rule.destinationPorts);
    record[GROUP.sourcePorts] = filters.ofRanges(rule.sourcePorts);
    const shared = filters.ofPrefixes(side === DESTINATIONS ? sources : undefined);
    record[GROUP.sources4] = shared.v4;
    record[GROUP.sources6] = shared.v6;
    record[GROUP.facts] = filters.ofNumbers(rule.interfaces);
    record[GROUP.facts + 1] = filters.ofNumbers(rule.dscp);
    record[GROUP.facts + 2] = filters.ofRanges(rule.uids);
    // Rules that stand together are mostly of one kind.
    if (!group?.fits(record, side)) {
      const key = `${side} ${record.subarray(GROUP.network).join()}`;
      group = groups.get(key);
      if (group === undefined) groups.set(key, group = new Group(record.slice(), side));
    }
    for (const text of destinations ?? sources ?? []) {
      reader.read(text);
      group.add(reader, number);
    }
  });
  return [...groups.values()];
}

/** Where the prefixes in which rules of a group differ have their tables; {@linkcode NEITHER}: they have none. */
type Side = typeof DESTINATIONS | typeof SOURCES | typeof NEITHER;
const DESTINATIONS = GROUP.destinations4, SOURCES = GROUP.sources4, NEITHER = 0;

/** Rules that differ in the prefixes of one side. */
class Group {
  readonly record: Uint32Array;
  readonly #side: Side;
  readonly #prefixes = new PrefixLists();

  /** @param record with the first rule, and with the filters that all of them have. */
  constructor(record: Uint32Array, side: Side) {
    this.record = record;
    this.#side = side;
  }

  /** Whether a rule with these filters belongs here. */
  fits(record: Uint32Array, side: Side): boolean {
    if (side !== this.#side) return false;
    for (let i: number = GROUP.network; i < GROUP.words; i++) if (record[i] !== this.record[i]) return false;
    return true;
  }

  add(reader: PrefixReader, rule: number): void {
    this.#prefixes.add(reader, rule);
  }

  /** When no rule comes any more. */
  writeTables(buffer: WordBuffer): void {
    if (this.#side === NEITHER) return;
    const { v4, v6 } = this.#prefixes.write(buffer);
    this.record[this.#side] = v4;
    this.record[this.#side + 1] = v6;
  }
}

/** The tables of both families. */
interface Places {
  readonly v4: number;
  readonly v6: number;
}

/** Prefixes of both families. */
class PrefixLists {
  readonly #v4 = new PrefixRows(1);
  readonly #v6 = new PrefixRows(4);

  add({ family, words, length }: PrefixReader, value: number): void {
    (family === 4 ? this.#v4 : this.#v6).add(words, length, value);
  }

  write(buffer: WordBuffer): Places {
    return { v4: writeRanges(this.#v4.toRanges(), buffer), v6: writeRanges(this.#v6.toRanges(), buffer) };
  }
}

/** Filters, each only once: rules have the same one when they have its table in the same place. */
class Filters {
  readonly #buffer: WordBuffer;
  readonly #numbers = new Map<string, number>();
  readonly #prefixes = new Map<string, Places>();

  constructor(buffer: WordBuffer) {
    this.#buffer = buffer;
  }

  ofNumbers(numbers: readonly number[] | undefined): number {
    return this.ofRanges(numbers?.map((number) => ({ first: number, last: number })));
  }

  ofRanges(ranges: readonly { readonly first: number; readonly last: number }[] | undefined): number {
    if (ranges === undefined) return ANY;
    const key = ranges.map(({ first, last }) => `${first}-${last}`).join();
    let at = this.#numbers.get(key);
    if (at === undefined) this.#numbers.set(key, at = writeRanges(rangesOfNumbers(ranges), this.#buffer));
    return at;
  }

  ofPrefixes(texts: readonly string[] | undefined): Places {
    if (texts === undefined) return NOT_ASKED;
    const key = texts.join();
    let places = this.#prefixes.get(key);
    if (places === undefined) {
      const prefixes = new PrefixLists(), reader = new PrefixReader();
      for (const text of texts) {
        reader.read(text);
        prefixes.add(reader, 0);
      }
      this.#prefixes.set(key, places = prefixes.write(this.#buffer));
    }
    return places;
  }
}

const NOT_ASKED: Places = { v4: ANY, v6: ANY };
