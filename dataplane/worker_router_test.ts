import type { FlowFacts, Route } from "../flow/mod.ts";
import { compilePolicy, NO_FILTERS, PolicyTable } from "../policy/mod.ts";
import { encodeSockaddr } from "../ffi/mod.ts";
import { parseEndpoint } from "../net/mod.ts";
import { assert, assertEquals } from "../tests/assert.ts";
import { DIRECT_ROUTE } from "../tests/direct_routing.ts";
import { NO_ROUTE, routeWord } from "./flow_ring.ts";
import { ALWAYS_DIRECT, RouteWords, WorkerRouter } from "./worker_router.ts";

const NAMES = ["direct", "office", "home"];
const ROUTES: readonly Route[] = NAMES.map((name, id) => ({ ...DIRECT_ROUTE, name, id }));
const IPPROTO_TCP = 6, IPPROTO_UDP = 17;

/** Nothing of this may be asked without a rule that asks. */
const UNASKED: FlowFacts = {
  interfaceIndex: () => {
    throw new Error("asked for the interface");
  },
  dscp: () => {
    throw new Error("asked for the codepoint");
  },
  uid: () => {
    throw new Error("asked for the user");
  },
};

function chosen(router: WorkerRouter, network: number, destination: string): string {
  const words = new Int32Array(14), bytes = new Uint8Array(words.buffer);
  encodeSockaddr(
    parseEndpoint(destination.startsWith("[") ? "[2001:db8::7]:4000" : "192.0.2.7:4000")!,
    bytes,
  );
  encodeSockaddr(parseEndpoint(destination)!, bytes.subarray(28));
  return router.choose(network, words, 0, 7, UNASKED).name;
}

Deno.test("WorkerRouter: without rules there is one route, and nothing to ask", () => {
  const router = new WorkerRouter(ROUTES, undefined, 1);
  assertEquals(router.only?.name, "office");
  assertEquals(chosen(router, IPPROTO_TCP, "198.51.100.1:80"), "office");
  assertEquals(ALWAYS_DIRECT.only?.kind, "direct");
});

Deno.test("WorkerRouter: the first rule decides, or what holds for the others", () => {
  const table = new PolicyTable(compilePolicy([
    { ...NO_FILTERS, destinations: ["198.51.100.0/24", "2001:db8:1::/48"], to: 2 },
    { ...NO_FILTERS, network: "udp", to: 0 },
  ]));
  const router = new WorkerRouter(ROUTES, table, 1);
  assertEquals(router.only, undefined);
  assertEquals(chosen(router, IPPROTO_TCP, "198.51.100.1:80"), "home");
  assertEquals(chosen(router, IPPROTO_UDP, "[2001:db8:1::1]:80"), "home");
  assertEquals(chosen(router, IPPROTO_UDP, "203.0.113.1:53"), "direct");
  assertEquals(chosen(router, IPPROTO_TCP, "203.0.113.1:53"), "office");
});

Deno.test("RouteWords: routes of earlier routings keep their names, and those of none have none", () => {
  const words = new RouteWords();
  const later = ROUTES.map((route) => ({ ...route }));
  words.add(3, ROUTES);
  words.add(4, later);
  assertEquals([words.of(ROUTES[2]), words.of(later[2])], [routeWord(3, 2), routeWord(4, 2)]);
  assertEquals([words.of(undefined), words.of(DIRECT_ROUTE)], [NO_ROUTE, NO_ROUTE]);
  assert(routeWord(0, 0) !== NO_ROUTE);
});
