/**
 * What routes are called, for as long as records may name them: flows outlive the routing that they began under.
 *
 * @module
 */
import type { RouteNumber } from "../dataplane/flow_ring.ts";

/** Records have 16 bits for a generation. */
const MOST_GENERATIONS = 65_536;

/** Every list of names that there has been, each once: a routing that has the names of an earlier one shares its number. */
export class RouteNames {
  readonly #generations: (readonly string[])[] = [];
  readonly #byText = new Map<string, number>();
  #next = 0;

  /** The generation that routes of these names, in the order of their numbers, belong to. */
  generationOf(names: readonly string[]): number {
    const text = JSON.stringify(names);
    const known = this.#byText.get(text);
    if (known !== undefined) return known;
    const generation = this.#next;
    this.#next = (generation + 1) % MOST_GENERATIONS;
    // After so many changes the oldest names are those that nobody will ask for.
    const forgotten = this.#generations[generation];
    if (forgotten !== undefined) this.#byText.delete(JSON.stringify(forgotten));
    this.#generations[generation] = names;
    this.#byText.set(text, generation);
    return generation;
  }

  /** The name of a route; undefined: there is none such. */
  nameOf({ generation, id }: RouteNumber): string | undefined {
    return this.#generations[generation]?.[id];
  }
}
