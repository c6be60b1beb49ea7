/**
 * What a policy costs: `./dev bench policy`.
 *
 * For policies of several sizes, the time from the text of a list to the table that workers ask, and the time of one
 * look-up among flows that are all different, those whose destination is named (hits) and those that no rule is about
 * (misses). Nothing but this process takes part.
 *
 * @module
 */
import { encodeSockaddr } from "../ffi/mod.ts";
import { addressFromBytes, type IpAddress, type IpFamily, parsePrefixList } from "../net/mod.ts";
import { compilePolicy, NO_FILTERS, type PolicyRule, PolicyTable } from "../policy/mod.ts";
import { median } from "./summary.ts";

/** What a run of this size looks like. */
export interface PolicySize {
  readonly rounds: number;
  /** Looked up in each round, of each kind. */
  readonly lookups: number;
}

/** Worth publishing, and enough to see that everything works. */
export const FULL: PolicySize = { rounds: 15, lookups: 1_000_000 };
/** The same in short. */
export const QUICK: PolicySize = { rounds: 3, lookups: 200_000 };

/** Different ones that are looked up in turn: together they touch more of a table than the nearest caches have. */
const FLOWS = 65_536;
/** Words of a sockaddr_in6, rounded up. */
const SOCKADDR_WORDS = 8;
const PROTOCOL_TCP = 6;
/** Random, and the same in every run. */
const SEED = 0x2545_f491;

/** A policy to be measured. */
interface Subject {
  readonly title: string;
  readonly family: IpFamily;
  /** In all its rules. */
  readonly prefixes: number;
  readonly rulesOf: (prefixes: readonly string[]) => PolicyRule[];
}

/** Each prefix is a rule, and the next one leads elsewhere. */
function oneEach(prefixes: readonly string[]): PolicyRule[] {
  return prefixes.map((prefix, i) => ({ ...NO_FILTERS, destinations: [prefix], to: i & 1 }));
}

function oneRule(prefixes: readonly string[]): PolicyRule[] {
  return [{ ...NO_FILTERS, destinations: prefixes, to: 1 }];
}

const SUBJECTS: readonly Subject[] = ([4, 6] as const).flatMap((family): Subject[] => [
  { title: "0 rules", family, prefixes: 0, rulesOf: () => [] },
  { title: "1,000 rules", family, prefixes: 1_000, rulesOf: oneEach },
  { title: "100,000 rules", family, prefixes: 100_000, rulesOf: oneEach },
  { title: "1 rule, 100,000 prefixes", family, prefixes: 100_000, rulesOf: oneRule },
]);

/** One round's figures of one policy. */
interface PolicySample {
  readonly compileMs: number;
  readonly hitNs: number;
  readonly missNs: number;
}

/** Runs everything and gives the table; progress goes to standard error. */
export function benchPolicy(size: PolicySize): string {
  const prepared = SUBJECTS.map((subject) => ({ subject, ...prepare(subject) }));
  const samples = new Map<Subject, PolicySample[]>(SUBJECTS.map((subject) => [subject, []]));
  for (let round = 0; round < size.rounds; round++) {
    for (const { subject, list, hits, misses } of prepared) {
      const started = performance.now();
      const parsed = parsePrefixList(list);
      if (!("prefixes" in parsed)) throw new Error(`bench: bad list: ${JSON.stringify(parsed.badLines)}`);
      const table = new PolicyTable(compilePolicy(subject.rulesOf(parsed.prefixes.map(({ text }) => text))));
      const compileMs = performance.now() - started;
      // A worker has not just built rules of 100,000 objects, whose memory is being collected meanwhile.
      lookUp(table, hits, size.lookups, subject.prefixes > 0);
      const hitNs = lookUp(table, hits, size.lookups, subject.prefixes > 0);
      const missNs = lookUp(table, misses, size.lookups, false);
      samples.get(subject)!.push({ compileMs, hitNs, missNs });
    }
    console.error(`round ${round + 1}/${size.rounds}`);
  }
  return renderTable(samples);
}

/** @returns nanoseconds of one look-up. */
function lookUp(table: PolicyTable, flows: Int32Array, lookups: number, isHit: boolean): number {
  const nothing = { interfaceIndex: () => 0, dscp: () => -1, uid: () => -1 };
  const started = performance.now();
  let found = 0;
  for (let i = 0; i < lookups; i++) {
    const at = i % FLOWS * 2 * SOCKADDR_WORDS;
    if (table.choose(PROTOCOL_TCP, flows, at, at + SOCKADDR_WORDS, nothing) >= 0) found++;
  }
  const ns = 1e6 * (performance.now() - started) / lookups;
  if (found !== (isHit ? lookups : 0)) throw new Error(`bench: ${found} of ${lookups} flows found a rule`);
  return ns;
}

/** A list of prefixes apart from one another, flows to them and flows past them. */
function prepare({ family, prefixes }: Subject): { list: string; hits: Int32Array; misses: Int32Array } {
  const random = new Random(SEED);
  const named = new Set<number>();
  while (named.size < prefixes) named.add(blockBetween(random));
  const blocks = [...named];
  const hits = flowsTo(family, random, () => blocks.length === 0 ? 0 : blocks[random.below(blocks.length)]!);
  const misses = flowsTo(family, random, () => {
    for (;;) {
      const block = blockBetween(random);
      if (!named.has(block)) return block;
    }
  });
  const length = family === 4 ? 24 : 48;
  const list = blocks.map((block) => `${addressIn(family, block, 0).text}/${length}`).join("\n");
  return { list, hits, misses };
}

/** As the networks of a country: 24 bits, all over what is routed. */
function blockBetween(random: Random): number {
  return 0x01_0000 + random.below(0xdf_0000 - 0x01_0000);
}

/** An address in that /24, or in a /48 below 2001::/16 that the same bits choose. */
function addressIn(family: IpFamily, block: number, low: number): IpAddress {
  const bytes = new Uint8Array(family === 4 ? 4 : 16);
  bytes[bytes.length - 1] = low;
  if (family === 6) bytes.set([0x20, 0x01]);
  const at = family === 4 ? 0 : 2;
  bytes.set([block >> 16, block >> 8 & 0xff, block & 0xff], at);
  return addressFromBytes(bytes);
}

/** Sockaddrs of {@linkcode FLOWS} clients and their destinations. */
function flowsTo(family: IpFamily, random: Random, blockOf: () => number): Int32Array {
  const words = new Int32Array(FLOWS * 2 * SOCKADDR_WORDS), bytes = new Uint8Array(words.buffer);
  for (let i = 0; i < FLOWS; i++) {
    const client = bytes.subarray(8 * i * SOCKADDR_WORDS), destination = client.subarray(4 * SOCKADDR_WORDS);
    const low = random.below(256), to = addressIn(family, blockOf(), low);
    encodeSockaddr({ address: addressIn(family, 0, low), port: 40_000 }, client);
    encodeSockaddr({ address: to, port: 443 }, destination);
  }
  return words;
}

function renderTable(samples: ReadonlyMap<Subject, readonly PolicySample[]>): string {
  const cell = (of: readonly PolicySample[], digits: number, pick: (sample: PolicySample) => number) => {
    const values = of.map(pick);
    const [middle, least, most] = [median(values), Math.min(...values), Math.max(...values)];
    return `${middle.toFixed(digits)} (${least.toFixed(digits)}–${most.toFixed(digits)})`;
  };
  return [
    "| policy | family | list and compile, ms | hit, ns | miss, ns |",
    "| --- | --- | ---: | ---: | ---: |",
    ...[...samples].map(([{ title, family }, of]) =>
      `| ${title} | IPv${family} | ${cell(of, 1, ({ compileMs }) => compileMs)} | ${
        cell(of, 0, ({ hitNs }) => hitNs)
      } | ${cell(of, 0, ({ missNs }) => missNs)} |`
    ),
  ].join("\n");
}

/** Numbers that look random (xorshift32) and are the same in every run. */
class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  below(end: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % end;
  }
}
