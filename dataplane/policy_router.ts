/**
 * Asks a policy module about each new flow, and the rules where it has nothing to say, fails, or takes too long.
 *
 * What a module does wrong never costs more than its answer: everything it throws is caught, its time is measured, and
 * one that is too slow again and again is left alone for a while. One that does not return at all is the control
 * plane's affair, see life_memory.ts.
 *
 * @module
 */
import type { BlockRoute, FlowFacts, Route, Router } from "../flow/mod.ts";
import { NO_ROUTE } from "./flow_ring.ts";
import type { PolicyTurn } from "./life_memory.ts";
import { AskedFlow } from "./policy_flow.ts";
import type { PolicyFunction } from "./policy_function.ts";
import { withoutVersion } from "./policy_module.ts";
import type { CounterName } from "./stats.ts";

/** So many answers that came too late within PAUSE_MS, and it is not asked for PAUSE_MS. */
const LATE_ANSWERS = 8;
const PAUSE_MS = 10_000;

/** Kinds of faults of a module. */
export type PolicyWarning = "policy-error" | "policy-late" | "policy-paused" | "policy-unavailable";

/** What a policy router is made from. */
export interface PolicyRouterParts {
  readonly decide: PolicyFunction;
  /** Decides where the module does not. */
  readonly rules: Router;
  readonly routes: readonly Route[];
  /** An answer that took longer is not used. */
  readonly budgetMs: number;
  readonly turn: PolicyTurn;
  /** Names an interface. */
  readonly interfaceName: (index: number) => string | undefined;
  /** Milliseconds, to a thousandth or finer. */
  readonly clock: () => number;
  readonly count: (counter: CounterName) => void;
  readonly warn: (warning: PolicyWarning, detail: string) => void;
}

/** A module in front of rules. */
export class PolicyRouter implements Router {
  readonly only = undefined;
  readonly #parts: PolicyRouterParts;
  readonly #flow: AskedFlow;
  readonly #byName: ReadonlyMap<string, Route>;
  readonly #blocks: Readonly<Record<BlockRoute["how"], BlockRoute>>;
  #late = 0;
  #lateSince = -Infinity;
  #pausedUntil = -Infinity;

  constructor(parts: PolicyRouterParts) {
    this.#parts = parts;
    this.#flow = new AskedFlow(parts.turn, parts.interfaceName);
    this.#byName = new Map(parts.routes.map((route) => [route.name, route]));
    this.#blocks = { reset: this.#block("reset"), icmp: this.#block("icmp"), drop: this.#block("drop") };
  }

  /** Routes of its own, beside those that it was given. */
  get ownRoutes(): Route[] {
    return Object.values(this.#blocks);
  }

  choose(
    network: number,
    words: Int32Array,
    clientAt: number,
    destinationAt: number,
    facts: FlowFacts,
  ): Route {
    return this.#ask(network, words, clientAt, destinationAt, facts) ??
      this.#parts.rules.choose(network, words, clientAt, destinationAt, facts);
  }

  #ask(
    network: number,
    words: Int32Array,
    clientAt: number,
    destinationAt: number,
    facts: FlowFacts,
  ): Route | undefined {
    const { decide, turn, clock, count, budgetMs } = this.#parts;
    const start = clock();
    if (start < this.#pausedUntil) {
      count("policyPassedOver");
      return undefined;
    }
    count("policyAsked");
    this.#flow.begin(network, words, clientAt, destinationAt, facts);
    let decision: unknown;
    let error: Thrown | undefined;
    turn.enter();
    try {
      decision = decide(this.#flow);
    } catch (thrown) {
      error = { thrown };
    }
    turn.leave();
    this.#flow.end();
    const tookMs = clock() - start;
    if (tookMs > budgetMs) return this.#onLate(tookMs);
    if (decision === undefined && error === undefined) return undefined;
    try {
      if (error === undefined) return this.#routeOf(decision);
      return this.#fail(`it threw ${describeThrown(error.thrown)}`);
    } catch {
      // Objects can throw at whoever looks at them.
      return this.#fail("what it threw, or answered with, cannot be looked at");
    }
  }

  #routeOf(decision: unknown): Route | undefined {
    if (typeof decision === "string") {
      return this.#byName.get(decision) ??
        this.#fail(`no upstream or group is called ${JSON.stringify(decision.slice(0, 64))}`);
    }
    const block = isObject(decision) ? decision.block : undefined;
    if (block === "reset" || block === "icmp" || block === "drop") return this.#blocks[block];
    if (isObject(decision) && typeof decision.then === "function") {
      // Whatever becomes of it, nobody hears of it.
      Promise.resolve(decision).catch(() => {});
      return this.#fail("it answered with a promise; it has to answer at once");
    }
    return this.#fail(`it answered with ${describeValue(decision)}; a name or { block } was wanted`);
  }

  #fail(detail: string): undefined {
    this.#parts.count("policyErrors");
    this.#parts.warn("policy-error", `policy module: ${detail}; the rules decide`);
  }

  #onLate(tookMs: number): undefined {
    const { clock, count, warn, budgetMs } = this.#parts;
    count("policyLate");
    const now = clock();
    if (now - this.#lateSince > PAUSE_MS) [this.#late, this.#lateSince] = [0, now];
    const took = `it took ${tookMs.toFixed(1)} ms, and ${budgetMs} ms are allowed`;
    if (++this.#late < LATE_ANSWERS) {
      warn("policy-late", `policy module: ${took}; the rules decide`);
      return;
    }
    this.#late = 0;
    this.#pausedUntil = now + PAUSE_MS;
    warn(
      "policy-paused",
      `policy module: ${took}, and not for the first time: not asked for ${PAUSE_MS / 1000} s`,
    );
  }

  /** The configuration's own, if it has one of that manner. */
  #block(how: BlockRoute["how"]): BlockRoute {
    const blocks = this.#parts.routes.filter((route) => route.kind === "block");
    const { id, name } = blocks[0] ?? { id: NO_ROUTE, name: "block" };
    return blocks.find((route) => route.how === how) ?? { kind: "block", id, name, how };
  }
}

/** undefined can be thrown too. */
interface Thrown {
  readonly thrown: unknown;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

/** What was thrown, and where. @throws what an object throws at whoever looks at it. */
export function describeThrown(thrown: unknown): string {
  if (!(thrown instanceof Error)) return describeValue(thrown);
  const place = /\((.+:\d+:\d+)\)|at (\S+:\d+:\d+)/.exec(thrown.stack ?? "");
  const at = place?.[1] ?? place?.[2];
  return `${thrown.name}: ${thrown.message}${at === undefined ? "" : ` (${withoutVersion(at)})`}`;
}

/** A value that is none of those wanted; it may be of any size, and of any kind. */
function describeValue(value: unknown): string {
  if (typeof value === "function") return "a function";
  if (isObject(value)) return "an object";
  return typeof value === "string" ? JSON.stringify(value.slice(0, 64)) : String(value);
}
