/**
 * The DNS forwarder under fast-check: clients and resolvers that send anything at any time, resolvers that die and come
 * back, a clock that jumps. What must hold: nothing throws; a client gets an answer only to what it has asked, under its
 * own id and from whom it asked; and every query that was counted ends in exactly one way.
 *
 * @module
 */
import fc from "fast-check";
import { assert, assertEquals, assertLessOrEqual } from "../assert.ts";
import { type Datagram, DnsWorld, idOf, makeAnswer, makeQuery, type TestResolver } from "../dns_world.ts";

type Step =
  | { readonly kind: "ask"; readonly client: number; readonly id: number; readonly name: number }
  | { readonly kind: "noise"; readonly bytes: Uint8Array }
  | { readonly kind: "answer"; readonly resolver: number; readonly count: number }
  | {
    readonly kind: "forge";
    readonly resolver: number;
    readonly bytes: Uint8Array;
    readonly keepId: boolean;
  }
  | { readonly kind: "toggle"; readonly resolver: number }
  | { readonly kind: "wait"; readonly ms: number };

const resolver = fc.nat(2);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("ask" as const),
      client: fc.nat(5),
      id: fc.nat(2),
      name: fc.nat(3),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("noise" as const), bytes: fc.uint8Array({ maxLength: 700 }) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("answer" as const),
      resolver,
      count: fc.integer({ min: 1, max: 9 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("forge" as const),
      resolver,
      bytes: fc.uint8Array({ maxLength: 80 }),
      keepId: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("toggle" as const), resolver }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("wait" as const),
      ms: fc.constantFrom(0, 100, 900, 2_100, 11_000),
    }),
  },
);

/** One of the resolvers, which may be gone. */
interface Seat {
  readonly at: string;
  server: TestResolver | undefined;
  /** Received and not answered. */
  readonly held: Datagram[];
}

const clientAt = (i: number) => i % 2 === 0 ? `192.0.2.${i}:53535` : `[2001:db8::${i}]:53535`;
const dialledAt = (i: number) => i % 2 === 0 ? `203.0.113.${i}:53` : `[2001:db8:113::${i}]:53`;
/** Which client asked is part of the name: an answer tells whose question it is about. */
const nameOf = (client: number, name: number) => `c${client}.n${name}.example`;

function play(steps: readonly Step[]): void {
  using world = new DnsWorld();
  const seats: Seat[] = Array.from({ length: 3 }, () => {
    const server = world.openResolver();
    return { at: `127.0.0.1:${server.endpoint.port}`, server, held: [] };
  });
  const forwarder = world.start(seats.map(({ server }) => server!.endpoint));
  const asked = new Set<string>();
  let noise = 0;
  for (const each of steps) {
    if (each.kind === "ask") {
      const { client, id, name } = each;
      asked.add(`${clientAt(client)} ${dialledAt(client)} ${id} ${nameOf(client, name)}`);
      world.ask(makeQuery(id, nameOf(client, name)), clientAt(client), dialledAt(client));
    } else if (each.kind === "noise") {
      noise++;
      world.ask(each.bytes, "198.51.100.1:1", "198.51.100.2:53");
    } else if (each.kind === "wait") world.advance(each.ms);
    else act(world, seats[each.resolver]!, each);
    world.turn();
    for (const seat of seats) if (seat.server !== undefined) seat.held.push(...seat.server.receive());
  }
  const byNoise = world.replies.filter(({ client }) => client === "198.51.100.1:1");
  assertLessOrEqual(byNoise.length, noise);
  for (const { client, source, bytes, tos } of world.replies) {
    assertEquals(tos, 0);
    if (client === "198.51.100.1:1") continue;
    const key = [...asked].find((text) => {
      const [askedBy, askedOf, id, name] = text.split(" ");
      const question = makeQuery(Number(id), name!).slice(12);
      return askedBy === client && askedOf === source && Number(id) === idOf(bytes) &&
        question.every((byte, i) => bytes[12 + i] === byte);
    });
    assert(key !== undefined, `an answer that ${client} did not ask for`);
  }
  world.advance(11_000);
  world.advance(11_000);
  world.advance(11_000);
  assertEquals(forwarder.pending, 0);
  assertLessOrEqual(world.openDescriptors, 3 * 8);
  const [queries, answers, unanswered, evicted] = world.counts(
    "dnsQueries",
    "dnsAnswers",
    "dnsUnanswered",
    "dnsEvicted",
  );
  assertEquals(queries, answers! + unanswered! + evicted!);
  assertEquals(answers, world.replies.length);
}

function act(
  world: DnsWorld,
  seat: Seat,
  step: Extract<Step, { readonly resolver: number }>,
): void {
  const { server, held } = seat;
  if (step.kind === "toggle") {
    if (server === undefined) seat.server = world.openResolver(seat.at);
    else server.stop();
    if (server !== undefined) seat.server = undefined;
    held.length = 0;
    return;
  }
  if (server === undefined) return;
  if (step.kind === "answer") {
    for (const { bytes, peer } of held.splice(0, step.count)) server.send(makeAnswer(bytes), peer);
    return;
  }
  const target = held[0];
  if (target === undefined) return;
  const forged = step.bytes.slice();
  if (step.keepId) forged.set(target.bytes.slice(0, Math.min(2, forged.length)));
  // An error without a question is an answer to anything; here each must be about a question.
  if (forged.length >= 12) forged[3]! &= 0xf0;
  server.send(forged, target.peer);
}

Deno.test("dns: every script of clients and resolvers ends well", () => {
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), play), { numRuns: 300 });
});
