/**
 * Which rule is about a new flow, found in the memory that compile_policy.ts has filled. Nothing is allocated.
 *
 * Each group of rules has at most one that can decide, its lowest. What is in the flow's addresses is asked first; what
 * costs a system call is asked of the lowest rule that needs it and comes before the best of the others. So a flow is
 * asked just what it would be if the rules were gone through one after the other.
 *
 * @module
 */
import { ANY, GROUP, HEADER, ROUTE_BITS } from "./layout.ts";
import { find } from "./range_table.ts";
import { NONE } from "./ranges.ts";

/** What is asked of a flow beside its endpoints, at most once each, and only where a rule depends on it. */
export interface AskedFacts {
  /** Index of the interface that it came in by; 0: not known, so no filter names it. */
  interfaceIndex(): number;
  /** 0 to 63; -1: not known. */
  dscp(): number;
  /** User that owns the sending socket; -1: not known. */
  uid(): number;
}

/** AF_INET6 of Linux, on every architecture. */
const AF_INET6 = 10;
const ROUTE_MASK = (1 << ROUTE_BITS) - 1;
const FACTS = 3;
const NOT_ASKED = -2;
/** What is found out about the facts of a group, where no further one has to be asked. */
const HOLDS = -1, FAILS = -2;

/** The compiled policy, for one worker. */
export class PolicyTable {
  readonly #table: Uint32Array;
  readonly #groupsAt: number;
  readonly #groupsEnd: number;
  /** Groups whose rule depends on facts, and that rule, while a flow is looked up. */
  readonly #waiting: Uint32Array;
  /** Facts of that flow, in the order of a group's filters. */
  readonly #known = new Float64Array(FACTS);

  /** @param memory what `compilePolicy` gave; it is only read. */
  constructor(memory: ArrayBuffer) {
    const table = new Uint32Array(memory);
    this.#table = table;
    this.#groupsAt = table[HEADER.groups]!;
    this.#groupsEnd = table[HEADER.end]!;
    this.#waiting = new Uint32Array(2 * (this.#groupsEnd - this.#groupsAt) / GROUP.words);
  }

  /**
   * The route of a new flow.
   *
   * @param network IPPROTO_TCP or IPPROTO_UDP.
   * @param words memory that holds the client's sockaddr at word `clientAt` and the destination's at `destinationAt`.
   * @returns its number; -1: no rule is about the flow.
   */
  choose(
    network: number,
    words: Int32Array,
    clientAt: number,
    destinationAt: number,
    facts: AskedFacts,
  ): number {
    const rule = this.#find(network, words, clientAt, destinationAt, facts);
    return rule === NONE ? -1 : rule & ROUTE_MASK;
  }

  /** The rule itself, counted from 0; -1: none. */
  ruleOf(
    network: number,
    words: Int32Array,
    clientAt: number,
    destinationAt: number,
    facts: AskedFacts,
  ): number {
    const rule = this.#find(network, words, clientAt, destinationAt, facts);
    return rule === NONE ? -1 : rule >> ROUTE_BITS;
  }

  #find(
    network: number,
    words: Int32Array,
    clientAt: number,
    destinationAt: number,
    facts: AskedFacts,
  ): number {
    const table = this.#table;
    const sourcePort = portAt(words, clientAt), destinationPort = portAt(words, destinationAt);
    let best = NONE, waiting = 0;
    for (let group = this.#groupsAt; group < this.#groupsEnd; group += GROUP.words) {
      const first = table[group]!;
      if (first >= best) break;
      const wanted = table[group + GROUP.network]!;
      if (wanted !== ANY && wanted !== network) continue;
      if (!names(table, table[group + GROUP.destinationPorts]!, destinationPort)) continue;
      if (!names(table, table[group + GROUP.sourcePorts]!, sourcePort)) continue;
      const byDestination = valueAt(table, group + GROUP.destinations4, words, destinationAt);
      if (byDestination >= best) continue;
      const bySource = valueAt(table, group + GROUP.sources4, words, clientAt);
      if (bySource >= best) continue;
      const rule = Math.max(first, byDestination, bySource);
      if (asksNothing(table, group)) {
        best = rule;
      } else {
        this.#waiting[waiting++] = group;
        this.#waiting[waiting++] = rule;
      }
    }
    return waiting === 0 ? best : this.#decide(waiting, best, facts);
  }

  /** Asks what has to be asked. @param waiting entries of `#waiting` that are filled. */
  #decide(waiting: number, best: number, facts: AskedFacts): number {
    this.#known.fill(NOT_ASKED);
    // Each round asks one fact more, so there are at most four.
    for (;;) {
      let lowest = best, undecided = -1;
      for (let i = 0; i < waiting; i += 2) {
        const group = this.#waiting[i]!, rule = this.#waiting[i + 1]!;
        if (rule >= lowest) continue;
        const fact = this.#judge(group);
        if (fact === FAILS) {
          this.#waiting[i + 1] = NONE;
        } else {
          lowest = rule;
          undecided = fact;
          if (fact === HOLDS) best = rule;
        }
      }
      if (undecided < 0) return best;
      this.#known[undecided] = ask(facts, undecided);
    }
  }

  /** The first fact that has to be known to decide this group, or {@linkcode FAILS} or {@linkcode HOLDS}. */
  #judge(group: number): number {
    let unknown = HOLDS;
    for (let fact = FACTS - 1; fact >= 0; fact--) {
      const filter = this.#table[group + GROUP.facts + fact]!, known = this.#known[fact]!;
      if (filter === ANY) continue;
      if (known === NOT_ASKED) unknown = fact;
      else if (known < 0 || !names(this.#table, filter, known)) return FAILS;
    }
    return unknown;
  }
}

/** sin_port or sin6_port of the sockaddr at this word. */
function portAt(words: Int32Array, at: number): number {
  const familyPort = words[at]!;
  return (familyPort >>> 16 & 0xff) << 8 | familyPort >>> 24;
}

/**
 * The value of a sockaddr's address in the table of its family.
 *
 * @param table4 where the place of the IPv4 table is, with that of the IPv6 one behind.
 * @returns 0 where addresses are not asked.
 */
function valueAt(table: Uint32Array, table4: number, words: Int32Array, at: number): number {
  if ((words[at]! & 0xff) !== AF_INET6) {
    const place = table[table4]!;
    return place === ANY ? 0 : find(table, place, toHostOrder(words[at + 1]!), 0, 0, 0);
  }
  const place = table[table4 + 1]!;
  if (place === ANY) return 0;
  return find(
    table,
    place,
    toHostOrder(words[at + 2]!),
    toHostOrder(words[at + 3]!),
    toHostOrder(words[at + 4]!),
    toHostOrder(words[at + 5]!),
  );
}

/** Both architectures are little-endian. */
function toHostOrder(word: number): number {
  return (word << 24 | (word & 0xff00) << 8 | word >>> 8 & 0xff00 | word >>> 24) >>> 0;
}

function asksNothing(table: Uint32Array, group: number): boolean {
  const facts = group + GROUP.facts;
  return table[facts] === ANY && table[facts + 1] === ANY && table[facts + 2] === ANY;
}

/** The cheapest is the first. */
function ask(facts: AskedFacts, fact: number): number {
  switch (fact) {
    case 0:
      // 0 is no interface.
      return facts.interfaceIndex() || -1;
    case 1:
      return facts.dscp();
    default:
      return facts.uid();
  }
}

/** Whether a filter names a number. */
function names(table: Uint32Array, filter: number, number: number): boolean {
  return filter === ANY || find(table, filter, number, 0, 0, 0) !== NONE;
}
