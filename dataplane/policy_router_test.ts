import { encodeSockaddr } from "../ffi/mod.ts";
import type { FlowFacts, Route, Router } from "../flow/mod.ts";
import { parseEndpoint } from "../net/mod.ts";
import { assert, assertEquals, assertStringIncludes, assertThrows } from "../tests/assert.ts";
import { DIRECT_ROUTE } from "../tests/direct_routing.ts";
import { insideSince, LifeTakenError, PolicyTurn, takeLife } from "./life_memory.ts";
import type { PolicyFlow, PolicyFunction } from "./policy_function.ts";
import { PolicyRouter } from "./policy_router.ts";

const TCP = 6, UDP = 17;
const CLIENT_AT = 0, DESTINATION_AT = 16;

const BLOCK: Route = { kind: "block", id: 1, name: "block", how: "reset" };
const OFFICE: Route = {
  kind: "upstream",
  id: 2,
  name: "office",
  streams: undefined!,
  datagrams: undefined,
  connectTimeoutMs: 1,
};
const BY_RULES: Route = { ...DIRECT_ROUTE, id: 3, name: "by rules" };

/** A policy router and everything around it, with a clock that moves when it is told to. */
class Scene {
  readonly counts = new Map<string, number>();
  readonly warnings: string[] = [];
  readonly turn = new SharedArrayBuffer(4);
  readonly router: PolicyRouter;
  readonly #words = new Int32Array(64);
  nowMs = 0;
  facts: FlowFacts = { interfaceIndex: () => 7, dscp: () => 46, uid: () => 1000 };

  constructor(decide: PolicyFunction, routes: readonly Route[] = [DIRECT_ROUTE, BLOCK, OFFICE]) {
    const rules: Router = { only: BY_RULES, choose: () => BY_RULES };
    this.router = new PolicyRouter({
      decide,
      rules,
      routes,
      budgetMs: 5,
      turn: new PolicyTurn(this.turn),
      interfaceName: (index) => `if${index}`,
      clock: () => this.nowMs,
      count: (name) => this.counts.set(name, (this.counts.get(name) ?? 0) + 1),
      warn: (warning, detail) => this.warnings.push(`${warning}: ${detail}`),
    });
  }

  choose(client = "192.0.2.7:40000", destination = "198.51.100.9:443", network = TCP): Route {
    const bytes = new Uint8Array(this.#words.buffer);
    encodeSockaddr(parseEndpoint(client)!, bytes.subarray(4 * CLIENT_AT));
    encodeSockaddr(parseEndpoint(destination)!, bytes.subarray(4 * DESTINATION_AT));
    return this.router.choose(network, this.#words, CLIENT_AT, DESTINATION_AT, this.facts);
  }

  count(name: string): number {
    return this.counts.get(name) ?? 0;
  }
}

/** Of JavaScript, which no compiler has looked at. */
function untyped(decide: (flow: PolicyFlow) => unknown): PolicyFunction {
  return decide as PolicyFunction;
}

Deno.test("policy: it is told of the flow", () => {
  const seen: unknown[] = [];
  const scene = new Scene((flow) => {
    const { network, client, destination, interfaceIndex, interfaceName, dscp, uid } = flow;
    const ends = [client, destination].map(({ address, port, family, bytes }) => [
      address,
      port,
      family,
      [...bytes].join(),
    ]);
    seen.push([network, ...ends, interfaceIndex, interfaceName, dscp, uid]);
    return undefined;
  });
  assertEquals(scene.choose(), BY_RULES);
  scene.facts = { interfaceIndex: () => 0, dscp: () => -1, uid: () => -1 };
  scene.choose("[2001:db8::1]:53", "[2001:db8:0:1::abcd]:65535", UDP);
  assertEquals(seen, [
    [
      "tcp",
      ["192.0.2.7", 40000, 4, "192,0,2,7"],
      ["198.51.100.9", 443, 4, "198,51,100,9"],
      7,
      "if7",
      46,
      1000,
    ],
    [
      "udp",
      ["2001:db8::1", 53, 6, "32,1,13,184,0,0,0,0,0,0,0,0,0,0,0,1"],
      ["2001:db8:0:1::abcd", 65535, 6, "32,1,13,184,0,0,0,1,0,0,0,0,0,0,171,205"],
      0,
      undefined,
      -1,
      -1,
    ],
  ]);
  assertEquals([scene.count("policyAsked"), scene.count("policyErrors")], [2, 0]);
});

Deno.test("policy: names and manners of blocking are routes", () => {
  let answer: ReturnType<PolicyFunction>;
  const scene = new Scene(() => answer);
  const chosen = (next: typeof answer) => (answer = next, scene.choose());
  assertEquals(chosen("office"), OFFICE);
  assertEquals(chosen("direct"), DIRECT_ROUTE);
  assertEquals(chosen("block"), BLOCK);
  assertEquals(chosen({ block: "reset" }), BLOCK);
  assertEquals(chosen({ block: "drop" }), { kind: "block", id: 1, name: "block", how: "drop" });
  assertEquals(chosen({ block: "icmp" }), { kind: "block", id: 1, name: "block", how: "icmp" });
  assertEquals(chosen(undefined), BY_RULES);
  assert(scene.router.ownRoutes.includes(chosen({ block: "drop" })));
  assertEquals(scene.warnings, []);
});

Deno.test("policy: what is no answer is counted and told, and the rules decide", () => {
  const hostile = {
    get block(): never {
      throw new Error("looked at");
    },
  };
  const cases: [answer: unknown, told: string][] = [
    ["offcie", '"offcie"'],
    [null, "null"],
    [7, "7"],
    [["direct"], "an object"],
    [{ block: "softly" }, "an object"],
    [() => "direct", "a function"],
    [Symbol("direct"), "Symbol(direct)"],
    [Promise.resolve("direct"), "a promise"],
    [Promise.reject(new Error("nobody hears of it")), "a promise"],
    [hostile, "cannot be looked at"],
  ];
  for (const [answer, told] of cases) {
    const scene = new Scene(untyped(() => answer));
    assertEquals(scene.choose(), BY_RULES, told);
    assertEquals(scene.count("policyErrors"), 1, told);
    assertStringIncludes(scene.warnings.join(), told);
  }
});

Deno.test("policy: what it throws is caught, counted and told, with its place", () => {
  const cases: [policy: PolicyFunction, told: string][] = [
    [() => {
      throw new RangeError("too far");
    }, "RangeError: too far ("],
    [() => {
      // deno-lint-ignore no-throw-literal
      throw "a text";
    }, '"a text"'],
    [() => {
      // deno-lint-ignore no-throw-literal
      throw undefined;
    }, "undefined"],
    [function overflow(flow): string {
      return overflow(flow) as string;
    }, "RangeError"],
  ];
  for (const [policy, told] of cases) {
    const scene = new Scene(policy);
    assertEquals([scene.choose(), scene.choose()], [BY_RULES, BY_RULES], told);
    assertEquals([scene.count("policyErrors"), scene.count("policyAsked")], [2, 2], told);
    assertStringIncludes(scene.warnings[0]!, told);
  }
});

Deno.test("policy: a flow is not to be asked after the answer", () => {
  let kept: PolicyFlow;
  const scene = new Scene((flow) => (kept = flow, "office"));
  scene.choose();
  const { client } = kept!;
  for (const ask of [() => kept.network, () => client.address, () => client.port, () => kept.uid]) {
    assertThrows(ask, Error, "asked after the policy has answered");
  }
});

Deno.test("policy: a late answer is not used, and one that is late again and again is not asked for a while", () => {
  let tookMs = 0;
  const scene: Scene = new Scene(() => (scene.nowMs += tookMs, "office"));
  tookMs = 5;
  assertEquals(scene.choose(), OFFICE);
  tookMs = 6;
  for (let late = 1; late < 8; late++) assertEquals(scene.choose(), BY_RULES);
  assertEquals([scene.count("policyLate"), scene.count("policyPassedOver")], [7, 0]);
  assertStringIncludes(
    scene.warnings[0]!,
    "policy-late: policy module: it took 6.0 ms, and 5 ms are allowed",
  );
  scene.choose();
  assertStringIncludes(scene.warnings.at(-1)!, "policy-paused");
  tookMs = 0;
  assertEquals(scene.choose(), BY_RULES);
  assertEquals([scene.count("policyLate"), scene.count("policyPassedOver"), scene.count("policyAsked")], [
    8,
    1,
    9,
  ]);
  scene.nowMs += 10_000;
  assertEquals(scene.choose(), OFFICE);
});

Deno.test("policy: late answers now and then do not stop it", () => {
  let tookMs = 0;
  const scene: Scene = new Scene(() => (scene.nowMs += tookMs, "office"));
  for (let i = 0; i < 40; i++) {
    tookMs = 6;
    scene.choose();
    tookMs = 2_000 * (i % 2);
    scene.nowMs += 1_500;
  }
  assertEquals(scene.count("policyPassedOver"), 0);
});

Deno.test("policy: given up inside of it, a worker does nothing more", () => {
  let inside: number | undefined;
  const scene: Scene = new Scene((flow) => {
    inside = insideSince(scene.turn);
    assert(takeLife(scene.turn, inside!));
    // Facts are asked by descriptors, which are another's now.
    assertThrows(() => flow.uid, LifeTakenError);
    return "office";
  });
  assertThrows(() => scene.choose(), LifeTakenError);
  assertEquals(insideSince(scene.turn), undefined);
});

Deno.test("policy: a worker that has come out, or has gone in again, is not given up for an earlier call", () => {
  const seen: (number | undefined)[] = [];
  const scene: Scene = new Scene(() => {
    seen.push(insideSince(scene.turn));
    if (seen.length === 2) assert(!takeLife(scene.turn, seen[0]!));
    return "office";
  });
  assertEquals(insideSince(scene.turn), undefined);
  assertEquals([scene.choose(), insideSince(scene.turn), scene.choose()], [OFFICE, undefined, OFFICE]);
  assert(!takeLife(scene.turn, seen[1]!));
  assertEquals(new Set(seen).size, 2);
});
