/**
 * Which way new flows of one worker leave: the routes that upstream/ makes of the settings, and the policy that chooses
 * among them.
 *
 * A routing is exchanged as a whole. Flows keep the route that they were given, so routes of earlier routings live on
 * until their last flow ends; what is recorded of a flow names the routing that its route is of.
 *
 * @module
 */
import type { FlowFacts, Route, Router } from "../flow/mod.ts";
import type { PolicyTable } from "../policy/mod.ts";
import { NO_ROUTE, routeWord } from "./flow_ring.ts";

/** A policy's rules: -1 where none is about the flow. */
type RuleTable = Pick<PolicyTable, "choose">;

/** By a table of rules, or all by one route. */
export class WorkerRouter implements Router {
  readonly only: Route | undefined;
  readonly #routes: readonly Route[];
  readonly #table: RuleTable | undefined;
  readonly #otherwise: Route;

  /**
   * @param routes by their numbers.
   * @param table undefined: there are no rules.
   * @param otherwise number of the route for flows that no rule is about.
   */
  constructor(routes: readonly Route[], table: RuleTable | undefined, otherwise: number) {
    this.#routes = routes;
    this.#table = table;
    this.#otherwise = routes[otherwise]!;
    this.only = table === undefined ? this.#otherwise : undefined;
  }

  choose(
    network: number,
    words: Int32Array,
    clientAt: number,
    destinationAt: number,
    facts: FlowFacts,
  ): Route {
    if (this.#table === undefined) return this.#otherwise;
    const number = this.#table.choose(network, words, clientAt, destinationAt, facts);
    return number < 0 ? this.#otherwise : this.#routes[number]!;
  }
}

/** How the routes of one worker are called in records, those of earlier routings too as long as there are any. */
export class RouteWords {
  readonly #words = new WeakMap<Route, number>();

  /** Notes the routes of a routing, before any flow gets one. */
  add(generation: number, routes: Iterable<Route>): void {
    for (const route of routes) this.#words.set(route, routeWord(generation, route.id));
  }

  /** As the flow ring takes it. */
  of(route: Route | undefined): number {
    return (route && this.#words.get(route)) ?? NO_ROUTE;
  }
}

/** For connections to a pod: they leave as any connection did before there were routes, whatever the policy says. */
export const ALWAYS_DIRECT: Router = new WorkerRouter(
  [{
    kind: "direct",
    id: NO_ROUTE,
    name: "direct",
    source: undefined,
    interface: undefined,
    mark: 0,
    dscp: undefined,
  }],
  undefined,
  0,
);
