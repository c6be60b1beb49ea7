/**
 * What every policy module of one worker is run with: the worker's clock, names of interfaces, counters and warnings.
 *
 * @module
 */
import {
  type Arena,
  type Block,
  CLOCK_MONOTONIC,
  INTERFACE_NAMES_BYTES,
  InterfaceNames,
  type Syscalls,
} from "../ffi/mod.ts";
import type { Route, Router } from "../flow/mod.ts";
import { type LifeMemory, PolicyTurn } from "./life_memory.ts";
import type { PolicyFunction } from "./policy_function.ts";
import { describeThrown, PolicyRouter, type PolicyRouterParts } from "./policy_router.ts";

/** Arena bytes that it takes. */
export const POLICY_SEAT_BYTES = INTERFACE_NAMES_BYTES + 64;

/** One for each worker, whatever routings come. */
export class PolicySeat {
  readonly #sys: Syscalls;
  readonly #time: Block;
  readonly #names: InterfaceNames;
  readonly #turn: PolicyTurn;
  readonly #ears: Pick<PolicyRouterParts, "count" | "warn">;

  constructor(
    sys: Syscalls,
    arena: Arena,
    { turn }: LifeMemory,
    ears: Pick<PolicyRouterParts, "count" | "warn">,
  ) {
    this.#sys = sys;
    this.#time = arena.allocate(16);
    this.#names = new InterfaceNames(sys, arena);
    this.#turn = new PolicyTurn(turn);
    this.#ears = ears;
    // Of timers and promises that modules leave behind. They come up when the thread is in its event loop, while another
    // module is imported; unheard, they would end it, and all its connections with it.
    globalThis.addEventListener("error", (event) => this.#onStray(event, event.error));
    globalThis.addEventListener("unhandledrejection", (event) => this.#onStray(event, event.reason));
  }

  /** A router that asks `decide` first. */
  router(decide: PolicyFunction, rules: Router, routes: readonly Route[], budgetMs: number): PolicyRouter {
    return new PolicyRouter({
      decide,
      rules,
      routes,
      budgetMs,
      turn: this.#turn,
      interfaceName: (index) => this.#names.nameOf(index),
      clock: () => this.#clock(),
      ...this.#ears,
    });
  }

  close(): void {
    this.#names.close();
  }

  #onStray(event: Event, thrown: unknown): void {
    event.preventDefault();
    let what = "what cannot be looked at";
    try {
      what = describeThrown(thrown);
    } catch {
      // Objects can throw at whoever looks at them.
    }
    this.#ears.count("policyErrors");
    this.#ears.warn("policy-error", `policy module: a timer or a promise of it threw ${what}`);
  }

  /** A third of what `performance.now()` costs, and nothing that is set by hand. */
  #clock(): number {
    this.#sys.clock_gettime(CLOCK_MONOTONIC, this.#time.pointer);
    const { words } = this.#time;
    // struct timespec: two 64-bit words, of which the halves in use are the low ones.
    return words[0]! * 1000 + words[2]! / 1e6;
  }
}
