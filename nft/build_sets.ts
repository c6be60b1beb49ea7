/**
 * From lists of prefixes to what rules match: a match for each prefix where they are few, else a named set.
 *
 * @module
 */
import type { IpFamily } from "../net/address.ts";
import { mergePrefixes, parsePrefix, type Prefix } from "../net/mod.ts";
import { contentHash } from "./content_hash.ts";
import type { AddressSet, Match } from "./plan.ts";

/** Up to so many of one family are written out: readable, and nothing more to load. */
export const WRITTEN_OUT = 4;
const HASH_DIGITS = 12;

/** What a set is for, as its name begins: excluded, included, or of a rule of the policy. */
export type SetPurpose = "dst_no" | "dst_in" | "dst_to" | "src_no" | "src_in" | "src_to";

/** The sets of one plan; the same list gives the same set. */
export class SetCollection {
  readonly #sets = new Map<string, AddressSet>();
  readonly #matches = new Map<readonly string[], Match[]>();

  /** In the order of their first use. */
  get sets(): AddressSet[] {
    return [...this.#sets.values()];
  }

  /**
   * Matches, one for each rule that is needed, that together hold for every address in `prefixes` and no other.
   *
   * @param prefixes canonical texts; others are for check_intent.ts to refuse.
   */
  matches(purpose: SetPurpose, prefixes: readonly string[], why: string): Match[] {
    // A list of 100,000 prefixes is looked at once, though several chains ask for it.
    const known = this.#matches.get(prefixes);
    if (known !== undefined) return known;
    const merged = mergePrefixes(prefixes.flatMap((text) => parsePrefix(text) ?? []));
    const found = ([4, 6] as const).flatMap((family) =>
      this.#familyMatches(purpose, family, merged.filter((prefix) => prefix.family === family), why)
    );
    this.#matches.set(prefixes, found);
    return found;
  }

  /** The IP version of the addresses for which a match of {@linkcode SetCollection.matches} holds. */
  familyOf(match: Match): IpFamily | undefined {
    if (match.kind === "address") return match.family;
    return match.kind === "addressSet" ? this.#sets.get(match.set)?.family : undefined;
  }

  #familyMatches(purpose: SetPurpose, family: IpFamily, prefixes: readonly Prefix[], why: string): Match[] {
    const side = purpose.startsWith("dst") ? "destination" : "source";
    if (prefixes.length <= WRITTEN_OUT) {
      return prefixes.map(({ text }): Match => ({ kind: "address", side, family, prefix: text }));
    }
    const texts = prefixes.map(({ text }) => text);
    const name = `${purpose}_${family}_${contentHash(texts.join()).slice(0, HASH_DIGITS)}`;
    this.#sets.set(name, { name, family, prefixes: texts, why });
    return [{ kind: "addressSet", side, set: name }];
  }
}
