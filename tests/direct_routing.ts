/**
 * Routers for tests of the data side.
 *
 * @module
 */
import type { DirectRoute, Route, Router, Routing } from "../flow/mod.ts";

/** As without any configuration. */
export const DIRECT_ROUTE: DirectRoute = {
  kind: "direct",
  id: 0,
  name: "direct",
  source: undefined,
  interface: undefined,
  mark: 0,
  dscp: undefined,
};

/** Everything leaves by one route. */
export function routingBy(route: Route): Routing {
  const router: Router = { only: route, choose: () => route };
  return { current: router };
}

/** Everything leaves from here. */
export function directRouting(): Routing {
  return routingBy(DIRECT_ROUTE);
}
